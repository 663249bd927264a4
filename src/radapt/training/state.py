"""The progress of a run: everything that an interrupted run needs to resume exactly."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from radapt.training.task import Task

_OF_TASK = "task/"  # before the names of a task's own tensors; names in a module have dots and no slash


@dataclass
class State:
    """Counters and records of a run; weights and optimiser state are stored separately.

    Random numbers need no state: they are derived from the seed, the epoch and the position in it.
    """

    micro_batch: int
    epoch: int = 0  # finished epochs
    step: int = 0  # optimiser steps
    seen: int = 0  # samples of the current epoch
    loss_sum: float = 0.0  # over these samples
    best_score: float = math.nan
    best_epoch: int = 0
    best: dict[str, Tensor] | None = None  # what training changes, on the CPU
    good: dict[str, Any] | None = None  # the last good state, from `keep_good`
    good_step: int = 0  # its step
    stopped: str | None = None  # why training ended early
    checks: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0  # before the run was resumed
    peak_memory_mb: float = 0.0
    finished: bool = False

    def plain(self) -> dict[str, Any]:
        """The fields, as they are stored in a checkpoint."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def improves(self, score: float) -> bool:
        """Whether a score is better than the best so far; NaN never is."""
        return score > self.best_score or (math.isnan(self.best_score) and not math.isnan(score))

    def note(self, text: str) -> None:
        """Add a note once."""
        if text not in self.notes:
            self.notes.append(text)

    def keep_good(self, task: Task) -> None:
        """Keep the training state and the best so far, as a fallback if later steps fail a health check."""
        best = {"best_score": self.best_score, "best_epoch": self.best_epoch, "best": self.best}
        self.good, self.good_step = {"tensors": copied(task), **best}, self.step

    def go_back(self, task: Task) -> None:
        """Restore the last good state. Counters and records stay: the later steps were done."""
        if self.good is not None:
            restore(task, self.good["tensors"])
            self.best_score, self.best_epoch, self.best = (
                self.good[name] for name in ("best_score", "best_epoch", "best")
            )


def trained_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The trained parameters and buffers of a module by name, not copied."""
    frozen = {
        name for name, parameter in module.named_parameters(remove_duplicate=False) if not parameter.requires_grad
    }  # a shared parameter has several names
    tensors = {name: tensor for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)}
    return {name: tensor for name, tensor in tensors.items() if name not in frozen}


def changing(task: Task) -> dict[str, Tensor]:
    """Every tensor that training changes, by name, not copied: those of the module and those of the task."""
    own = {f"{_OF_TASK}{name}": tensor.detach() for name, tensor in task.state().items()}
    return trained_tensors(task.module) | own


def copied(task: Task) -> dict[str, Tensor]:
    """A copy on the CPU of every tensor that training changes."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in changing(task).items()}


def check(task: Task, saved: dict[str, Tensor]) -> None:
    """Raises ValueError if a copy belongs to a different task."""
    if {name: tensor.shape for name, tensor in changing(task).items()} != {
        name: tensor.shape for name, tensor in saved.items()
    }:
        raise ValueError("the weights belong to a different module")


def restore(task: Task, saved: dict[str, Tensor]) -> None:
    """Load a copy, which has to belong to this task."""
    with torch.no_grad():
        for name, tensor in trained_tensors(task.module).items():
            tensor.copy_(saved[name])
    own = {name.removeprefix(_OF_TASK): tensor for name, tensor in saved.items() if name.startswith(_OF_TASK)}
    if own:
        task.load_state(own)


def unchanging(task: Task) -> list[Tensor]:
    """The frozen parameters of the module."""
    own = {(tensor.device, tensor.data_ptr()) for tensor in task.state().values()}
    frozen = [tensor.detach() for tensor in task.module.parameters() if not tensor.requires_grad]
    return [tensor for tensor in frozen if (tensor.device, tensor.data_ptr()) not in own]
