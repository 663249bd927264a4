"""Reads `subsets.parquet` and `shapley.parquet` of a method's cells.

As in every table of the report, value and interval are averaged over seeds, and the spread of the seeds is reported
beside them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from radapt.reports.cell_scores import COUNTS, CellScore
from radapt.reports.leaderboard import LeaderboardRow, split_order, split_title
from radapt.reports.methods import Method
from radapt.reports.run_folder import CellRecord

SUBSET_METRICS = ("mcc", "balanced_accuracy", "auroc", "f1", "dice", "hd95_mm")
"""The metrics that are shown, the leading one of each aim first."""
MEMBER_METRICS = ("sensitivity", "dice", "hd95_mm")
"""The metrics that are shown for each class or structure, as `<metric>:<class>`."""

Subset = tuple[bool, ...]
"""Whether each sequence is in the subset."""


@dataclass(frozen=True, order=True)
class TestSet:
    """A test set, or the cases of one of its sites. `site` is empty for the whole test set."""

    order: tuple[int, str]
    split: str
    site: str

    @property
    def title(self) -> str:
        return self.site or split_title(self.split)


ScoreKey = tuple[TestSet, Subset, str]
"""Test set, subset, metric."""

ContributionKey = tuple[str, TestSet, str, str]
"""Quantity, test set, sequence, metric."""


@dataclass(frozen=True, eq=False)
class SubsetTables:
    """The scores and contributions of one method, one per cell.

    `contributions` hold Shapley values and costs of absence; an empty sequence stands for their sum or mean. `without`
    counts the cases that have no sequence of a subset, and is the same in every cell.
    """

    method: Method
    sequences: tuple[str, ...]
    test_sets: tuple[TestSet, ...]
    subsets: tuple[Subset, ...]
    scores: Mapping[ScoreKey, tuple[CellScore, ...]]
    contributions: Mapping[ContributionKey, tuple[CellScore, ...]]
    without: Mapping[tuple[TestSet, Subset], int]

    def score(self, test_set: TestSet, subset: Subset, metric: str) -> LeaderboardRow:
        return LeaderboardRow(self.method, self.scores.get((test_set, subset, metric), ()))

    def contribution(self, quantity: str, test_set: TestSet, sequence: str, metric: str) -> LeaderboardRow:
        return LeaderboardRow(self.method, self.contributions.get((quantity, test_set, sequence, metric), ()))

    def contributes(self, metric: str) -> bool:
        """Whether there are Shapley values and costs of absence in `metric`."""
        return any(own == metric for *_, own in self.contributions)

    @property
    def all_sequences(self) -> Subset:
        return (True,) * len(self.sequences)

    def mean_of_size(self, test_set: TestSet, size: int, metric: str) -> float:
        """The mean over the subsets of `size` sequences."""
        subsets = [subset for subset in self.subsets if sum(subset) == size]
        return float(np.mean([self.score(test_set, subset, metric).value for subset in subsets]))

    @cached_property
    def n_cells(self) -> int:
        return max((len(scores) for scores in self.scores.values()), default=0)


def subset_tables(method: Method) -> SubsetTables | None:
    """The tables of a method, or None if none of its cells has any."""
    cells = [cell for cell in method.cells if cell.subsets is not None and cell.shapley is not None]
    if not cells or cells[0].subsets is None:
        return None
    first = cells[0].subsets
    sequences = tuple(name.removeprefix("has_") for name in map(str, first) if name.startswith("has_"))
    scores: dict[ScoreKey, list[CellScore]] = {}
    contributions: dict[ContributionKey, list[CellScore]] = {}
    for cell in cells:
        _add_scores(cell, sequences, scores)
        _add_contributions(cell, contributions)
    return SubsetTables(
        method,
        sequences,
        tuple(sorted({test_set for test_set, _, _ in scores})),
        tuple(dict.fromkeys(subset for _, subset, _ in scores)),
        {key: tuple(of_cells) for key, of_cells in scores.items()},
        {key: tuple(of_cells) for key, of_cells in contributions.items()},
        _without(first, sequences),
    )


def _add_scores(cell: CellRecord, sequences: Sequence[str], scores: dict[ScoreKey, list[CellScore]]) -> None:
    table = cell.subsets
    if table is None or not set(table) >= {f"has_{name}" for name in sequences}:
        return
    member = table["metric"].str.startswith(tuple(f"{name}:" for name in MEMBER_METRICS))
    table = table[table["metric"].isin(SUBSET_METRICS) | member]
    rows = zip(_test_sets(table), _subsets(table, sequences), table["metric"], _scores(cell, table), strict=True)
    for test_set, subset, metric, score in rows:
        scores.setdefault((test_set, subset, str(metric)), []).append(score)


def _add_contributions(cell: CellRecord, contributions: dict[ContributionKey, list[CellScore]]) -> None:
    table = cell.shapley
    if table is None:
        return
    sequences = table["modality"].fillna("").astype(str)
    rows = zip(table["quantity"], _test_sets(table), sequences, table["metric"], _scores(cell, table), strict=True)
    for quantity, test_set, sequence, metric, score in rows:
        contributions.setdefault((str(quantity), test_set, sequence, str(metric)), []).append(score)


def _scores(cell: CellRecord, table: pd.DataFrame) -> list[CellScore]:
    which = [None if (number := cell.facts.get(name)) is None else int(number) for name in ("seed", "repeat")]
    numbers = table[["value", "ci_low", "ci_high"]].astype(float).to_numpy().tolist()
    # A contribution has no case counts but the number of cases with the sequence.
    counts = table.rename(columns={"n_with": "n_scored"}).reindex(columns=list(COUNTS)).fillna(0).astype(int)
    pairs = zip(numbers, counts.to_numpy().tolist(), strict=True)
    return [CellScore(cell.id, *which, *row, *count) for row, count in pairs]  # type: ignore[arg-type]


def _test_sets(table: pd.DataFrame) -> list[TestSet]:
    pairs = zip(table["split"].astype(str), table["site"].fillna("").astype(str), strict=True)
    return [TestSet(split_order(split), split, site) for split, site in pairs]


def _subsets(table: pd.DataFrame, sequences: Sequence[str]) -> list[Subset]:
    return list(table[[f"has_{name}" for name in sequences]].astype(bool).itertuples(index=False, name=None))


def _without(table: pd.DataFrame, sequences: Sequence[str]) -> dict[tuple[TestSet, Subset], int]:
    rows = table.drop_duplicates(["split", "site", "subset"])
    keys = zip(_test_sets(rows), _subsets(rows, sequences), strict=True)
    return {key: int(count) for key, count in zip(keys, rows["n_without"], strict=True)}
