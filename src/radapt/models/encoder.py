"""The encoder of a trained model: found or checked, and copied before it is changed."""

import copy
from pathlib import Path

from radapt.backbones.backbone import Backbone
from radapt.backbones.lazy import LazyBackbone
from radapt.errors import UsageError
from radapt.models.folder import SavedModel


def encoder_of(
    saved: SavedModel,
    given: Backbone | LazyBackbone | None = None,
    *,
    device: str = "cpu",
    offline: bool = False,
    cache: Path | None = None,
) -> Backbone | LazyBackbone | None:
    """The encoder that the model needs: `given`, or found from the model card; None if it needs none.

    Raises UsageError if `given` has other weights than the model was trained with or is not needed, or if no encoder
    is given and it cannot be found.
    """
    reference = saved.card.backbone
    if reference is None:
        if given is not None:
            raise UsageError(f"The model in {saved.folder} needs no backbone; leave out {given.name}.")
        return None
    if given is None:
        dtype = saved.card.precision if saved.card.reads == "features" else "float32"
        return reference.find(
            dtype=dtype, device=device, offline=offline, runtime=saved.card.runtime, cache=cache
        )  # fmt: skip
    if given.identity != reference.identity:
        raise UsageError(
            f"The model in {saved.folder} was trained with other weights ({reference.name}, "
            f"{reference.identity}) than those of {given.name} ({given.identity}). "
            f"Give the backbone it was trained with, or none."
        )
    return given


def fresh_copy(backbone: Backbone | LazyBackbone) -> Backbone:
    """A copy of the backbone in float32 that the caller may change."""
    if isinstance(backbone, LazyBackbone):
        return backbone.load_as("float32")
    fresh = copy.deepcopy(backbone)
    fresh.module.float()
    return fresh
