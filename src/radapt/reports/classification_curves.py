"""ROC curves, confusion matrices and reliability from stored predictions.

Each curve belongs to one cell (of several seeds, the first), because a mean of curves is the curve of no model.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from radapt.metrics import confusion_matrix, reliability_bins, roc_curve
from radapt.metrics.constant import DECISION
from radapt.reports.leaderboard import Leaderboard
from radapt.reports.methods import Method
from radapt.reports.run_folder import CellRecord, Run

MOST_METHODS = 8
"""The number of methods with curves per test set, best first; more lines are not distinguishable."""

MOST_CLASSES = 40
"""The largest number of classes that a confusion matrix can show legibly."""

DECISION_THRESHOLD = 0.5
"""A finding is called present above this probability in run folders that hold no decisions."""

_ROC_POINTS = 120


@dataclass(frozen=True)
class ClassificationPredictions:
    """A cell's predictions on one split, for the cases with a known truth."""

    method: Method
    cell: CellRecord
    outputs: tuple[str, ...]
    truth: np.ndarray  # (N,) class index, or (N, F) with NaN for unknown
    probabilities: np.ndarray  # (N, C) or (N, F)
    decided: np.ndarray | None = None  # (N,) class index, or (N, F) of 1 and 0; None in runs without decisions
    cases: tuple[str, ...] = ()  # (N,)

    @property
    def title(self) -> str:
        """The method's name, with the seed of the cell if the method has several."""
        return self.method.title_of(self.cell)

    @property
    def multilabel(self) -> bool:
        return self.truth.ndim == 2

    def binary_problems(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Name, truth (0 or 1) and score of each finding, or of each class against the rest; two classes make one."""
        for index, name in enumerate(self.outputs):
            if self.multilabel:
                labelled = ~np.isnan(self.truth[:, index])
                yield name, self.truth[labelled, index].astype(int), self.probabilities[labelled, index]
            elif len(self.outputs) != 2 or index == 1:
                yield name, (self.truth == index).astype(int), self.probabilities[:, index]

    @cached_property
    def matrix(self) -> np.ndarray | None:
        """The confusion matrix (C, C), truth in rows; None for findings and for more than `MOST_CLASSES` classes."""
        if self.multilabel or len(self.outputs) > MOST_CLASSES:
            return None
        predicted = self.decided
        if predicted is None:
            predicted = self.probabilities.argmax(axis=1) if len(self.truth) else self.truth
        return confusion_matrix(self.truth, predicted, len(self.outputs)).astype(int)


def best_predictions(run: Run, board: Leaderboard) -> tuple[ClassificationPredictions, ...]:
    """The predictions of the best methods of a leaderboard, best first by its leading metric."""
    outputs = tuple(str(name) for name in (run.cohorts.get(board.cohort) or {}).get("outputs") or ())
    best: list[ClassificationPredictions] = []
    for row in board.metrics.get(board.primary or "", ()):
        if len(best) == MOST_METHODS:
            break
        predictions = _predictions(row.method, board.split, outputs)
        if predictions is not None:
            best.append(predictions)
    return tuple(best)


def _predictions(method: Method, split: str, outputs: tuple[str, ...]) -> ClassificationPredictions | None:
    for cell in method.cells:
        table = cell.predictions
        if table is None or "split" not in table:
            continue
        rows = table[table["split"] == split]
        if outputs and all(f"p_{name}" in rows for name in outputs):
            arrays = class_arrays(rows, outputs) if "truth" in rows else finding_arrays(rows, outputs)
            if arrays is not None and len(arrays[0]):
                known = rows[rows["truth"].isin(outputs)] if "truth" in rows else rows
                return ClassificationPredictions(method, cell, outputs, *arrays, tuple(known["case"].astype(str)))
    return None


Arrays = tuple[np.ndarray, np.ndarray, np.ndarray | None]
"""Truth, probabilities and decisions of `ClassificationPredictions`."""


def class_arrays(rows: pd.DataFrame, outputs: tuple[str, ...]) -> Arrays:
    """Those of a predictions table with the column `truth`; cases whose truth is unknown are left out."""
    rows = rows[rows["truth"].isin(outputs)]
    index_of = {name: index for index, name in enumerate(outputs)}
    truth = rows["truth"].map(index_of).to_numpy(dtype=np.int64)
    decided = rows[DECISION].map(index_of).to_numpy(dtype=np.int64) if DECISION in rows else None
    return truth, _probabilities(rows, outputs), decided


def finding_arrays(rows: pd.DataFrame, outputs: tuple[str, ...]) -> Arrays | None:
    """Those of a predictions table with a column `truth_<finding>` for each finding; None if it lacks one."""
    names = [f"truth_{name}" for name in outputs]
    if not all(name in rows for name in names):
        return None
    called = [f"{DECISION}_{name}" for name in outputs]
    decided = rows[called].to_numpy(dtype=np.int64) if set(called) <= set(rows) else None
    return rows[names].astype(float).to_numpy(), _probabilities(rows, outputs), decided


def _probabilities(rows: pd.DataFrame, outputs: tuple[str, ...]) -> np.ndarray:
    return np.clip(rows[[f"p_{name}" for name in outputs]].to_numpy(dtype=np.float64), 0.0, 1.0)


@dataclass(frozen=True)
class RocLine:
    """Sensitivity `y` at 1 − specificity `x` of one class or finding, and its cases with and without it."""

    name: str
    x: list[float]
    y: list[float]
    positive: int
    negative: int


@dataclass(frozen=True)
class ReliabilityBins:
    """Per bin of predicted probability its mean, the observed frequency and the number of cases, at least one."""

    stated: list[float]
    observed: list[float]
    cases: list[int]


def roc_lines(predictions: ClassificationPredictions) -> list[RocLine]:
    """One curve per binary problem that has positive and negative cases."""
    lines = []
    for name, truth, score in predictions.binary_problems():
        positive, negative = int((truth == 1).sum()), int((truth == 0).sum())
        if positive and negative:
            x, y = roc_curve(truth, score, _ROC_POINTS)
            lines.append(RocLine(name, _rounded(x), _rounded(y), positive, negative))
    return lines


def reliability(predictions: ClassificationPredictions) -> ReliabilityBins | None:
    """Predicted probability against observed frequency, in the bins that hold cases; None if there is none.

    Classes: the probability of the predicted class. Findings: all labelled case–finding pairs, pooled.
    """
    if predictions.multilabel:
        labelled = ~np.isnan(predictions.truth)
        bins = reliability_bins(predictions.truth[labelled].astype(int), predictions.probabilities[labelled])
    else:
        bins = reliability_bins(predictions.truth, predictions.probabilities)
    bins = bins[bins["cases"] > 0]
    if bins.empty:
        return None
    stated, observed = (_rounded(bins[name].to_numpy(dtype=float)) for name in ("stated", "observed"))
    return ReliabilityBins(stated, observed, bins["cases"].astype(int).tolist())


def decisions(predictions: ClassificationPredictions) -> list[dict[str, Any]]:
    """True and false positives and negatives of what was decided, one row per finding; empty for classes."""
    if not predictions.multilabel:
        return []
    rows = []
    for index, (name, truth, score) in enumerate(predictions.binary_problems()):
        called = (score > DECISION_THRESHOLD).astype(int)
        if predictions.decided is not None:
            called = predictions.decided[~np.isnan(predictions.truth[:, index]), index]
        matrix = confusion_matrix(truth, called, 2).astype(int)
        (tn, fp), (fn, tp) = matrix.tolist()
        rows.append({"name": name, "tp": tp, "fn": fn, "fp": fp, "tn": tn})
    return rows


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]
