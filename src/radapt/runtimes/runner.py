"""The seam at which a network is computed: by PyTorch, or by whatever a runner has for its name."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from radapt.errors import UsageError
from radapt.runtimes.runtime import Runtime

RECORDED_ROWS = 16
"""Rows of the inputs that a recorder keeps: enough to compare results on."""


class Runner(Protocol):
    """Computes the network `name`, which `make` builds, for `inputs` whose first axis is the batch."""

    @property
    def runtime(self) -> Runtime: ...

    def __call__(self, name: str, make: Callable[[], nn.Module], inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]: ...


@dataclass(frozen=True)
class Scoped:
    """A runner for the networks whose names begin with `prefix`."""

    runner: Runner
    prefix: str

    @property
    def runtime(self) -> Runtime:
        return self.runner.runtime

    def __call__(self, name: str, make: Callable[[], nn.Module], inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return self.runner(f"{self.prefix}/{name}", make, inputs)


class _Whole(nn.Module):
    """A module by its own forward, whatever its instance was given instead."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Tensor:
        output: Tensor = type(self.module).forward(self.module, *inputs)
        return output


def hand_over(module: nn.Module, name: str, runner: Runner) -> None:
    """Let `runner` compute `module`, which has one output, whenever it is called. Its weights stay where they are."""

    def forward(*inputs: Tensor) -> Tensor:
        return runner(name, lambda: _Whole(module), inputs)[0]

    module.forward = forward


@dataclass(frozen=True, eq=False)
class RecordedCall:
    """The first call of a network: inputs and outputs of at most `RECORDED_ROWS` rows."""

    network: nn.Module
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(eq=False)
class Recorder:
    """Computes every network in PyTorch, and keeps the first call of each."""

    calls: dict[str, RecordedCall] = field(default_factory=dict)
    runtime: Runtime = "pytorch"

    def __call__(self, name: str, make: Callable[[], nn.Module], inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        known = self.calls.get(name)
        network = make().eval() if known is None else known.network
        outputs = in_pytorch(network, inputs)
        if known is None:
            self.calls[name] = RecordedCall(network, _first_rows(inputs), _first_rows(outputs))
        return outputs


def in_pytorch(network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The outputs as a tuple, without gradients."""
    with torch.no_grad():
        outputs = network(*inputs)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _first_rows(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    with torch.inference_mode(False), torch.no_grad():  # inference tensors cannot be traced
        return tuple(tensor[:RECORDED_ROWS].detach().cpu().clone() for tensor in tensors)


def largest_difference(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> float:
    """The largest |a - b| of any output, divided by the largest |a| of that output where that is above 1.

    Raises UsageError for outputs of other numbers, shapes or values that are not finite.
    """
    if [tuple(each.shape) for each in first] != [tuple(each.shape) for each in second]:
        raise UsageError("The converted network gives outputs of other shapes.")
    worst = 0.0
    for one, other in zip(first, second, strict=True):
        if one.numel():
            scale = max(1.0, float(one.abs().max()))
            found = float((one.double() - other.double()).abs().max()) / scale
            worst = max(worst, found if found == found else float("inf"))
    return worst
