"""What a classifier answers from every subset of its sequences, as the report shows it.

Reads `subsets.parquet` and `shapley.parquet` of a contestant's cells. Over seeds, number and interval are averaged
alike and the seeds' spread stands beside them, as in every table of the report (see `standings`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from radapt.reports.leaderboard import COUNTS, LeaderboardRow, Row, split_order
from radapt.reports.methods import Method
from radapt.reports.run_folder import Cell

SHARED = ("mcc", "balanced_accuracy", "auroc", "f1")
"""The numbers that are shared out among the sequences, the first one leading."""

Has = tuple[bool, ...]
"""Whether each sequence is in a subset."""


@dataclass(frozen=True, order=True)
class Place:
    """A test set, or one of its sites. `site` is empty for all of them."""

    order: tuple[int, str]
    split: str
    site: str

    @property
    def title(self) -> str:
        return self.site or self.split


@dataclass(frozen=True, eq=False)
class Tables:
    """All that a contestant's cells say, ready to be asked for.

    `scores` are keyed by place, subset and metric, `shares` by quantity, place, sequence (empty: the row of their sum
    or mean) and metric; each with one row per cell. `without` is the same in every cell.
    """

    contestant: Method
    sequences: tuple[str, ...]
    places: tuple[Place, ...]
    subsets: tuple[Has, ...]
    scores: Mapping[tuple[Place, Has, str], tuple[Row, ...]]
    shares: Mapping[tuple[str, Place, str, str], tuple[Row, ...]]
    without: Mapping[tuple[Place, Has], int]

    def score(self, place: Place, has: Has, metric: str) -> LeaderboardRow:
        return LeaderboardRow(self.contestant, self.scores.get((place, has, metric), ()))

    def share(self, quantity: str, place: Place, sequence: str, metric: str) -> LeaderboardRow:
        return LeaderboardRow(self.contestant, self.shares.get((quantity, place, sequence, metric), ()))

    @property
    def everything(self) -> Has:
        return (True,) * len(self.sequences)

    def of_size(self, place: Place, size: int, metric: str) -> float:
        """The plain mean over the subsets of so many sequences."""
        return float(np.mean([self.score(place, has, metric).value for has in self.subsets if sum(has) == size]))

    @cached_property
    def cells(self) -> int:
        """How many cells there are tables of."""
        return max((len(rows) for rows in self.scores.values()), default=0)


def tables_of(contestant: Method) -> Tables | None:
    """The tables of a contestant, None if none of its cells has any."""
    cells = [cell for cell in contestant.cells if cell.subsets is not None and cell.shapley is not None]
    if not cells or cells[0].subsets is None:
        return None
    first = cells[0].subsets
    sequences = tuple(name.removeprefix("has_") for name in map(str, first) if name.startswith("has_"))
    scores: dict[tuple[Place, Has, str], list[Row]] = {}
    shares: dict[tuple[str, Place, str, str], list[Row]] = {}
    for cell in cells:
        _gather_scores(cell, sequences, scores)
        _gather_shares(cell, shares)
    places = tuple(sorted({place for place, _, _ in scores}))
    without = {(place, has): rows for place, has, rows in _without(first, sequences)}
    return Tables(
        contestant,
        sequences,
        places,
        tuple(dict.fromkeys(has for _, has, _ in scores)),
        {key: tuple(rows) for key, rows in scores.items()},
        {key: tuple(rows) for key, rows in shares.items()},
        without,
    )


def _gather_scores(cell: Cell, sequences: Sequence[str], found: dict[tuple[Place, Has, str], list[Row]]) -> None:
    table = cell.subsets
    if table is None or not set(table) >= {f"has_{name}" for name in sequences}:
        return
    table = table[table["metric"].isin(SHARED) | table["metric"].str.startswith("sensitivity:")]
    has = table[[f"has_{name}" for name in sequences]].astype(bool).itertuples(index=False, name=None)
    for place, subset, metric, row in zip(_places(table), has, table["metric"], _rows(cell, table), strict=True):
        found.setdefault((place, subset, str(metric)), []).append(row)


def _gather_shares(cell: Cell, found: dict[tuple[str, Place, str, str], list[Row]]) -> None:
    table = cell.shapley
    if table is None:
        return
    names = table["modality"].fillna("").astype(str)
    rows = zip(table["quantity"], _places(table), names, table["metric"], _rows(cell, table), strict=True)
    for quantity, place, name, metric, row in rows:
        found.setdefault((str(quantity), place, name, str(metric)), []).append(row)


def _rows(cell: Cell, table: pd.DataFrame) -> list[Row]:
    which = [None if (number := cell.facts.get(name)) is None else int(number) for name in ("seed", "repeat")]
    numbers = table[["value", "ci_low", "ci_high"]].astype(float).to_numpy().tolist()
    # A share has no case counts of its own but how many cases have the sequence.
    counts = table.rename(columns={"n_with": "n_scored"}).reindex(columns=list(COUNTS)).fillna(0).astype(int)
    pairs = zip(numbers, counts.to_numpy().tolist(), strict=True)
    return [Row(cell.id, *which, *each, *count) for each, count in pairs]  # type: ignore[arg-type]


def _places(table: pd.DataFrame) -> list[Place]:
    pairs = zip(table["split"].astype(str), table["site"].fillna("").astype(str), strict=True)
    return [Place(split_order(split), split, site) for split, site in pairs]


def _without(table: pd.DataFrame, sequences: Sequence[str]) -> list[tuple[Place, Has, int]]:
    own = table.drop_duplicates(["split", "site", "subset"])
    has = own[[f"has_{name}" for name in sequences]].astype(bool).itertuples(index=False, name=None)
    return [
        (place, subset, int(count)) for place, subset, count in zip(_places(own), has, own["n_without"], strict=True)
    ]
