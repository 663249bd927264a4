"""The encoder that a trained model stands on: checked against what was given, and a copy that may be changed."""

import copy

from radapt.backbones.backbone import Backbone
from radapt.backbones.lazy import LazyBackbone
from radapt.errors import UsageError
from radapt.models.folder import SavedModel


def encoder_of(
    saved: SavedModel, given: Backbone | LazyBackbone | None = None, *, device: str = "cpu", offline: bool = False
) -> Backbone | LazyBackbone | None:
    """The encoder that the model needs: `given`, or found by what its card says; None if it needs none.

    Raises UsageError if `given` has other weights than the model was trained with, or is not needed, and if no encoder
    was given and it cannot be found.
    """
    wanted = saved.card.backbone
    if wanted is None:
        if given is not None:
            raise UsageError(f"The model in {saved.folder} needs no backbone; leave out {given.name}.")
        return None
    if given is None:
        dtype = saved.card.precision if saved.card.reads == "features" else "float32"
        return wanted.find(dtype=dtype, device=device, offline=offline)
    if given.identity != wanted.identity:
        raise UsageError(
            f"The model in {saved.folder} was trained with other weights ({wanted.name}, {wanted.identity}) than those "
            f"of {given.name} ({given.identity}). Give the backbone it was trained with, or none."
        )
    return given


def fresh_copy(backbone: Backbone | LazyBackbone) -> Backbone:
    """The backbone in float32, loaded anew or copied, free to be changed."""
    if isinstance(backbone, LazyBackbone):
        return backbone.load_as("float32")
    fresh = copy.deepcopy(backbone)
    fresh.module.float()
    return fresh
