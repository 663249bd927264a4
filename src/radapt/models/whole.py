"""Loading all weights of a network from a model folder."""

from typing import TYPE_CHECKING

from radapt.errors import UsageError
from radapt.models.folder import MODEL, WEIGHTS, SavedModel

if TYPE_CHECKING:
    from torch import nn


def load_whole(saved: SavedModel, network: "nn.Module") -> None:
    """Load every weight of `network` from the folder and put it into eval mode.

    Raises UsageError if the weights belong to a different network.
    """
    try:
        network.load_state_dict(saved.tensors, strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise UsageError(f"{saved.folder / WEIGHTS} does not fit the network in {MODEL}: {first}") from error
    network.eval()
