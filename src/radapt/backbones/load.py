"""`load_backbone`: from a name to an encoder with weights."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from radapt.backbones.adapted import AdaptedBackbone, adapted_folder, load_adapted, read_adapted
from radapt.backbones.card import WeightCard
from radapt.backbones.catalog import CATALOG, card
from radapt.backbones.dtypes import DTYPES, auto_dtype
from radapt.backbones.weights import WeightSource, fetch, resolve
from radapt.errors import UsageError, suggest

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
) -> "Backbone":
    """The encoder `name` with its weights, in evaluation mode.

    `name` is a catalog name, `timm:<model>`, `hf:<repository>`, or the folder of an adapted backbone, which may also be
    given as the weights of a name of one's own; with `as_` the name is free and `as_` says what the encoder is.
    `weights`: None (the hub), a local file or folder in DINOv2's, timm's or transformers' naming, or
    `random` (`random:SEED`), which depends on the seed alone and leaves the global random state as it was.
    `dtype`: float32, bfloat16, or auto (see `auto_dtype`). `offline` or HF_HUB_OFFLINE=1: the network is not touched.

    UsageError: an unknown name; weights that are absent, unreadable, unsafe or of another architecture.
    """
    if dtype not in DTYPES:
        raise UsageError(f"Unknown dtype {dtype!r}. {suggest(dtype, DTYPES)}")
    number = auto_dtype(device) if dtype == "auto" else dtype
    folder = adapted_folder(name, weights, CATALOG, as_)
    if folder is not None:
        return _adapted(read_adapted(folder, None if weights is None else name), number, device)
    known = _card(name, as_, offline)
    source = fetch(known, resolve(known, weights, seed=seed, offline=offline), offline=offline)
    return assemble(name, known, source, number, device)


def _card(name: str, as_: str | None, offline: bool) -> WeightCard:
    if as_ is None:
        return card(name, offline=offline)
    if name in CATALOG and as_ != name:
        raise UsageError(f"{name!r} is a backbone of the catalog and cannot be {as_!r}. Give it another name.")
    return replace(card(as_, offline=offline), name=name)


def assemble(
    name: str, known: WeightCard, source: WeightSource, dtype: str, device: "str | torch.device"
) -> "Backbone":
    """The encoder of a card with the weights of a source that is here, in evaluation mode."""
    import torch

    from radapt.backbones.backbone import Backbone
    from radapt.backbones.build import build, materialise, randomise, to_train
    from radapt.backbones.encoders import encoder_of

    notes: tuple[str, ...] = ()
    if source.path is None:
        module = materialise(build(known), known)
        randomise(module, source.seed)
        if not known.repo:
            to_train(module)
    else:
        module, notes = _from_file(name, known, source.path)
    module = module.to(device=device, dtype=getattr(torch, dtype))
    if known.position_recipe == "none":  # CNNs: measured 1.3× on a CPU, and what tensor cores want
        module = module.to(memory_format=torch.channels_last)
    return Backbone(name, known, source, module.eval(), encoder_of(module, known.position_recipe), notes)


def _adapted(known: AdaptedBackbone, dtype: str, device: "str | torch.device") -> "Backbone":
    import torch

    from radapt.backbones.backbone import Backbone
    from radapt.backbones.encoders import encoder_of

    network = load_adapted(known)
    exact = network.mean, network.std
    network = network.to(device=device, dtype=getattr(torch, dtype))
    network.mean, network.std = (each.to(device) for each in exact)  # normalisation is folded in float32
    encoder = encoder_of(network.vit, known.card.position_recipe)
    return Backbone(known.card.name, known.card, known.source, network.vit, encoder, network=network)


def _from_file(name: str, known: WeightCard, path: Path) -> "tuple[torch.nn.Module, tuple[str, ...]]":
    from radapt.backbones.build import build, materialise
    from radapt.backbones.files import read_state
    from radapt.backbones.strict import load_strictly

    state, notes = read_state(path)
    if known.architecture == "transformers":
        from radapt.backbones.transformers_models import load_transformers

        module, more = load_transformers(known, state, str(path))
        return module, (*notes, *more)
    module = materialise(build(known), known)
    expected = name if name in CATALOG else f"{name} ({known.architecture})"
    more = load_strictly(module, state, recipe=known.position_recipe, what=str(path), expected=expected)
    return module, (*notes, *more)
