"""Methods compared over several cohorts: ranks, Wilcoxon's signed-rank test of every pair, and Holm's adjustment.

Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 2006; pairs by Wilcoxon's test instead of
mean ranks, so that no pair depends on the other methods: Benavoli et al., Should we really use post-hoc tests based on
mean-ranks?, JMLR 2016.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from radapt.errors import DataError
from radapt.metrics.comparison.difference import Verdict
from radapt.metrics.comparison.family import holm
from radapt.metrics.comparison.ranks import mean_ranks

ALPHA = 0.05


@dataclass(frozen=True)
class CohortPair:
    """Method `first` minus `second`, by their columns: the mean difference over the cohorts, in how many of these each
    is better, and the p-value of the test, `holm` adjusted for all pairs."""

    first: int
    second: int
    difference: float
    n_first_better: int
    n_second_better: int
    p: float
    holm: float
    verdict: Verdict


@dataclass(frozen=True)
class OverCohorts:
    """`ranks` (K,) are means over the cohorts, 1 the best. `pairs` name the better rank first. `cliques` are the
    longest runs of methods in the order of their ranks without a clear difference between any two."""

    n_cohorts: int
    ranks: tuple[float, ...]
    pairs: tuple[CohortPair, ...]
    cliques: tuple[tuple[int, ...], ...]

    @property
    def order(self) -> list[int]:
        """The methods by mean rank, the best first."""
        return sorted(range(len(self.ranks)), key=self.ranks.__getitem__)

    @property
    def smallest_p(self) -> float:
        """The smallest adjusted p-value that the most extreme outcome in one pair would have, at most 1."""
        return min(1.0, len(self.pairs) * 2.0 ** (1 - self.n_cohorts))

    @property
    def cohorts_needed(self) -> int:
        """With fewer cohorts no difference of one pair can be clear, whatever the values: 6 for two methods."""
        return int(np.ceil(1 + np.log2(len(self.pairs) / ALPHA)))


def compare_over_cohorts(values: np.ndarray, *, smaller_is_better: bool = False) -> OverCohorts:
    """Every pair of the K methods from their values (N, K) on N independent cohorts.

    Raises DataError for fewer than two cohorts or methods, and for values that are not finite.
    """
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 2 or min(given.shape) < 2:
        raise DataError(f"Values of shape {given.shape}; expected at least two cohorts (rows) and methods (columns).")
    if not np.isfinite(given).all():
        raise DataError("A value is not finite; expected one of every method on every cohort.")
    ranks = np.mean([mean_ranks(row) for row in (given if smaller_is_better else -given)], axis=0)
    order = [int(index) for index in np.argsort(ranks, kind="stable")]
    named = list(combinations(order, 2))
    tested = [signed_rank_p(given[:, first] - given[:, second]) for first, second in named]
    adjusted = holm(tested)
    pairs = tuple(
        _pair(given, first, second, p, float(p_holm), smaller_is_better)
        for (first, second), p, p_holm in zip(named, tested, adjusted, strict=True)
    )
    return OverCohorts(len(given), tuple(map(float, ranks)), pairs, _cliques(order, pairs))


def signed_rank_p(differences: Sequence[float] | np.ndarray) -> float:
    """The exact two-sided p-value of Wilcoxon's signed-rank test: the share of the 2^N choices of signs that are as
    extreme, with the mean ranks of ties. Differences of 0 are left out (Wilcoxon 1945); 1 where none is left.

    At least 2^(1 − N): five cohorts or fewer cannot reach .05.
    """
    moved = np.asarray(differences, dtype=np.float64)
    moved = np.round(moved, 12)  # values that differ by rounding alone are ties
    moved = moved[moved != 0]
    doubled = np.rint(2 * mean_ranks(np.abs(moved))).astype(int)  # twice a mean rank is an integer
    total = int(doubled.sum())
    shares = np.zeros(total + 1)  # of the choices of signs, by twice the sum of the positive ranks
    shares[0] = 1.0
    for rank in doubled:
        shares[rank:] = (shares[rank:] + shares[: total + 1 - rank]) / 2
        shares[:rank] /= 2
    observed = int(doubled[moved > 0].sum())
    tail = min(observed, total - observed)
    return float(min(1.0, 2 * shares[: tail + 1].sum()))


def _pair(
    values: np.ndarray, first: int, second: int, p: float, adjusted: float, smaller_is_better: bool
) -> CohortPair:
    moved = np.round(values[:, first] - values[:, second], 12)
    higher, lower = int((moved > 0).sum()), int((moved < 0).sum())
    better, worse = (lower, higher) if smaller_is_better else (higher, lower)
    verdict: Verdict = "undecided"
    if adjusted < ALPHA:
        ranks = mean_ranks(np.abs(moved[moved != 0]))
        ahead = float((ranks * np.sign(moved[moved != 0])).sum()) * (-1 if smaller_is_better else 1)
        verdict = "better" if ahead > 0 else "worse"
    return CohortPair(first, second, float(moved.mean()), better, worse, p, adjusted, verdict)


def _cliques(order: Sequence[int], pairs: Sequence[CohortPair]) -> tuple[tuple[int, ...], ...]:
    clear = {frozenset((pair.first, pair.second)) for pair in pairs if pair.verdict != "undecided"}
    found: list[tuple[int, ...]] = []
    last = 0
    for start in range(len(order)):
        end = start + 1
        while end < len(order) and not any({one, order[end]} in clear for one in order[start:end]):
            end += 1
        if end - start > 1 and end > last:
            found.append(tuple(order[start:end]))
            last = end
    return tuple(found)
