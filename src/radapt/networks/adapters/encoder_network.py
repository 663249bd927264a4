"""The trained weights of a network that has an adapted encoder as its `encoder`."""

from collections.abc import Mapping

from torch import Tensor, nn

from radapt.errors import UsageError
from radapt.networks.adapters.trained_state import load_trained_state, trained_state

_ENCODER = "encoder."


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """Copies on the CPU of all that training changes in a network with an `encoder`: of the encoder what
    `trained_state` says, and everything outside it."""
    own = {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in network.state_dict().items()
        if not name.startswith(_ENCODER)
    }
    return own | {_ENCODER + name: tensor.contiguous() for name, tensor in trained_state(_encoder(network)).items()}


def load_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put back what `state_of` gave. Raises UsageError if it is of another network."""
    inner = {name.removeprefix(_ENCODER): each for name, each in state.items() if name.startswith(_ENCODER)}
    outer = {name: each for name, each in state.items() if not name.startswith(_ENCODER)}
    current = {name: each for name, each in network.state_dict().items() if not name.startswith(_ENCODER)}
    wrong = [name for name in current.keys() | outer.keys() if _shape(current, name) != _shape(outer, name)]
    if wrong:
        raise UsageError(f"The trained weights do not fit the network: {', '.join(sorted(wrong)[:5])}.")
    load_trained_state(_encoder(network), inner)
    network.load_state_dict(outer, strict=False)


def _encoder(network: nn.Module) -> nn.Module:
    encoder = network.encoder
    if not isinstance(encoder, nn.Module):
        raise TypeError(f"{type(network).__name__}.encoder is no module.")
    return encoder


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state else None
