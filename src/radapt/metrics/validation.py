"""Validation of ground truth and predictions before any metric is computed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radapt.errors import DataError, suggest
from radapt.metrics.bootstrap import units_of

TASKS = ("binary", "multiclass", "multilabel")
SUM_TOLERANCE = 1e-3
"""How far the sum of a case's class probabilities may be from 1: a half-precision softmax stays within it."""
RANGE_TOLERANCE = 1e-6
"""How far a probability may leave [0, 1] by rounding in single precision; it is then clipped."""


@dataclass(frozen=True)
class Predictions:
    """Ground truth and probabilities of the same cases, and the independent unit of every case.

    `truth` (N,) int64 with -1 unlabelled, or (N, F) float64 with NaN unknown; `probabilities` (N, outputs)
    float64; `unit` (N,) indices in 0 … units-1 for the cases with any known truth, -1 for the others. `decisions` (N,)
    class indices, or (N, F) of 0 and 1, are what was decided; None: the most probable class, a finding above 0.5.
    """

    truth: np.ndarray
    probabilities: np.ndarray
    unit: np.ndarray
    units: int
    decisions: np.ndarray | None = None

    @property
    def known(self) -> np.ndarray:
        """(N,) or (N, F) bool: where the truth is known."""
        return self.truth >= 0 if self.truth.ndim == 1 else ~np.isnan(self.truth)


def checked(
    truth: np.ndarray,
    probabilities: np.ndarray,
    patients: Sequence[object] | np.ndarray,
    task: str,
    outputs: int,
    decisions: np.ndarray | None = None,
) -> Predictions:
    """The arguments as `Predictions`. Raises a DataError that names the first case that does not fit."""
    if task not in TASKS:
        raise DataError(f"Task {task!r} has no metrics of this kind. {suggest(task, TASKS)}")
    truth = _truth(np.asarray(truth), task, outputs)
    probabilities = _probabilities(np.asarray(probabilities, dtype=np.float64), len(truth), task, outputs)
    if len(patients) != len(truth):
        raise DataError(f"{len(patients)} patients do not fit {len(truth)} cases; expected the patient of every case.")
    unit, _ = units_of(np.asarray(patients, dtype=object))
    known = truth >= 0 if truth.ndim == 1 else ~np.isnan(truth).all(axis=1)
    # Patients without known truth are not drawn: they would only thin out the replicates.
    labelled, index = np.unique(unit[known], return_inverse=True)
    unit = np.full(len(truth), -1)
    unit[known] = index
    return Predictions(truth, probabilities, unit, len(labelled), _decisions(decisions, truth, outputs))


def _decisions(decisions: np.ndarray | None, truth: np.ndarray, outputs: int) -> np.ndarray | None:
    if decisions is None:
        return None
    given, kinds = np.asarray(decisions), 2 if truth.ndim == 2 else outputs
    if given.shape != truth.shape or not np.isin(given, np.arange(kinds)).all():
        raise DataError(
            f"Decisions of shape {given.shape} for truth of shape {truth.shape}; expected one for each truth, "
            f"0 … {kinds - 1}."
        )
    return given.astype(np.int64)


def _truth(truth: np.ndarray, task: str, outputs: int) -> np.ndarray:
    if task == "binary" and outputs != 2:
        raise DataError(f"A binary task has 2 outputs, one per class; got {outputs}.")
    expected = "(N, findings)" if task == "multilabel" else "(N,)"
    if truth.ndim != (2 if task == "multilabel" else 1) or (truth.ndim == 2 and truth.shape[1] != outputs):
        raise DataError(f"Truth of shape {truth.shape} does not fit a {task} task of {outputs}; expected {expected}.")
    if task == "multilabel":
        truth = truth.astype(np.float64)
        wrong = ~(np.isnan(truth) | np.isin(truth, (0.0, 1.0)))
        allowed = "1, 0 or NaN for unknown"
    else:
        wrong = ~np.isin(truth, np.arange(-1, outputs))
        allowed = f"0 … {outputs - 1}, or -1 for unlabelled"
    if wrong.any():
        where = tuple(int(index) for index in np.argwhere(wrong)[0])
        raise DataError(
            f"Truth of case {where[0]} (counting from 0) is {truth[where]}; expected {allowed} "
            f"({int(wrong.sum())} such value(s))."
        )
    return truth if task == "multilabel" else truth.astype(np.int64)


def _probabilities(probabilities: np.ndarray, cases: int, task: str, outputs: int) -> np.ndarray:
    if probabilities.shape != (cases, outputs):
        raise DataError(f"Probabilities of shape {probabilities.shape}; expected {(cases, outputs)}: cases × outputs.")
    _refuse(np.isnan(probabilities), "has a NaN probability; expected one for every output")
    outside = (probabilities < -RANGE_TOLERANCE) | (probabilities > 1 + RANGE_TOLERANCE)
    _refuse(outside, "has a probability outside [0, 1]; pass probabilities, not logits")
    if task != "multilabel":
        off = np.abs(probabilities.sum(axis=1) - 1) > SUM_TOLERANCE
        _refuse(off[:, None], "has class probabilities that do not sum to 1; pass a softmax over the classes")
    return np.clip(probabilities, 0, 1)


def _refuse(bad: np.ndarray, what: str) -> None:
    rows = np.flatnonzero(bad.any(axis=1))
    if len(rows):
        first, more = int(rows[0]), len(rows) - 1
        others = f" The same holds for {more} other case(s)." if more else ""
        raise DataError(f"Case {first} (counting from 0) {what}.{others}")
