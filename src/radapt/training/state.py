"""How far a training has come: all that a killed one needs to go on as if nothing had happened."""

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
    best: dict[str, Tensor] | None = None  # what training changes, on the CPU
    good: dict[str, Any] | None = None  # the last state that was good, as `keep_good` makes it
    good_step: int = 0  # when that was
    stopped: str | None = None  # why training ended before its time
    checks: list[dict[str, Any]] = field(default_factory=list)
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

    def note(self, text: str) -> None:
        """Add a note that is not there yet."""
        if text not in self.notes:
            self.notes.append(text)

    def keep_good(self, task: Task) -> None:
        """Keep what training changes, and the best so far: what comes after may turn out not to be trusted."""
        best = {"best_score": self.best_score, "best_epoch": self.best_epoch, "best": self.best}
        self.good, self.good_step = {"tensors": copied(task), **best}, self.step

    def go_back(self, task: Task) -> None:
        """Be as good as when that was kept. Counters and records stay: the steps since were done."""
        if self.good is not None:
            restore(task, self.good["tensors"])
            self.best_score, self.best_epoch, self.best = (
                self.good[name] for name in ("best_score", "best_epoch", "best")
            )


def trained_tensors(module: nn.Module) -> dict[str, Tensor]:
    """All that training changes, by name, not copied: parameters that are trained, and buffers."""
    frozen = {
        name for name, each in module.named_parameters(remove_duplicate=False) if not each.requires_grad
    }  # a shared parameter has several names
    tensors = {name: each for name, each in module.state_dict().items() if isinstance(each, Tensor)}
    return {name: each for name, each in tensors.items() if name not in frozen}


def changing(task: Task) -> dict[str, Tensor]:
    """All that training changes, by name, not copied: the trained tensors of the module and the task's own."""
    return trained_tensors(task.module) | {f"{_OF_TASK}{name}": each.detach() for name, each in task.state().items()}


def copied(task: Task) -> dict[str, Tensor]:
    """A copy of all that training changes, on the CPU."""
    return {name: each.detach().to("cpu", copy=True) for name, each in changing(task).items()}


def check(task: Task, saved: dict[str, Tensor]) -> None:
    """Raises ValueError if a copy is of another task."""
    if {name: each.shape for name, each in changing(task).items()} != {
        name: each.shape for name, each in saved.items()
    }:
        raise ValueError("the weights are of another module")


def restore(task: Task, saved: dict[str, Tensor]) -> None:
    """Put a copy back, which has to be of this task."""
    with torch.no_grad():
        for name, each in trained_tensors(task.module).items():
            each.copy_(saved[name])
    own = {name.removeprefix(_OF_TASK): each for name, each in saved.items() if name.startswith(_OF_TASK)}
    if own:
        task.load_state(own)


def unchanging(task: Task) -> list[Tensor]:
    """The parameters of the module that training leaves alone."""
    own = {(each.device, each.data_ptr()) for each in task.state().values()}
    frozen = [each.detach() for each in task.module.parameters() if not each.requires_grad]
    return [each for each in frozen if (each.device, each.data_ptr()) not in own]
