"""The files of a trained model: what they are called, reading them, and the backbone they go with."""

import copy
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from radapt.backbones.adapted import tuples
from radapt.backbones.backbone import Backbone
from radapt.backbones.lazy import LazyBackbone
from radapt.errors import UsageError
from radapt.images import Recipe

WEIGHTS, FACTS = "model.safetensors", "model.json"
FORMAT = 1


def read_facts(folder: Path) -> dict[str, Any]:
    """What `model.json` in `folder` says. Raises UsageError if nothing readable is there."""
    path = folder / FACTS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise UsageError(f"{path} has format {facts['format']}; this version of radapt reads format {FORMAT}.")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder} holds no trained model that can be read ({error}).") from error
    return dict(facts)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file. Raises UsageError if it cannot be read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error


def check_backbone(folder: Path, identity: str | None, given: Backbone | LazyBackbone | None) -> None:
    """Raises UsageError unless `given` has the weights that the model in `folder` was trained around."""
    if identity is None and given is not None:
        raise UsageError(f"The model in {folder} is a network of its own; it takes no backbone.")
    if identity is not None and given is None:
        raise UsageError(f"The model in {folder} adapts a backbone; give the one it was trained with.")
    if given is not None and given.identity != identity:
        raise UsageError(
            f"The model in {folder} was trained around other weights than those of {given.name!r} "
            f"({identity}, not {given.identity}). Give the backbone it was trained with."
        )


def fresh_copy(backbone: Backbone | LazyBackbone | None) -> Backbone | None:
    """The backbone in float32, loaded anew or copied, free to be changed."""
    if isinstance(backbone, LazyBackbone):
        return backbone.load_as("float32")
    fresh = copy.deepcopy(backbone)
    if fresh is not None:
        fresh.module.float()
    return fresh


def recipe_of(stored: Mapping[str, Any]) -> Recipe:
    """A recipe as JSON keeps it."""
    known = {field.name for field in fields(Recipe)}
    return Recipe(**{name: tuples(value) for name, value in stored.items() if name in known})
