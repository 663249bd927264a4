"""The folder of an adapted backbone: one encoder for any subset of its modalities, complete for loading.

    backbone.json           card, modalities, options, the digest of the weights, and how it was adapted
    backbone.safetensors    every weight, so that the original weights are not needed

The JSON is written last and names the weights by their digest, so a partial folder is never loaded.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radapt.backbones.card import WeightCard, tuples
from radapt.backbones.weights import WeightSource, digest_of
from radapt.digests import digest
from radapt.durable import atomic_path, write_json
from radapt.errors import UsageError, suggest
from radapt.locations import expanded, is_folder
from radapt.parsing.json import read_json
from radapt.versions import __version__

if TYPE_CHECKING:
    import torch

    from radapt.backbones.multimodal_vit.vit import MultiModalViT

FACTS, WEIGHTS = "backbone.json", "backbone.safetensors"
FORMAT = 1
_NAMED = 6  # how many tensors an error lists before it counts the rest


@dataclass(frozen=True)
class AdaptedBackbone:
    """The description of an adapted backbone, read without loading its weights.

    `card` is that of the original encoder, with the folder's name. `modalities` are in the model's order. `options`
    are those of `MultiModalViT` that the card does not hold. `facts` are those passed to `save_adapted`.
    """

    folder: Path
    card: WeightCard
    source: WeightSource
    modalities: tuple[str, ...]
    options: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)


def save_adapted(
    folder: Path,
    network: "MultiModalViT",
    card: WeightCard,
    facts: Mapping[str, Any] | None = None,
    state: "Mapping[str, torch.Tensor] | None" = None,
) -> None:
    """Write `network` as a backbone into `folder`, which is created if needed; other files in it are left unchanged.

    `card` is that of the original backbone with the changes of the adaptation (the cohort is part of its pretraining;
    its native size is that of the crops). `facts` are JSON-like and returned unchanged by `read_adapted`. Weights are
    stored in float32. `state` holds the merged tensors of a network with adapters (see `networks.adapters.merge`).
    Raises UsageError for a card of another encoder, and if adapters remain among the tensors.
    """
    from safetensors.torch import save_file

    _refuse_other_card(network, card)

    tensors = network.state_dict() if state is None else state
    plain = {name: tensor.detach().float().cpu().contiguous() for name, tensor in tensors.items()}
    if unmerged := [name for name in plain if ".base_layer." in name]:
        raise UsageError(
            f"The network holds adapters ({_listed(unmerged)}); merge them into its weights, then save it."
        )
    (folder / FACTS).unlink(missing_ok=True)
    with atomic_path(folder / WEIGHTS) as part:
        save_file(plain, part)
    stored = {
        "format": FORMAT,
        "radapt": __version__,
        "card": asdict(card),
        "modalities": list(network.modalities),
        "options": {
            "positions": network.positions,
            "modality_embedding": network.modality_embedding is not None,
            "unit_embedding": network.unit_embedding,
        },
        "weights": digest_of(folder / WEIGHTS),
        "facts": dict(facts or {}),
    }
    write_json(folder / FACTS, stored)


def is_adapted(path: str | Path) -> bool:
    """Whether `path` is a folder that holds an adapted backbone, even a partial one."""
    folder = expanded(path)
    return (folder / FACTS).is_file() or (folder / WEIGHTS).is_file()


def adapted_folder(name: str, weights: str | Path | None, known: Collection[str], as_: str | None) -> Path | None:
    """The folder of the adapted backbone that `name`, or the weights of a custom name, refer to; else None. A name of
    the catalog (`known`) is never a folder.

    Raises UsageError for weights or an architecture in addition to the folder, and for a folder without a backbone.
    """
    folder = None if weights is None else expanded(weights)
    is_known = name in known or name.startswith(("timm:", "hf:"))
    if folder is not None and is_adapted(folder):
        if is_known or as_ is not None:
            raise UsageError(
                f"{folder} holds an adapted backbone, not weights of {as_ or name}. Give it a name outside the "
                "catalog, and no architecture."
            )
        return folder
    folder = expanded(name)
    if is_known or not is_folder(folder):
        return None
    if not is_adapted(folder):
        if weights is not None or as_ is not None:
            return None  # a custom name that happens to be that of a folder
        raise UsageError(
            f"Folder {name} holds no adapted backbone: it has no {FACTS}. Name the folder that `radapt adapt` wrote, "
            f"hf:{name} for one in the hub's layout, or a backbone of the catalog."
        )
    if weights is not None or as_ is not None:
        given = f"the architecture {as_}" if weights is None else f"the weights {weights}"
        raise UsageError(
            f"{name} is an adapted backbone, which defines its weights and architecture; leave out {given}."
        )
    return folder


def read_adapted(folder: str | Path, name: str | None = None) -> AdaptedBackbone:
    """The description of the backbone in `folder`, under `name` (default: the folder's). Verifies the weights' digest.

    Raises UsageError if the folder holds no backbone, or one that is damaged, partial or of another format.
    """
    folder = expanded(folder)
    stored = _stored(folder)
    card, modalities = stored["card"], tuple(stored["modalities"])
    weights = digest_of(folder / WEIGHTS) if (folder / WEIGHTS).is_file() else "none"
    if weights != stored["weights"]:
        raise UsageError(
            f"{folder / WEIGHTS} does not match {FACTS}: it is damaged, missing, or of another adaptation. Copy the "
            "whole folder again, or adapt again."
        )
    identity = digest([weights, list(modalities), stored["options"]])
    source = WeightSource("file", f"adapted:{identity}", True, str(folder), folder)
    card = replace(card, name=name or folder.resolve().name)
    return AdaptedBackbone(folder, card, source, modalities, stored["options"], stored["facts"])


def load_adapted(adapted: AdaptedBackbone | str | Path) -> "MultiModalViT":
    """The network of a folder in float32 on the CPU, in evaluation mode.

    Raises UsageError as `read_adapted` does, and for missing, unexpected, non-finite or misshapen tensors.
    """
    from radapt.backbones.build import build, materialise
    from radapt.backbones.multimodal_vit.vit import MultiModalViT
    from radapt.backbones.weight_files import read_state

    described = adapted if isinstance(adapted, AdaptedBackbone) else read_adapted(adapted)
    card = described.card
    state, _ = read_state(described.folder / WEIGHTS)
    vit = materialise(build(card), card)
    _fit_positions(vit, state)
    try:
        network = MultiModalViT(
            vit, modalities=described.modalities, mean=card.mean, std=card.std, position_recipe=card.position_recipe,
            **described.options,
        )  # fmt: skip
    except TypeError as error:
        raise UsageError(f"{described.folder / FACTS} has options of another version of radapt: {error}.") from error
    _refuse_unfit(network.state_dict(), state, described.folder / WEIGHTS)
    network.load_state_dict(state, strict=True)
    return network.eval()


def check_modalities(names: Sequence[str], known: Sequence[str], backbone: str) -> None:
    """Raise a UsageError that names the modalities the backbone lacks, those it has, and the nearest name."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(
            f"{backbone} was not adapted to {', '.join(map(repr, unknown))}. {suggest(unknown[0], known)} Rename the "
            "columns of the table, or leave them out."
        )


def _refuse_other_card(network: "MultiModalViT", card: WeightCard) -> None:
    own = (network.width, network.depth, network.patch, network.position_recipe)
    if own != (card.width, card.depth, card.patch, card.position_recipe):
        raise UsageError(
            f"The card of {card.name} is not that of the network, whose width, depth, patch and position recipe are "
            f"{', '.join(map(str, own))}. Give the card of the backbone it was adapted from."
        )


def _stored(folder: Path) -> dict[str, Any]:
    """backbone.json with its card as a WeightCard."""
    path = folder / FACTS
    try:
        stored = read_json(path)
        if stored["format"] != FORMAT:
            raise UsageError(f"{path} has format {stored['format']}; this version of radapt reads format {FORMAT}.")
        card = WeightCard.from_json(stored["card"])
        shaped = {"modalities": list, "options": dict, "weights": str, "facts": dict}
        if wrong := [name for name, kind in shaped.items() if not isinstance(stored[name], kind)]:
            raise ValueError(f"{', '.join(wrong)} of another type")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{folder} holds no readable adapted backbone ({path.name}: {error}). Copy the whole folder again, "
            "or adapt again."
        ) from error
    return {**stored, "card": card, "options": {name: tuples(value) for name, value in stored["options"].items()}}


def _fit_positions(vit: Any, state: "Mapping[str, torch.Tensor]") -> None:
    """Resize the position embedding to the base grid of the stored one, if that differs."""
    import torch

    given = state.get("vit.pos_embed")
    if given is not None and vit.pos_embed is not None and given.shape != vit.pos_embed.shape:
        vit.pos_embed = torch.nn.Parameter(torch.empty_like(given))


def _refuse_unfit(target: "Mapping[str, torch.Tensor]", state: "Mapping[str, torch.Tensor]", path: Path) -> None:
    import torch

    lists = {
        "missing": [name for name in target if name not in state],
        "unexpected": [name for name in state if name not in target],
        "of another shape": [name for name in target if name in state and target[name].shape != state[name].shape],
        "not finite": [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())],
    }
    if problems := [f"{what}: {_listed(names)}" for what, names in lists.items() if names]:
        raise UsageError(f"{path} does not fit the backbone in {FACTS}. Tensors {'; '.join(problems)}. Adapt again.")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
