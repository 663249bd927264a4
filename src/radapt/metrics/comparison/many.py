"""Differences of many pairs of methods in many metrics, from one set of draws."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from radapt.errors import DataError
from radapt.metrics.bootstrap import CHUNK, multiplicities
from radapt.metrics.comparison.difference import (
    Difference,
    Draws,
    as_far,
    counts_every_exchange,
    detectable,
    every_exchange,
    p_value,
    without_each,
)
from radapt.metrics.comparison.intervals import IntervalMethod, interval_of
from radapt.metrics.comparison.sets import ResultSets

NumberedPair = tuple[Sequence[int], Sequence[int]]
"""The numbers of the sets of the first method and of the second, as many (seeds): their values are averaged."""


def compare_many(
    sets: ResultSets,
    pairs: Sequence[NumberedPair],
    metrics: Collection[str],
    draws: Draws = Draws(),
    *,
    smaller_is_better: Callable[[str], bool] = lambda metric: False,
) -> dict[str, list[Difference]]:
    """The difference of every pair in every metric of the sets; of each the same as `compare_pairs` gives for it alone.

    Metrics that an exchange of patients is slow for (see `ResultSets.exchanged`) have `p` NaN. Raises DataError for
    methods with other numbers of sets.
    """
    for first, second in pairs:
        if len(first) != len(second) or not len(first):
            raise DataError(f"{len(first)} and {len(second)} sets to compare; expected as many of each, at least one.")
    rng, units = np.random.default_rng(draws.seed), sets.units
    values = _numbers(sets, np.ones((units, 1)), metrics)
    metrics = [metric for metric in metrics if metric in values]
    if units < 2:
        drawn = left_out = {metric: np.full((sets.count, 1), np.nan) for metric in metrics}
        tested = _Tested({}, 0, True)
    else:
        drawn = _numbers(sets, multiplicities(rng, units, draws.resamples).T, metrics)
        left_out = _numbers(sets, without_each(units), metrics) if draws.interval == "bca" else drawn
        tested = _tested(sets, pairs, metrics, values, draws, rng)
    found: dict[str, list[Difference]] = {}
    for metric in metrics:
        found[metric] = [
            _difference(sets, pair, metric, (values[metric], drawn[metric], left_out[metric]),
                        tested.p(metric, number), tested.exact, smaller_is_better(metric), draws.interval)
            for number, pair in enumerate(pairs)
        ]  # fmt: skip
    return found


def _difference(
    sets: ResultSets, pair: NumberedPair, metric: str, numbers: tuple[np.ndarray, np.ndarray, np.ndarray], p: float,
    exact: bool, smaller_is_better: bool, interval: IntervalMethod,
) -> Difference:  # fmt: skip
    """From the values (K, 1) of every set, their replicates (K, R), and the values without each patient (K, U)."""
    values, drawn, left_out = numbers
    first, second = (float(values[list(side), 0].mean()) for side in pair)
    difference, units, cases = first - second, sets.units, sets.cases(metric, pair[0][0], pair[1][0])
    nan = float("nan")
    if units < 2 or np.isnan(difference):
        p = nan if np.isnan(difference) else 1.0
        return Difference(first, second, difference, nan, nan, p, units, cases, nan, True, smaller_is_better, interval)
    moved = _moved(pair, drawn)
    low, high = interval_of(interval, difference, moved, units, lambda: _moved(pair, left_out))
    return Difference(
        first, second, difference, low, high, p, units, cases, detectable(moved, units), exact, smaller_is_better,
        interval,
    )  # fmt: skip


def _moved(pair: NumberedPair, numbers: np.ndarray) -> np.ndarray:
    """The first method minus the second, under each column of `numbers` (K, R)."""
    return np.asarray(numbers[list(pair[0])].mean(axis=0) - numbers[list(pair[1])].mean(axis=0))


def _numbers(sets: ResultSets, weights: np.ndarray, metrics: Collection[str]) -> dict[str, np.ndarray]:
    """(K, R) of every metric under each column of `weights` (U, R)."""
    found: dict[str, list[np.ndarray]] = {}
    chunk = max(2, CHUNK // max(1, len(weights)))
    for number in range(sets.count):
        parts = [sets.numbers(number, columns) for columns in _chunks(weights, chunk)]
        for metric in metrics:
            if metric in parts[0]:
                found.setdefault(metric, []).append(np.concatenate([part[metric] for part in parts]))
    return {metric: np.stack(rows) for metric, rows in found.items() if len(rows) == sets.count}


@dataclass(frozen=True)
class _Tested:
    """How many of `permutations` exchanges are as far apart as observed, for every pair (len(pairs),) of a metric."""

    counts: dict[str, np.ndarray]
    permutations: int
    exact: bool

    def p(self, metric: str, pair: int) -> float:
        if metric not in self.counts:
            return float("nan")
        return p_value(int(self.counts[metric][pair]), self.permutations, self.exact)


def _tested(
    sets: ResultSets,
    pairs: Sequence[NumberedPair],
    metrics: Sequence[str],
    values: dict[str, np.ndarray],
    draws: Draws,
    rng: np.random.Generator,
) -> _Tested:
    units, exact = sets.units, counts_every_exchange(sets.units, draws.permutations)
    swaps = every_exchange(units) if exact else rng.integers(0, 2, size=(units, draws.permutations), dtype=np.int8)
    counts: dict[str, np.ndarray] = {}
    for columns in _chunks(swaps, max(2, CHUNK // units)):
        exchange = sets.exchanged(columns)
        for number, pair in enumerate(pairs):
            each = [exchange.difference(first, second) for first, second in zip(*pair, strict=True)]
            for metric in metrics:
                if metric in each[0]:
                    mean = np.mean([exchanged[metric] for exchanged in each], axis=0)
                    one, other = (float(values[metric][list(side), 0].mean()) for side in pair)
                    counted = counts.setdefault(metric, np.zeros(len(pairs), dtype=np.int64))
                    counted[number] += as_far(one - other, mean, max(abs(one), abs(other)))
    return _Tested(counts, swaps.shape[1], exact)


def _chunks(columns: np.ndarray, chunk: int) -> list[np.ndarray]:
    starts = range(0, columns.shape[1], chunk)
    return [np.ascontiguousarray(columns[:, at : at + chunk], dtype=np.float64) for at in starts]
