"""Scores of a segmentation by structure and by case.

They belong to one cell (of several seeds, the first), like the curves of a classification.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from radapt.reports.cell_scores import CellScore
from radapt.reports.classification_curves import MOST_METHODS
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.methods import Method
from radapt.reports.run_folder import CellRecord

OUTCOMES = ("both", "missed", "false_alarm")
"""The outcomes that have a Dice."""

METRICS = ("dice", "nsd", "hd95_mm", "assd_mm", "volume_error_ml", "volume_error_abs_ml")
"""The columns of the table of structures."""

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
    def title(self) -> str:
        """The method's name, with the seed of the cell if the method has several."""
        return self.method.title_of(self.cell)

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
