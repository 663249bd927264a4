"""`load_backbone`: from a name to an encoder with weights."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from radapt.backbones.adapted import AdaptedBackbone, adapted_folder, load_adapted, read_adapted
from radapt.backbones.card import WeightCard
from radapt.backbones.catalog import CATALOG, card
from radapt.backbones.dtypes import DTYPES, auto_dtype
from radapt.backbones.weights import WeightSource, fetch, resolve
from radapt.cachedir import cache_folder
from radapt.devices import pick_device
from radapt.errors import UsageError, suggest
from radapt.runtimes.runtime import Runtime, encoding_dtype, encoding_runtime

if TYPE_CHECKING:
    import torch

    from radapt.backbones.backbone import Backbone


def load_backbone(
    name: str,
    weights: str | Path | None = None,
    *,
    seed: int = 0,
    dtype: str = "float32",
    device: "str | torch.device" = "cpu",
    offline: bool = False,
    as_: str | None = None,
    runtime: str = "pytorch",
    cache: str | Path | None = None,
) -> "Backbone":
    """The encoder `name` with its weights, in evaluation mode.

    `name` is a catalog name, `timm:<model>`, `hf:<repository>`, or the folder of an adapted backbone, which may also be
    given as the weights of a custom name; with `as_` the name is custom and `as_` names the encoder. `weights`: None
    (what the card names: a package or the hub), `package`, `hub`, a local file or folder in DINOv2's, timm's or
    transformers' naming, or `random` (`random:SEED`), which depends on the seed alone and does not change the global
    random state. `dtype`: float32, bfloat16, or auto (see
    `auto_dtype`). With `offline` or HF_HUB_OFFLINE=1 the network is not used.

    `runtime` computes the tokens: pytorch, onnx, openvino (on a CPU), or auto, the fastest that is installed. The
    converted network is kept in `cache`, as features are. Training is always by PyTorch.

    UsageError: an unknown name; a device that this machine does not have; weights that are missing, unreadable, unsafe
    or of another architecture; a runtime that is not installed or cannot compute it.
    """
    if dtype not in DTYPES:
        raise UsageError(f"Unknown dtype {dtype!r}. {suggest(dtype, DTYPES)}")
    device = pick_device(str(device))
    folder = adapted_folder(name, weights, CATALOG, as_)
    chosen = encoding_runtime(runtime, device, "" if folder is None else name)
    dtype = encoding_dtype(dtype, chosen)
    resolved_dtype = auto_dtype(device) if dtype == "auto" else dtype
    if folder is not None:
        return _adapted(read_adapted(folder, None if weights is None else name), resolved_dtype, device)
    weight_card = _card(name, as_, offline)
    source = fetch(weight_card, resolve(weight_card, weights, seed=seed, offline=offline), offline=offline)
    found = assemble(name, weight_card, source, resolved_dtype, device)
    return found if chosen == "pytorch" else converted(found, chosen, cache)


def converted(backbone: "Backbone", runtime: Runtime, cache: str | Path | None) -> "Backbone":
    """The backbone with its tokens computed by another runtime, whose networks are kept in `cache`."""
    from radapt.runtimes.graphs import GraphCache

    dtype = str(backbone.dtype).removeprefix("torch.")
    return backbone.computed_by(GraphCache(cache_folder(cache), runtime, backbone.identity, dtype))


def _card(name: str, as_: str | None, offline: bool) -> WeightCard:
    if as_ is None:
        return card(name, offline=offline)
    if name in CATALOG and as_ != name:
        raise UsageError(f"{name!r} is a backbone of the catalog and cannot be {as_!r}. Give it another name.")
    return replace(card(as_, offline=offline), name=name)


def assemble(
    name: str, weight_card: WeightCard, source: WeightSource, dtype: str, device: "str | torch.device"
) -> "Backbone":
    """The encoder of a card with the available weights of a source, in evaluation mode."""
    import torch

    from radapt.backbones.backbone import Backbone
    from radapt.backbones.build import build, materialise, randomise, to_train
    from radapt.backbones.encoders import extractor_for

    notes: tuple[str, ...] = ()
    if source.path is None:
        module = materialise(build(weight_card), weight_card)
        randomise(module, source.seed)
        if not weight_card.trained:
            to_train(module)
    else:
        module, notes = _from_file(name, weight_card, source.path)
    module = module.to(device=device, dtype=getattr(torch, dtype))
    if weight_card.position_recipe == "none":  # CNNs: measured 1.3× faster on a CPU, and preferred by tensor cores
        module = module.to(memory_format=torch.channels_last)
    return Backbone(name, weight_card, source, module.eval(), extractor_for(module, weight_card.position_recipe), notes)


def _adapted(weight_card: AdaptedBackbone, dtype: str, device: "str | torch.device") -> "Backbone":
    import torch

    from radapt.backbones.backbone import Backbone
    from radapt.backbones.encoders import extractor_for

    network = load_adapted(weight_card)
    exact = network.mean, network.std
    network = network.to(device=device, dtype=getattr(torch, dtype))
    network.mean, network.std = (buffer.to(device) for buffer in exact)  # normalisation is folded in float32
    encoder = extractor_for(network.vit, weight_card.card.position_recipe)
    return Backbone(weight_card.card.name, weight_card.card, weight_card.source, network.vit, encoder, network=network)


def _from_file(name: str, weight_card: WeightCard, path: Path) -> "tuple[torch.nn.Module, tuple[str, ...]]":
    from radapt.backbones.build import build, materialise
    from radapt.backbones.strict import load_strictly
    from radapt.backbones.weight_files import read_state

    state, notes = read_state(path)
    if weight_card.architecture == "transformers":
        from radapt.backbones.transformers_models import load_transformers

        module, more = load_transformers(weight_card, state, str(path))
        return module, (*notes, *more)
    module = materialise(build(weight_card), weight_card)
    expected = name if name in CATALOG else f"{name} ({weight_card.architecture})"
    more = load_strictly(module, state, recipe=weight_card.position_recipe, what=str(path), expected=expected)
    return module, (*notes, *more)
