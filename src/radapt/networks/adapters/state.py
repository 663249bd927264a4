"""An adapted encoder in training: which mode its parts are in, what is trained, and proof that the rest is not."""

import hashlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from radapt.errors import UsageError, suggest
from radapt.networks.adapters.blocks import layer_of
from radapt.networks.adapters.lora import tuners


def train_mode(module: nn.Module) -> None:
    """Set every part to the mode it is trained in.

    Layers (see `layer_of`) of which every parameter is trained are in training mode: dropout and drop path act, and
    batch normalisation uses and updates statistics of the batch. All others are in evaluation mode, whatever few
    parameters of theirs are trained, so that the frozen network is the one that was loaded. Adapters' own dropout acts.
    """
    whole = _whole_parts(module)
    for name, part in module.named_modules():
        part.training = name in whole
    for _, tuner in tuners(module):
        tuner.training = True
        for kind, child in tuner.named_children():
            if kind != "base_layer":
                child.train()


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """Copies on the CPU of all that training changes, by name: trained parameters, and the statistics of batch
    normalisation in layers that are trained whole."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in _changing(module)}


def load_trained_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put back what `trained_state` gave, into a module adapted in the same way; all other tensors are left alone.

    Raises UsageError if a name is missing, unknown or of another shape, before anything is changed.
    """
    wanted = dict(_changing(module))
    for name in state:
        if name not in wanted:
            raise UsageError(f"The state holds {name!r}, which this module does not train. {suggest(name, wanted)}")
    for name, tensor in wanted.items():
        if name not in state:
            raise UsageError(f"The state lacks {name!r}, which this module trains.")
        if state[name].shape != tensor.shape:
            raise UsageError(f"{name!r} is {tuple(tensor.shape)} here and {tuple(state[name].shape)} in the state.")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(state[name])


def fingerprint(module: nn.Module) -> str:
    """32 hex digits of every tensor that training must not change: frozen parameters, and all buffers but those of
    `trained_state`. Equal before and after a training that left them alone, bit by bit."""
    changing = {name for name, _ in _changing(module)}
    found = hashlib.blake2b(digest_size=16)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if name not in changing:
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def _changing(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            yield name, parameter
    whole = _whole_parts(module)
    for name, part in module.named_modules():
        if name in whole and getattr(part, "track_running_stats", False):
            yield from ((f"{name}.{each}" if name else each, buffer) for each, buffer in part.named_buffers())


def _whole_parts(module: nn.Module) -> set[str]:
    """Names of the parts that lie in layers of which every parameter is trained, or hold only such layers."""
    parameters = dict(module.named_parameters())
    if all(parameter.requires_grad for parameter in parameters.values()):
        return {name for name, _ in module.named_modules()}
    layer, last = layer_of(module)
    halves = {layer(name) for name, parameter in parameters.items() if not parameter.requires_grad}
    if last - 1 in halves:  # a final norm alone, as in norm-tuning: what it normalises is frozen
        halves.add(last)
    found: set[str] = set()
    for name, part in module.named_modules():  # parents come before their children
        own = {layer(f"{name}.{each}" if name else each) for each, _ in part.named_parameters()}
        if name.rpartition(".")[0] in found or (own and not own & halves):
            found.add(name)
    return found
