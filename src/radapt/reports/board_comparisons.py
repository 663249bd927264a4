"""Every method of a test set against every other, paired by patient, from the stored predictions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd

from radapt.metrics.comparison import (
    Difference,
    Draws,
    LabelMapSets,
    PredictionSets,
    ResultSets,
    compare_many,
    holm,
)
from radapt.metrics.metric import metric_name
from radapt.reports.case_tables import are_of_same_cases, case_tables, class_or_finding_arrays
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.method_comparison import MethodComparison, concluded
from radapt.reports.methods import Method
from radapt.reports.metric_info import metric_of

_RESAMPLES = 2000  # where the cells do not say how many their intervals have
FEWER = 1999
"""Permutations for metrics that do not lead."""

Keys = tuple[str, str]


@dataclass(frozen=True)
class BoardComparisons:
    """The differences of a test set by metric and by the keys of two methods, in one order of the two."""

    board: Leaderboard
    methods: tuple[Method, ...]  # those compared, controls last
    differences: dict[str, dict[Keys, Difference]] = field(default_factory=dict)

    def difference(self, metric: str, first: Method, second: Method) -> Difference | None:
        """`first` minus `second`; None if they were not compared in this metric."""
        own = self.differences.get(metric, {})
        if (first.key, second.key) in own:
            return own[first.key, second.key]
        turned = own.get((second.key, first.key))
        return None if turned is None else turned.turned

    def among_methods(self, metric: str) -> list[MethodComparison]:
        """All pairs of methods that are no controls, p-values adjusted for all of them (Holm), by their ranks."""
        rows = {row.method.key: row for row in self.board.metrics.get(metric, ())}
        ranked = [row for row in rows.values() if any(row.method.key == method.key for method in self.methods)]
        return self.family(metric, list(combinations(ranked, 2)))

    def family(self, metric: str, pairs: Sequence[tuple[LeaderboardRow, LeaderboardRow]]) -> list[MethodComparison]:
        """The pairs that were compared, p-values adjusted for all of these (Holm)."""
        found = [(*pair, self.difference(metric, pair[0].method, pair[1].method)) for pair in pairs]
        known = [(first, second, difference) for first, second, difference in found if difference is not None]
        adjusted = holm([difference.p for *_, difference in known])
        return [
            concluded(first, second, metric, difference, float(p), len(known))
            for (first, second, difference), p in zip(known, adjusted, strict=True)
        ]


def compare_board(board: Leaderboard, against: Sequence[Method] = ()) -> BoardComparisons:
    """All pairs in the leading metric of a test set, and in the others each method of `against` with every other.

    Methods without stored predictions, or with those of other cases than the first, are left out.
    """
    primary = board.primary
    ranked, controls = (own.get(primary or "", ()) for own in (board.metrics, board.controls))
    rows = [row for row in (*ranked, *controls) if row.done]
    stored = {row.method.key: (row.method, tables) for row in rows if (tables := _tables(board, row))}
    kept: dict[str, tuple[Method, list[pd.DataFrame]]] = {}
    for key, (method, tables) in stored.items():
        first = next(iter(kept.values()))[1][0] if kept else tables[0]
        if _same_cases(board, [first, *tables]):
            kept[key] = method, tables
    methods = tuple(method for method, _ in kept.values())
    if primary is None or len(methods) < 2:
        return BoardComparisons(board, methods)
    numbers, start = {}, 0
    for key, (_, tables) in kept.items():
        numbers[key] = range(start, start + len(tables))
        start += len(tables)
    resamples = resamples_of(methods[0])
    all_pairs = list(combinations(kept, 2))
    chosen = {method.key for method in against}
    some = [pair for pair in all_pairs if chosen & set(pair)]
    others = [metric for metric in board.metrics if metric != primary]
    differences: dict[str, dict[Keys, Difference]] = {}
    for metrics, pairs, draws in (
        ([primary], all_pairs, Draws(resamples=resamples)),
        (others, some, Draws(resamples=resamples, permutations=FEWER)),
    ):
        if metrics and pairs:
            sets = sets_of(board, [table for _, tables in kept.values() for table in tables], metrics)
            numbered = [numbered_pair(numbers[a], numbers[b]) for a, b in pairs]
            found = compare_many(sets, numbered, metrics, draws, smaller_is_better=smaller_is_better)
            differences |= {metric: dict(zip(pairs, own, strict=True)) for metric, own in found.items()}
    return BoardComparisons(board, methods, differences)


def resamples_of(method: Method) -> int:
    """How many resamples the intervals of a method have, so that those of its differences have as many."""
    return int(method.cells[0].facts.get("resamples") or _RESAMPLES)


def smaller_is_better(metric: str) -> bool:
    return metric_of(metric_name(metric)).smaller_is_better


def numbered_pair(first: Sequence[int], second: Sequence[int]) -> tuple[list[int], list[int]]:
    """The i-th seed of one stands beside the i-th of the other; the shorter list starts again."""
    count = range(max(len(first), len(second)))
    return [first[i % len(first)] for i in count], [second[i % len(second)] for i in count]


def _tables(board: Leaderboard, row: LeaderboardRow) -> list[pd.DataFrame]:
    tables = case_tables(board, row)
    return tables if all(len(table) for table in tables) else []


def _same_cases(board: Leaderboard, tables: list[pd.DataFrame]) -> bool:
    if board.aim == "classification":
        return are_of_same_cases(tables)
    first, *others = (set(zip(table["case"], table["label"], strict=True)) for table in tables)
    return all(other == first for other in others)


def sets_of(board: Leaderboard, tables: list[pd.DataFrame], metrics: Sequence[str]) -> ResultSets:
    """The stored results of several methods for the same cases, as `case_tables` gives them."""
    families = {metric_name(metric) for metric in metrics}
    if board.aim == "segmentation":
        labels = list(dict.fromkeys(tables[0]["label"].astype(str)))
        return LabelMapSets([table.reset_index(drop=True) for table in tables], labels=labels, metrics=families)
    outputs = tuple(str(name) for name in board.facts.get("outputs") or ())
    order = tables[0].index
    arrays = [class_or_finding_arrays(table.loc[order], outputs) for table in tables]
    return PredictionSets(
        arrays[0][0], [np.asarray(probabilities) for _, probabilities, _ in arrays], list(tables[0]["patient"]),
        task=str(board.cohort_facts.get("task")), outputs=outputs, ordered=bool(board.cohort_facts.get("ordered")),
        decisions=[decided for *_, decided in arrays], metrics=families,
    )  # fmt: skip


def comparison_rows(comparisons: BoardComparisons) -> list[tuple[MethodComparison, int]]:
    """Every comparison among methods, with the number that its p-value is adjusted for."""
    return [
        (one, len(family))
        for metric in comparisons.differences
        for family in [comparisons.among_methods(metric)]
        for one in family
    ]
