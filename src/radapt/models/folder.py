"""A trained model as a folder: one `save` and one `load` for every protocol.

    model.json           what it is and what it needs (`ModelCard`), and the digest of every other file
    model.safetensors    its tensors; those of the encoder only where training changed them

`model.json` is written last and names the other files by their digests: a model folder is complete, or not a model.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radapt.backbones.card import tuples
from radapt.backbones.reference import BackboneReference
from radapt.digests import digest_file
from radapt.durable import atomic_path, write_json
from radapt.errors import UsageError
from radapt.images import Recipe
from radapt.locations import expanded
from radapt.models.state import ModelCard, ModelState
from radapt.parsing.json import read_json
from radapt.training.fit_record import FitRecord
from radapt.versions import __version__

if TYPE_CHECKING:
    from torch import Tensor

MODEL, WEIGHTS = "model.json", "model.safetensors"
FORMAT = 2
"""Raise it when folders change in a way that older code would misread; 1 was radapt 0.4's, one shape per protocol."""


_EXPECTED = (
    "A model is the folder that `radapt export RUN --out MODEL` or `radapt adapt` wrote, or the folder model of a cell "
    "of a run."
)


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A complete model folder whose files match their digests."""

    folder: Path
    card: ModelCard

    @cached_property
    def tensors(self) -> "dict[str, Tensor]":
        """Copied into memory: mapped files align numbers differently, which changes the last digits of sums.

        Raises UsageError if they cannot be read.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return {name: tensor.clone() for name, tensor in load_file(self.folder / WEIGHTS).items()}
        except (OSError, SafetensorError) as error:
            raise UsageError(f"{self.folder / WEIGHTS} cannot be read: {error}.") from error

    def part(self, prefix: str, card: ModelCard | None = None) -> "SavedModel":
        """What was saved of one of several models in the folder: the tensors whose names begin with `prefix`, without
        it, and its own `card`."""
        return _Part(self.folder, card or self.card, self, prefix)


@dataclass(frozen=True, eq=False)
class _Part(SavedModel):
    whole: SavedModel
    prefix: str

    @cached_property
    def tensors(self) -> "dict[str, Tensor]":
        found = self.whole.tensors.items()
        return {name.removeprefix(self.prefix): tensor for name, tensor in found if name.startswith(self.prefix)}


def save(folder: Path, card: ModelCard, state: ModelState) -> None:
    """Write a model into `folder`, which is created if needed; other files in it are left alone.

    Modalities, mask labels, label encoding and facts of the state replace those of the card.
    """
    from safetensors.torch import save_file

    (folder / MODEL).unlink(missing_ok=True)
    with atomic_path(folder / WEIGHTS) as part:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}, part)
    names = (WEIGHTS, *(state.attach(folder) if state.attach else ()))
    stored = {field.name: getattr(card, field.name) for field in fields(card)}
    stored |= {
        "modalities": state.modalities,
        "mask_labels": {str(value): name for value, name in state.mask_labels.items()},
        "label_encoding": dict(state.label_encoding),
        "facts": dict(state.facts),
        "recipe": asdict(card.recipe),
        "fit": card.fit.to_json(),
        "backbone": None if state.holds_encoder or card.backbone is None else card.backbone.facts(),
    }
    head = {"format": FORMAT, "radapt": __version__}
    tail = {
        "images": card.recipe.describe(),
        "recipe_digest": card.recipe.digest,
        "files": {name: digest_file(folder / name) for name in names},
    }
    write_json(folder / MODEL, head | stored | tail)


def load(folder: Path | str) -> SavedModel:
    """The model in `folder`, after every file is compared with its digest.

    Raises UsageError if the folder holds no model or one of another format, a file is missing or was changed, or this
    version prepares images differently.
    """
    folder = expanded(folder)
    stored = _manifest(folder)
    try:
        card, files = _card(stored), {str(name): str(value) for name, value in stored["files"].items()}
        recipe_digest = stored["recipe_digest"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{folder / MODEL} was not written by radapt {__version__}, or was changed later "
            f"({type(error).__name__}: {error}). Copy the whole folder again, or train again."
        ) from error
    for name, expected in files.items():
        _check_file(folder / name, expected)
    if card.recipe.digest != recipe_digest:
        older = stored["radapt"] != __version__
        which = f"radapt {stored['radapt']}" if older else f"an earlier state of radapt {__version__}"
        raise UsageError(
            f"The model in {folder} was trained on images that {which} prepared; radapt {__version__} prepares them "
            f"differently. {'Predict with that version, or train again.' if older else 'Train again.'}"
        )
    return SavedModel(folder, card)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MODEL
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder. {_EXPECTED}")
    if not path.is_file():
        raise UsageError(f"{folder} holds no model: it has no {MODEL}.{_nearby(folder)}")
    try:
        stored = read_json(path)
        version = stored["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} cannot be read ({error}). Copy the whole folder again, or train again.") from error
    if version != FORMAT:
        raise UsageError(
            f"The model in {folder} has format {version} of radapt {stored.get('radapt', '(version unknown)')}; radapt "
            f"{__version__} reads format {FORMAT}. Load it with that version, or train again."
        )
    return dict(stored)


def _nearby(folder: Path) -> str:
    """A hint where the model may be instead."""
    if (folder / "model" / MODEL).is_file():
        return f" Give {folder / 'model'}."
    for place in (folder, folder / "model"):
        if folds := sorted(each.name for each in place.glob("fold-*") if (each / MODEL).is_file()):
            return f" It holds a model for each fold: give one, such as {place / folds[0]}; `radapt export` joins them."
    if (folder / "backbone.json").is_file():
        return (
            " It holds an adapted backbone without a classifier of this version: fit a protocol on it, or adapt again."
        )
    if (folder / "cells").is_dir():
        return (
            f" It is a run folder: `radapt export {folder} --out MODEL` writes its winner. Or give the folder of a "
            f"cell, {folder / 'cells'}/<id>/model."
        )
    return f" {_EXPECTED}"


def _check_file(path: Path, expected: str) -> None:
    if not path.is_file():
        raise UsageError(f"{path} is missing. Copy the whole folder again, or train again.")
    if digest_file(path) != expected:
        raise UsageError(
            f"{path} does not match its digest in {MODEL}: it was changed or damaged. Copy the whole folder "
            "again, or train again."
        )


def _card(stored: Mapping[str, Any]) -> ModelCard:
    """Raises KeyError, TypeError, ValueError or AttributeError for content that `save` did not write."""
    known = {"runtime": "pytorch", **stored}  # folders of before other runtimes do not name it
    values = {field.name: known[field.name] for field in fields(ModelCard)}
    names = {field.name for field in fields(Recipe)}
    values["recipe"] = Recipe(**{name: tuples(value) for name, value in values["recipe"].items() if name in names})
    values["fit"] = FitRecord.from_json(values["fit"])
    values["backbone"] = values["backbone"] and BackboneReference.from_facts(values["backbone"])
    values["mask_labels"] = {int(value): str(name) for value, name in values["mask_labels"].items()}
    for name in ("layers", "classes", "findings", "modalities"):
        values[name] = tuple(values[name])
    return ModelCard(**values)
