"""How far a training has come: all that a killed one needs to go on as if nothing had happened."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class State:
    """Counters and records of a training; the weights and the optimiser are kept beside it.

    Random numbers need no state: all of them are derived from the seed, the epoch and the position in it.
    """

    micro_batch: int
    epoch: int = 0  # epochs that are over
    step: int = 0  # steps of the optimiser
    seen: int = 0  # samples of the running epoch
    loss_sum: float = 0.0  # over these
    best_score: float = math.nan
    best_epoch: int = 0
    best: dict[str, Tensor] | None = None  # weights, on the CPU
    history: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0  # of earlier runs that were killed
    peak_memory_mb: float = 0.0
    finished: bool = False

    def plain(self) -> dict[str, Any]:
        """Its fields, as they go into a checkpoint."""
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}

    def improves(self, score: float) -> bool:
        """Whether a score is better than the best; one that is undefined never is."""
        return score > self.best_score or (math.isnan(self.best_score) and not math.isnan(score))


def trained_tensors(module: nn.Module) -> dict[str, Tensor]:
    """All that training changes, by name, not copied: parameters that are trained, and buffers."""
    frozen = {
        name for name, each in module.named_parameters(remove_duplicate=False) if not each.requires_grad
    }  # a shared parameter has several names
    tensors = {name: each for name, each in module.state_dict().items() if isinstance(each, Tensor)}
    return {name: each for name, each in tensors.items() if name not in frozen}


def copied(module: nn.Module) -> dict[str, Tensor]:
    """A copy of all that training changes, on the CPU."""
    return {name: each.detach().to("cpu", copy=True) for name, each in trained_tensors(module).items()}


def check(module: nn.Module, saved: dict[str, Tensor]) -> None:
    """Raises ValueError if a copy is of another module."""
    tensors = trained_tensors(module)
    if {name: each.shape for name, each in tensors.items()} != {name: each.shape for name, each in saved.items()}:
        raise ValueError("the weights are of another module")


def restore(module: nn.Module, saved: dict[str, Tensor]) -> None:
    """Put a copy back, which has to be of this module."""
    with torch.no_grad():
        for name, each in trained_tensors(module).items():
            each.copy_(saved[name])
