"""What predictions look like beyond one number: ROC curves, confusion counts, reliability.

Every curve is that of one cell (of several seeds: the first), because a mean of curves is nobody's curve.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from radapt.metrics import confusion_matrix, reliability_bins, roc_curve
from radapt.reports.leaderboard import Leaderboard
from radapt.reports.methods import Method
from radapt.reports.run_folder import Cell, Run

MOST_CONTESTANTS = 8
"""Contestants with curves per test set: the best ones; more lines could not be told apart."""

MOST_CLASSES = 40
"""A confusion matrix of more classes than this is no longer a picture."""

DECISION = 0.5
"""Findings are called present above this probability, as in `metrics`."""

_ROC_POINTS = 120


@dataclass(frozen=True)
class Judged:
    """A cell's predictions on one split, as arrays: only cases with a known truth."""

    contestant: Method
    cell: Cell
    outputs: tuple[str, ...]
    truth: np.ndarray  # (N,) class index, or (N, F) with NaN unknown
    probabilities: np.ndarray  # (N, C) or (N, F)

    @property
    def multilabel(self) -> bool:
        return self.truth.ndim == 2

    def questions(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Each yes/no question: its name, truth of 0 and 1, and score. Two classes make one question."""
        for index, name in enumerate(self.outputs):
            if self.multilabel:
                known = ~np.isnan(self.truth[:, index])
                yield name, self.truth[known, index].astype(int), self.probabilities[known, index]
            elif len(self.outputs) != 2 or index == 1:
                yield name, (self.truth == index).astype(int), self.probabilities[:, index]

    @cached_property
    def matrix(self) -> np.ndarray | None:
        """(C, C) counts, truth in rows; None for findings or too many classes."""
        if self.multilabel or len(self.outputs) > MOST_CLASSES:
            return None
        called = self.probabilities.argmax(axis=1) if len(self.truth) else self.truth
        return confusion_matrix(self.truth, called, len(self.outputs)).astype(int)


def judged(run: Run, board: Leaderboard) -> tuple[Judged, ...]:
    """The predictions of the board's best contestants, best first by its leading metric."""
    metric = board.primary
    outputs = tuple(str(name) for name in (run.cohorts.get(board.cohort) or {}).get("outputs") or ())
    found: list[Judged] = []
    for standing in board.metrics.get(metric, ()) if metric else ():
        if len(found) == MOST_CONTESTANTS:
            break
        one = _judged(standing.contestant, board.split, outputs)
        if one is not None:
            found.append(one)
    return tuple(found)


def _judged(contestant: Method, split: str, outputs: tuple[str, ...]) -> Judged | None:
    for cell in contestant.cells:
        table = cell.predictions
        if table is None or "split" not in table:
            continue
        rows = table[table["split"] == split]
        if outputs and all(f"p_{name}" in rows for name in outputs):
            arrays = _single(rows, outputs) if "truth" in rows else _several(rows, outputs)
            if arrays is not None and len(arrays[0]):
                return Judged(contestant, cell, outputs, *arrays)
    return None


def _single(rows: pd.DataFrame, outputs: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    rows = rows[rows["truth"].isin(outputs)]
    index = {name: place for place, name in enumerate(outputs)}
    truth = rows["truth"].map(index).to_numpy(dtype=np.int64)
    return truth, _probabilities(rows, outputs)


def _several(rows: pd.DataFrame, outputs: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    names = [f"truth_{name}" for name in outputs]
    if not all(name in rows for name in names):
        return None
    return rows[names].astype(float).to_numpy(), _probabilities(rows, outputs)


def _probabilities(rows: pd.DataFrame, outputs: tuple[str, ...]) -> np.ndarray:
    return np.clip(rows[[f"p_{name}" for name in outputs]].to_numpy(dtype=np.float64), 0.0, 1.0)


def roc_lines(one: Judged) -> list[dict[str, Any]]:
    """One curve per question that has both kinds of cases: {name, x, y, positive, negative}."""
    lines = []
    for name, truth, score in one.questions():
        positive, negative = int((truth == 1).sum()), int((truth == 0).sum())
        if positive and negative:
            x, y = roc_curve(truth, score, _ROC_POINTS)
            line = {"name": name, "x": _short(x), "y": _short(y), "positive": positive, "negative": negative}
            lines.append(line)
    return lines


def reliability(one: Judged) -> dict[str, Any] | None:
    """Stated probability against how often it came true, in bins that hold cases.

    Classes: the predicted class's probability. Findings: all known case-finding pairs pooled.
    """
    if one.multilabel:
        known = ~np.isnan(one.truth)
        bins = reliability_bins(one.truth[known].astype(int), one.probabilities[known])
    else:
        bins = reliability_bins(one.truth, one.probabilities)
    bins = bins[bins["cases"] > 0]
    if bins.empty:
        return None
    columns: dict[str, Any] = {name: _short(bins[name].to_numpy(dtype=float)) for name in ("stated", "observed")}
    return columns | {"cases": bins["cases"].astype(int).tolist()}


def decisions(one: Judged) -> list[dict[str, Any]]:
    """For findings: right and wrong calls at `DECISION`, one row per finding."""
    if not one.multilabel:
        return []
    rows = []
    for name, truth, score in one.questions():
        matrix = confusion_matrix(truth, (score > DECISION).astype(int), 2).astype(int)
        (tn, fp), (fn, tp) = matrix.tolist()
        rows.append({"name": name, "tp": tp, "fn": fn, "fp": fp, "tn": tn})
    return rows


def _short(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]
