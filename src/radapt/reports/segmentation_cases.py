"""Scores of a segmentation by structure and by case.

They belong to one cell (of several seeds, the first), like the curves of a classification.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from radapt.reports.cell_scores import CellScore
from radapt.reports.classification_curves import MOST_METHODS
from radapt.reports.formatting import defined
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.methods import Method
from radapt.reports.run_folder import CellRecord

OUTCOMES = ("both", "missed", "false_alarm")
"""The outcomes that have a Dice, in the order that the page's script expects."""

METRICS = ("dice", "nsd", "hd95_mm", "assd_mm", "volume_error_ml", "volume_error_abs_ml")
"""The columns of the table of structures."""

MOST_POINTS = 300
"""Points per structure and model; of more cases, the worst fill one half and evenly spaced others the second half."""

_REQUIRED = {"case", "split", "label", "outcome", "dice", "hd95_mm", "volume_truth_ml", "volume_predicted_ml"}


@dataclass(frozen=True)
class StructureScores:
    """The scores of one structure of one model on one test set, or their mean (`name` empty).

    `counts` are cases by outcome: both, missed, false_alarm, empty, unlabelled.
    """

    name: str
    numbers: Mapping[str, CellScore | None]
    counts: Mapping[str, int]

    @property
    def present(self) -> int:
        """The number of cases with the structure."""
        return self.counts["both"] + self.counts["missed"]

    @property
    def absent(self) -> int:
        """The number of cases without the structure."""
        return self.counts["false_alarm"] + self.counts["empty"]


@dataclass(frozen=True, eq=False)
class SegmentationPredictions:
    """One cell's scores per case and structure on one test set: `table` holds its rows of `predictions.parquet`."""

    method: Method
    cell: CellRecord
    board: Leaderboard
    labels: tuple[str, ...]
    table: pd.DataFrame

    @property
    def structures(self) -> list[StructureScores]:
        """Every structure, then their mean if there are several."""
        counts = self.table.groupby(["label", "outcome"]).size().to_dict()
        outcomes = (*OUTCOMES, "empty", "unlabelled")
        structures = [
            StructureScores(
                label,
                {name: self.score(self.board.by_class.get(name, {}).get(label, ())) for name in METRICS},
                {outcome: int(counts.get((label, outcome), 0)) for outcome in outcomes},
            )
            for label in self.labels
        ]
        if len(structures) < 2:
            return structures
        sums = {outcome: sum(structure.counts[outcome] for structure in structures) for outcome in outcomes}
        overall = {name: self.score(self.board.metrics.get(name, ())) for name in METRICS}
        return [*structures, StructureScores("", overall, sums)]

    def score(self, rows: Iterable[LeaderboardRow]) -> CellScore | None:
        """This cell's score among the `rows` of a metric."""
        scores = (score for row in rows for score in row.scores)
        return next((score for score in scores if score.cell == self.cell.id), None)


def best_segmentations(board: Leaderboard) -> tuple[SegmentationPredictions, ...]:
    """The cases of the best methods of a leaderboard, best first by its leading metric."""
    best: list[SegmentationPredictions] = []
    for row in board.metrics.get(board.primary or "", ()):
        if len(best) == MOST_METHODS:
            break
        predictions = _predictions(row.method, board)
        if predictions is not None:
            best.append(predictions)
    return tuple(best)


def _predictions(method: Method, board: Leaderboard) -> SegmentationPredictions | None:
    for cell in method.cells:
        table = cell.predictions
        if table is None or not set(table) >= _REQUIRED:
            continue
        rows = table[table["split"] == board.split]
        if len(rows):
            return SegmentationPredictions(method, cell, board, tuple(dict.fromkeys(rows["label"].astype(str))), rows)
    return None


def strip_plots(sets: Mapping[str, tuple[SegmentationPredictions, ...]]) -> list[dict[str, Any]]:
    """Every case as a point, per test set: {split, labels, cases, models: [{name, tag, rows, cut}]}.

    `rows` are, per label, {points, mean}; a point is [case, Dice, HD95, true ml, predicted ml, outcome].
    """
    plots = []
    for split, models in sets.items():
        if models:
            labels = list(dict.fromkeys(label for model in models for label in model.labels))
            cases = list(dict.fromkeys(str(case) for model in models for case in model.table["case"]))
            index_of = {case: index for index, case in enumerate(cases)}
            strips = [_strip(model, labels, index_of) for model in models]
            plots.append({"split": split, "labels": labels, "cases": cases, "models": strips})
    return plots


def _strip(model: SegmentationPredictions, labels: list[str], index_of: Mapping[str, int]) -> dict[str, Any]:
    scored = model.table[model.table["outcome"].isin(OUTCOMES)]
    rows, cut = [], 0
    for label in labels:
        cases = scored[scored["label"].astype(str) == label].sort_values(["dice", "case"], kind="stable")
        plotted = cases.iloc[_plotted(len(cases))]
        cut += len(cases) - len(plotted)
        mean = model.score(model.board.by_class.get("dice", {}).get(label, ()))
        ends = () if mean is None else (mean.value, mean.ci_low, mean.ci_high)
        rows.append({"points": _points(plotted, index_of), "mean": [round(e, 4) if defined(e) else None for e in ends]})
    seed = model.cell.facts.get("seed")
    tag = f"seed {seed}" if len(model.method.cells) > 1 and seed is not None else ""
    return {"name": model.method.name, "tag": tag, "rows": rows, "cut": cut}


def _points(rows: pd.DataFrame, index_of: Mapping[str, int]) -> list[list[Any]]:
    columns = ["dice", "hd95_mm", "volume_truth_ml", "volume_predicted_ml"]
    numbers = rows[columns].to_numpy(dtype=np.float64)
    return [
        [
            index_of[str(case)],
            *(round(value, 4) if value == value else None for value in values),
            OUTCOMES.index(outcome),
        ]
        for case, outcome, values in zip(rows["case"], rows["outcome"], numbers.tolist(), strict=True)
    ]


def _plotted(count: int) -> np.ndarray:
    """Indices of the points to draw, worst first."""
    if count <= MOST_POINTS:
        return np.arange(count)
    worst = MOST_POINTS // 2
    return np.concatenate([np.arange(worst), np.linspace(worst, count - 1, MOST_POINTS - worst).round().astype(int)])
