"""An adapted encoder in training: the mode of its modules, its trained state, and a digest of what must not change."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from radapt.errors import UsageError, suggest
from radapt.networks.adapters.encoder_blocks import layer_of
from radapt.networks.adapters.lora import tuners


def train_mode(module: nn.Module) -> None:
    """Set every module to training or evaluation mode.

    Layers (see `layer_of`) with every parameter trained are in training mode: dropout and drop path are active, and
    batch normalisation uses and updates batch statistics. All others are in evaluation mode, even if a few of their
    parameters are trained, so that the frozen network equals the loaded one. The adapters' own dropout is active.
    """
    trained = _fully_trained(module)
    for name, child in module.named_modules():
        child.training = name in trained
    for _, tuner in tuners(module):
        tuner.training = True
        for child_name, child in tuner.named_children():
            if child_name != "base_layer":
                child.train()


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """CPU copies of everything that training changes, by name: trained parameters, and the batch normalisation
    statistics of fully trained layers."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in _changing(module)}


def load_trained_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load the result of `trained_state` into a module adapted in the same way; other tensors are unchanged.

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
    """32 hex digits of every tensor that training must not change: frozen parameters, and all buffers except those of
    `trained_state`. Equal before and after a training that did not change them, bit by bit."""
    changing = {name for name, _ in _changing(module)}
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if name not in changing:
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _changing(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            yield name, parameter
    trained = _fully_trained(module)
    for name, child in module.named_modules():
        if name in trained and getattr(child, "track_running_stats", False):
            yield from ((f"{name}.{end}" if name else end, buffer) for end, buffer in child.named_buffers())


def _fully_trained(module: nn.Module) -> set[str]:
    """Names of the modules inside fully trained layers, or that hold only such layers."""
    parameters = dict(module.named_parameters())
    if all(parameter.requires_grad for parameter in parameters.values()):
        return {name for name, _ in module.named_modules()}
    layer, last = layer_of(module)
    frozen = {layer(name) for name, parameter in parameters.items() if not parameter.requires_grad}
    if last - 1 in frozen:  # a trained final norm alone, as in norm tuning: what it normalises is frozen
        frozen.add(last)
    inside: defaultdict[str, set[int]] = defaultdict(set)  # module -> the layers that it holds parameters of
    for name in parameters:
        parts = name.split(".")
        for end in range(len(parts)):
            inside[".".join(parts[:end])].add(layer(name))
    trained: set[str] = set()
    for name, _ in module.named_modules():  # parents come before their children
        if name.rpartition(".")[0] in trained or (name in inside and not inside[name] & frozen):
            trained.add(name)
    return trained
