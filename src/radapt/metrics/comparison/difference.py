"""The difference of two methods on the same cases: interval and test, by patient."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import stdtrit  # scipy.stats takes seconds to import

from radapt.errors import DataError, suggest
from radapt.metrics.bootstrap import CHUNK, LEVEL, multiplicities
from radapt.metrics.comparison.intervals import INTERVALS, IntervalMethod, interval_of
from radapt.metrics.comparison.pairs import Pair, Values
from radapt.metrics.score import RESAMPLES

PERMUTATIONS = 9999
_POWER = 0.8
_ALPHA = 0.05
_FEWEST = 6  # patients: the smallest p-value of five is 2 / 2^5, and their results span 95 % intervals too rarely
_EQUAL = 1e-10  # of the values: what differs by rounding is equal, as swapping patients adds up in another order

Verdict = Literal["better", "worse", "equivalent", "non-inferior", "undecided"]


@dataclass(frozen=True)
class Draws:
    """How the bootstrap and the permutation test draw, and the `margin` of non-inferiority ≥ 0, None: not asked for.

    `interval` is the kind of interval. Raises DataError for another, fewer than 1 resample or permutation, and a
    margin that is not a finite number ≥ 0.
    """

    seed: int = 0
    resamples: int = RESAMPLES
    permutations: int = PERMUTATIONS
    margin: float | None = None
    interval: IntervalMethod = "expanded"

    def __post_init__(self) -> None:
        if self.resamples < 1 or self.permutations < 1:
            raise DataError(
                f"{self.resamples} resamples and {self.permutations} permutations; expected at least 1 of each."
            )
        if self.margin is not None and not 0 <= self.margin < np.inf:
            raise DataError(f"A margin of {self.margin:g}; expected a finite number, 0 or more.")
        if self.interval not in INTERVALS:
            raise DataError(f"There is no interval {self.interval!r}. {suggest(str(self.interval), INTERVALS)}")


@dataclass(frozen=True)
class Difference:
    """The first method minus the second.

    The interval of 95 % is a bootstrap by patient, of the kind `interval`. `p` is two-sided, of the test in which the
    patients exchange the results of the two methods; with `exact` every exchange was counted. `detectable` is the
    difference that so many patients show with a power of 80 % at p < 0.05, from the spread of this one. Interval and
    `detectable` are NaN, and `p` 1, with fewer than two patients; all are NaN if the metric is undefined. The interval
    alone is NaN where its kind has none (see `bca_interval`); nothing is better or worse then.
    """

    first: float
    second: float
    difference: float
    ci_low: float
    ci_high: float
    p: float
    n_patients: int
    n_cases: int
    detectable: float
    exact: bool
    smaller_is_better: bool = False
    interval: IntervalMethod = "expanded"

    @property
    def turned(self) -> "Difference":
        """The second method minus the first."""
        return replace(
            self, first=self.second, second=self.first, difference=-self.difference, ci_low=-self.ci_high,
            ci_high=-self.ci_low,
        )  # fmt: skip

    def verdict(self, margin: float | None = None) -> Verdict:
        """What interval and test say of the first method.

        `better` or `worse` if the interval excludes 0 and p, where there is one, is below 0.05. Else, with a `margin`
        ≥ 0, `non-inferior` if the interval excludes being worse by the margin or more, and `equivalent` if it excludes
        being better by it too; else, and with fewer than six patients, `undecided`.
        """
        if self.n_patients < _FEWEST:
            return "undecided"
        shown = not self.p >= _ALPHA  # NaN where there is no test
        low, high = (-self.ci_high, -self.ci_low) if self.smaller_is_better else (self.ci_low, self.ci_high)
        if low > 0 and shown:
            return "better"
        if high < 0 and shown:
            return "worse"
        if margin is not None and low > -margin:
            return "equivalent" if high < margin else "non-inferior"
        return "undecided"


def compare_pairs(pairs: Sequence[Pair], draws: Draws = Draws(), *, smaller_is_better: bool = False) -> Difference:
    """The difference of two methods, from one pair of sets, or from several (seeds) whose values are averaged.

    All pairs are of the same patients. A draw of patients and an exchange are the same for all pairs. If all exchanges
    of the patients are no more than the permutations of `draws`, each is counted once. The same seed gives the same
    result, and exchanging the methods changes signs only.

    Raises DataError without a pair, and for pairs of different patients.
    """
    if not pairs or len({pair.units for pair in pairs}) > 1:
        raise DataError(f"{len(pairs)} pairs of sets to compare; expected at least one, all of the same patients.")
    rng, permutations = np.random.default_rng(draws.seed), draws.permutations
    units, cases = pairs[0].units, pairs[0].cases

    def means(weights: np.ndarray, weights_second: np.ndarray, ask: Callable[[Pair], Values]) -> np.ndarray:
        return np.mean([[ask(pair)(weights), ask(pair)(weights_second)] for pair in pairs], axis=0)

    def plain(weights: np.ndarray) -> np.ndarray:
        nothing = np.zeros_like(weights)
        sides = np.concatenate([weights, nothing]), np.concatenate([nothing, weights])
        return means(*sides, lambda pair: pair.values)

    def exchanged(swapped: np.ndarray) -> np.ndarray:
        kept = 1 - swapped
        sides = np.concatenate([kept, swapped]), np.concatenate([swapped, kept])
        first, second = means(*sides, lambda pair: pair.exchanged)
        return np.asarray(first - second)

    chunk = max(2, CHUNK // max(1, 2 * cases))
    first, second = (float(side[0]) for side in plain(np.ones((units, 1))))
    difference = first - second
    if units < 2 or np.isnan(difference):
        nan, p = float("nan"), float("nan") if np.isnan(difference) else 1.0
        return Difference(
            first, second, difference, nan, nan, p, units, cases, nan, True, smaller_is_better, draws.interval
        )

    def subtracted(weights: np.ndarray) -> np.ndarray:
        sides = plain(weights)
        return np.asarray(sides[0] - sides[1])

    drawn = _in_chunks(subtracted, multiplicities(rng, units, draws.resamples).T, chunk)
    low, high = interval_of(
        draws.interval, difference, drawn, units, lambda: _in_chunks(subtracted, without_each(units), chunk)
    )
    exact = counts_every_exchange(units, permutations)
    observed = float(exchanged(np.zeros((units, 1)))[0])
    swaps = every_exchange(units) if exact else rng.integers(0, 2, size=(units, permutations), dtype=np.int8)
    tested = _in_chunks(exchanged, swaps, chunk)
    p = p_value(as_far(observed, tested, max(abs(first), abs(second))), len(tested), exact)
    return Difference(
        first, second, difference, low, high, p, units, cases, detectable(drawn, units), exact, smaller_is_better,
        draws.interval,
    )  # fmt: skip


def _in_chunks(ask: Callable[[np.ndarray], np.ndarray], columns: np.ndarray, chunk: int) -> np.ndarray:
    starts = range(0, columns.shape[1], chunk)
    parts = [ask(np.ascontiguousarray(columns[:, at : at + chunk], dtype=np.float64)) for at in starts]
    return np.concatenate(parts)


def without_each(units: int) -> np.ndarray:
    """(U, U) weights of the jackknife: each column is without one patient."""
    return 1 - np.eye(units, dtype=np.int8)


def counts_every_exchange(units: int, permutations: int) -> bool:
    """Whether all exchanges of so many patients are no more than the permutations that were asked for."""
    return 2**units <= permutations + 1 if units < 60 else False


def every_exchange(units: int) -> np.ndarray:
    """(U, 2^U) every choice of the patients that change places."""
    return (np.arange(2**units)[None] >> np.arange(units)[:, None]) & 1


def as_far(observed: float, tested: np.ndarray, size: float) -> int:
    """How many exchanges move the methods, whose values are of that `size`, as far apart as observed; undefined ones
    count as such."""
    slack = _EQUAL * max(size, abs(observed))
    return int((~(np.abs(tested) < abs(observed) - slack)).sum())


def p_value(count: int, permutations: int, exact: bool) -> float:
    """From the number of exchanges that are `as_far`, of all or of a sample."""
    # What was observed is one of the exchanges: of a sample it has to be counted (Phipson and Smyth 2010).
    return count / permutations if exact else (count + 1) / (permutations + 1)


def detectable(drawn: np.ndarray, units: int) -> float:
    """The difference that so many patients show with a power of 80 %, from the spread of its replicates (R,)."""
    if not np.isfinite(drawn).any():
        return float("nan")
    error = float(np.nanstd(drawn)) * np.sqrt(units / (units - 1))
    return error * float(stdtrit(units - 1, (1 + LEVEL) / 2) + stdtrit(units - 1, _POWER))
