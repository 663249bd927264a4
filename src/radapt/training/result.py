"""What a training ends with."""

from dataclasses import dataclass, field
from typing import Any

from radapt.errors import DataError


class DivergedError(DataError):
    """The loss, the gradient or the answers of a network in training are not finite: images may be at fault, or the
    learning rate."""


@dataclass(frozen=True)
class TrainResult:
    """What came out, and what it took. The weights that were best on val are in the task's module.

    `score` is the best on val and `best_epoch` (from 1) the epoch it was reached in; where the score was undefined
    in every epoch, they are NaN and None, and the weights are those of the last epoch. `history` has one entry per
    epoch: epoch, step (steps done by its end), loss (mean over its samples), score (NaN where none was asked for), lr
    (at its last step), and what the task records. `checks` has one entry per check of a task's health: step, good, and
    its numbers.

    `stopped` says why training ended before its time, at step `steps`: its health was lost. The weights then are those
    of step `good_step`, or the best on val until then; `score` and `best_epoch` are from before it, too.

    `seconds` counts every part of a training that was killed and went on. `peak_memory_mb` is what training added
    at its most: on a GPU the memory allocated by torch, on a CPU the resident memory of the process, which misses
    what the process had already asked for before; with several devices, on the first of them.
    `trained_parameters` of `parameters` numbers were trained. `micro_batch` samples at a time at most went through
    the network on each device; where memory ran out, `notes` say so.
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
