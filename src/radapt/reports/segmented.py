"""What a segmentation looks like beyond one number: every structure in a table, every case as a point.

Each is that of one cell (of several seeds: the first), like the curves of a classification.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from radapt.reports.curves import MOST_CONTESTANTS
from radapt.reports.leaderboard import Leaderboard, Row
from radapt.reports.methods import Method
from radapt.reports.numbers import defined
from radapt.reports.run_folder import Cell

OUTCOMES = ("both", "missed", "false_alarm")
"""Those that have a Dice, in the order the page's script knows them by."""

METRICS = ("dice", "nsd", "hd95_mm", "assd_mm", "volume_error_ml", "volume_error_abs_ml")
"""The columns of the table of structures."""

MOST_POINTS = 300
"""Points per structure and model; of more cases the worst half of these are kept, and every so many of the others."""

_NEEDED = {"case", "split", "label", "outcome", "dice", "hd95_mm", "volume_truth_ml", "volume_predicted_ml"}


@dataclass(frozen=True)
class Structure:
    """One structure of one model on one test set, or the mean over them (`name` empty).

    `counts` are cases by outcome: both, missed, false_alarm, empty, unlabelled.
    """

    name: str
    numbers: Mapping[str, Row | None]
    counts: Mapping[str, int]

    @property
    def present(self) -> int:
        """Cases with the structure."""
        return self.counts["both"] + self.counts["missed"]

    @property
    def absent(self) -> int:
        """Cases without it."""
        return self.counts["false_alarm"] + self.counts["empty"]


@dataclass(frozen=True, eq=False)
class Segmented:
    """One cell's numbers per case and structure on one test set: `table` is its part of `predictions.parquet`."""

    contestant: Method
    cell: Cell
    board: Leaderboard
    labels: tuple[str, ...]
    table: pd.DataFrame

    @property
    def structures(self) -> list[Structure]:
        """Every structure, then their mean where there are several."""
        counts = self.table.groupby(["label", "outcome"]).size().to_dict()
        words = (*OUTCOMES, "empty", "unlabelled")
        each = [
            Structure(
                label,
                {name: self._row(self.board.by_class.get(name, {}).get(label, ())) for name in METRICS},
                {word: int(counts.get((label, word), 0)) for word in words},
            )
            for label in self.labels
        ]
        if len(each) < 2:
            return each
        sums = {word: sum(one.counts[word] for one in each) for word in words}
        overall = {name: self._row(self.board.metrics.get(name, ())) for name in METRICS}
        return [*each, Structure("", overall, sums)]

    def _row(self, standings: Iterable[Any]) -> Row | None:
        rows = (row for standing in standings for row in standing.rows)
        return next((row for row in rows if row.cell == self.cell.id), None)


def segmented(board: Leaderboard) -> tuple[Segmented, ...]:
    """The cases of the board's best contestants, best first by its leading metric."""
    found: list[Segmented] = []
    for standing in board.metrics.get(board.primary or "", ()):
        if len(found) == MOST_CONTESTANTS:
            break
        one = _segmented(standing.contestant, board)
        if one is not None:
            found.append(one)
    return tuple(found)


def _segmented(contestant: Method, board: Leaderboard) -> Segmented | None:
    for cell in contestant.cells:
        table = cell.predictions
        if table is None or not set(table) >= _NEEDED:
            continue
        rows = table[table["split"] == board.split]
        if len(rows):
            return Segmented(contestant, cell, board, tuple(dict.fromkeys(rows["label"].astype(str))), rows)
    return None


def strips(sets: Mapping[str, tuple[Segmented, ...]]) -> list[dict[str, Any]]:
    """Every case as a point, per test set: {split, labels, cases, models: [{name, tag, rows, cut}]}.

    `rows` are, per label, {points, mean}; a point is [case, Dice, HD95, true ml, predicted ml, outcome].
    """
    found = []
    for split, models in sets.items():
        if models:
            labels = list(dict.fromkeys(label for one in models for label in one.labels))
            cases = list(dict.fromkeys(str(case) for one in models for case in one.table["case"]))
            place = {case: index for index, case in enumerate(cases)}
            drawn = [_strip(one, labels, place) for one in models]
            found.append({"split": split, "labels": labels, "cases": cases, "models": drawn})
    return found


def _strip(one: Segmented, labels: list[str], place: Mapping[str, int]) -> dict[str, Any]:
    scored = one.table[one.table["outcome"].isin(OUTCOMES)]
    rows, cut = [], 0
    for label in labels:
        own = scored[scored["label"].astype(str) == label].sort_values(["dice", "case"], kind="stable")
        kept = own.iloc[_kept(len(own))]
        cut += len(own) - len(kept)
        mean = one._row(one.board.by_class.get("dice", {}).get(label, ()))
        ends = () if mean is None else (mean.value, mean.ci_low, mean.ci_high)
        rows.append({"points": _points(kept, place), "mean": [round(e, 4) if defined(e) else None for e in ends]})
    seed = one.cell.facts.get("seed")
    tag = f"seed {seed}" if len(one.contestant.cells) > 1 and seed is not None else ""
    return {"name": one.contestant.name, "tag": tag, "rows": rows, "cut": cut}


def _points(rows: pd.DataFrame, place: Mapping[str, int]) -> list[list[Any]]:
    columns = ["dice", "hd95_mm", "volume_truth_ml", "volume_predicted_ml"]
    numbers = rows[columns].to_numpy(dtype=np.float64)
    return [
        [place[str(case)], *(round(value, 4) if value == value else None for value in values), OUTCOMES.index(outcome)]
        for case, outcome, values in zip(rows["case"], rows["outcome"], numbers.tolist(), strict=True)
    ]


def _kept(count: int) -> np.ndarray:
    """Indices, the worst first, of the points to draw."""
    if count <= MOST_POINTS:
        return np.arange(count)
    worst = MOST_POINTS // 2
    return np.concatenate([np.arange(worst), np.linspace(worst, count - 1, MOST_POINTS - worst).round().astype(int)])
