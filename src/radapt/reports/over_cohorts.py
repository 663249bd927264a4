"""The methods of one or more runs over all their cohorts: ranks and Wilcoxon's test of every pair."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np
import pandas as pd

from radapt.errors import UsageError, counted
from radapt.metrics.comparison import CohortPair, OverCohorts, compare_over_cohorts
from radapt.reports.formatting import defined, shown
from radapt.reports.leaderboard import AIMS, Leaderboard
from radapt.reports.metric_info import metric_of, ordered

OVER_COHORTS = "over_cohorts.parquet"


@dataclass(frozen=True)
class PairOverCohorts:
    """A row of `over_cohorts.parquet`. Method `a` has the better mean rank; `difference` is the mean of a − b, and
    `p_holm` is `p` adjusted for all `comparisons`."""

    aim: str
    metric: str
    a: str
    b: str
    rank_a: float
    rank_b: float
    difference: float
    n_cohorts: int
    a_better: int
    b_better: int
    p: float
    p_holm: float
    comparisons: int
    verdict: str


@dataclass(frozen=True)
class MetricOverCohorts:
    """The `methods` by name in one metric: their `values` (N, K) on the first test set of each of the `cohorts`.

    `left_out` lack a value on one of these, or were pretrained on it.
    """

    aim: str
    metric: str
    cohorts: tuple[str, ...]
    methods: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    left_out: tuple[str, ...]
    found: OverCohorts

    @property
    def title(self) -> str:
        return metric_of(self.metric).title

    @property
    def ranked(self) -> list[tuple[str, float, float]]:
        """Name, mean rank and mean value of every method, the best first."""
        means = np.mean(self.values, axis=0)
        return [(self.methods[one], self.found.ranks[one], float(means[one])) for one in self.found.order]

    @property
    def sentence(self) -> str:
        """The best mean rank, and which methods it is clearly better than."""
        best, cohorts = self.found.order[0], counted(len(self.cohorts), "cohort")
        own = [pair for pair in self.found.pairs if pair.first == best]
        beaten = [self.methods[pair.second] for pair in own if pair.verdict == "better"]
        first = (
            f"Over {cohorts}, {self.methods[best]} has the best mean rank in {self.title}: "
            f"{shown(self.found.ranks[best], 1)} of {len(self.methods)}."
        )
        if self.too_few:
            return f"{first} {self.too_few}"
        if not beaten:
            return f"{first} It is not clearly better than any other method (Wilcoxon's test, p adjusted by Holm)."
        than = "every other method" if len(beaten) == len(own) else ", ".join(beaten)
        rest = "" if len(beaten) == len(own) else " Against the others no difference is clear."
        return f"{first} It is better than {than} (Wilcoxon's test, p adjusted by Holm).{rest}"

    @property
    def too_few(self) -> str:
        """Why no difference can be clear with so few cohorts; '' where one can."""
        needed = self.found.cohorts_needed
        if len(self.cohorts) >= needed:
            return ""
        return (
            f"{counted(len(self.cohorts), 'cohort')} cannot show that one method is better than another: with "
            f"{counted(len(self.found.pairs), 'comparison')} Wilcoxon's test needs at least {needed} cohorts for an "
            "adjusted p below 0.05."
        )

    @property
    def pairs(self) -> list[PairOverCohorts]:
        """Every pair with the names of its methods."""
        return [self._named(pair) for pair in self.found.pairs]

    def _named(self, pair: CohortPair) -> PairOverCohorts:
        first, second, ranks = pair.first, pair.second, self.found.ranks
        return PairOverCohorts(
            self.aim, self.metric, self.methods[first], self.methods[second], ranks[first], ranks[second],
            pair.difference, len(self.cohorts), pair.n_first_better, pair.n_second_better, pair.p, pair.holm,
            len(self.found.pairs), pair.verdict,
        )  # fmt: skip


def over_cohorts(boards: Sequence[Leaderboard]) -> tuple[MetricOverCohorts, ...]:
    """Every metric that at least two methods have on at least two cohorts, by aim, in the report's order.

    A cohort counts once, by its first test set, as its test sets share what was trained. Controls and results of other
    tools are left out, and so are metrics where the value nearest to 0 is the best.
    """
    found = []
    for aim in AIMS:
        first: dict[str, Leaderboard] = {}
        for board in boards:
            if board.aim == aim and not board.is_selection_split and not board.is_part:
                first.setdefault(board.cohort, board)
        for metric in ordered({metric for board in first.values() for metric in board.metrics}):
            if not metric_of(metric).zero_is_best and (one := _in_metric(aim, metric, list(first.values()))):
                found.append(one)
    return tuple(found)


def refuse_a_cohort_twice(boards: Iterable[Sequence[Leaderboard]]) -> None:
    """Raise UsageError where two runs have a cohort of the same name, which would count twice."""
    seen: set[str] = set()
    for own in boards:
        names = {board.cohort for board in own}
        if twice := sorted(names & seen):
            raise UsageError(
                f"The cohort {twice[0]!r} is in two of the run folders; expected each in one, as a cohort counts once."
            )
        seen |= names


def pairs_table(views: Iterable[MetricOverCohorts]) -> pd.DataFrame:
    """The table `over_cohorts.parquet`."""
    columns = [column.name for column in fields(PairOverCohorts)]
    return pd.DataFrame([astuple(pair) for view in views for pair in view.pairs], columns=columns)


def _in_metric(aim: str, metric: str, boards: Sequence[Leaderboard]) -> MetricOverCohorts | None:
    by_cohort = {board.cohort: _values(board, metric) for board in boards}
    by_cohort = {cohort: values for cohort, values in by_cohort.items() if len(values) > 1}
    names = list(dict.fromkeys(name for values in by_cohort.values() for name in values))
    complete = [name for name in names if all(name in values for values in by_cohort.values())]
    if len(by_cohort) < 2 or len(complete) < 2:
        return None
    values = tuple(tuple(own[name] for name in complete) for own in by_cohort.values())
    found = compare_over_cohorts(np.array(values), smaller_is_better=metric_of(metric).smaller_is_better)
    rest = tuple(name for name in names if name not in complete)
    return MetricOverCohorts(aim, metric, tuple(by_cohort), tuple(complete), values, rest, found)


def _values(board: Leaderboard, metric: str) -> dict[str, float]:
    rows = board.metrics.get(metric, ())
    return {row.method.phrase: row.value for row in rows if defined(row.value) and not row.method.contaminated}
