"""The result of a run."""

from dataclasses import dataclass, field
from typing import Any

from radapt.errors import DataError


class DivergedError(DataError):
    """The loss, the gradient or the predictions of a network in training are not finite: check the images and the
    learning rate."""


@dataclass(frozen=True)
class TrainResult:
    """Scores, history and cost of a run. The task's module holds the weights of the best validation score.

    `score` is the best on val and `best_epoch` (from 1) its epoch; if the score was undefined in every epoch, they are
    NaN and None, and the weights are those of the last epoch. `history` has one entry per epoch: epoch, step (steps
    done by its end), loss (mean over its samples), score (NaN without a validation pass), lr (at its last step), and
    the records of the task. `checks` has one entry per health check of the task: step, good, and its numbers.

    `stopped` gives the reason if a health check ended training, at step `steps`. The weights are then those of step
    `good_step`, or the best on val up to it; `score` and `best_epoch` are also from before it.

    `seconds` includes the time before a run was resumed. `peak_memory_mb` is the peak that training added: on a GPU
    the memory allocated by torch, on a CPU the resident memory of the process, which misses memory the process had
    allocated before; with several devices, that of the first. `trained_parameters` of `parameters` were trained.
    At most `micro_batch` samples at a time went through the network on each device; `notes` say if memory ran out.
    """

    score: float
    best_epoch: int | None
    epochs: int
    steps: int
    history: list[dict[str, Any]]
    seconds: float
    peak_memory_mb: float
    trained_parameters: int
    parameters: int
    micro_batch: int
    notes: list[str] = field(default_factory=list)
    stopped: str | None = None
    good_step: int = 0
    checks: list[dict[str, Any]] = field(default_factory=list)
