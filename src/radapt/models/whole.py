"""Putting a model folder's tensors into a network that was trained as a whole."""

from typing import TYPE_CHECKING

from radapt.errors import UsageError
from radapt.models.folder import MODEL, WEIGHTS, SavedModel

if TYPE_CHECKING:
    from torch import nn


def load_whole(saved: SavedModel, network: "nn.Module") -> None:
    """Every weight of `network` from the folder, which then is in eval mode.

    Raises UsageError if the weights belong to another network.
    """
    try:
        network.load_state_dict(saved.tensors, strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise UsageError(f"{saved.folder / WEIGHTS} does not fit {MODEL} beside it: {first}") from error
    network.eval()
