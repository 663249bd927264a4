"""The small dot-and-whisker bars inside a leaderboard: one axis for all rows of a table."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from radapt.reports.leaderboard import LeaderboardRow
from radapt.reports.numbers import Metric, defined, metric_of, shown

_LEAST_SPAN = 0.2
_STEPS = (0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0)
_MOST_TICKS = 6


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`; `ticks` are (place in percent, label); `chance` is a place in percent or None."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    chance: float | None

    def place(self, value: float) -> float:
        """Percent of the axis, cut off at its ends."""
        return round(100 * min(max((value - self.low) / (self.high - self.low), 0.0), 1.0), 2)


def axis_for(metric: str, standings: Iterable[LeaderboardRow]) -> Axis | None:
    """An axis that holds every value and interval, rounded outwards; None if nothing is defined.

    Give the standings of all test sets of a cohort, so that its tables can be compared by eye.
    """
    return axis_of(metric_of(metric), (n for s in standings for n in (s.value, s.ci_low, s.ci_high)))


def axis_of(facts: Metric, values: Iterable[float]) -> Axis | None:
    """An axis that holds all `values` that are defined, rounded outwards; None if none is."""
    numbers = [value for value in values if defined(value) and math.isfinite(value)]
    if not numbers:
        return None
    low, high = min(numbers), max(numbers)
    if facts.chance is not None and abs(low - facts.chance) < _LEAST_SPAN:
        low, high = min(low, facts.chance), max(high, facts.chance)
    if high - low < _LEAST_SPAN:
        low, high = (low + high - _LEAST_SPAN) / 2, (low + high + _LEAST_SPAN) / 2
    step = next(
        (step for step in _STEPS if (high - low) / step <= _MOST_TICKS - 1), 10 ** math.ceil(math.log10(high - low))
    )
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    low = max(low, facts.low) if min(numbers) >= facts.low else low
    high = min(high, facts.high) if facts.high is not None and max(numbers) <= facts.high else high
    bare = Axis(low, high, (), None)
    digits = 2 if step < 0.1 or step == 0.25 else 1
    first = math.ceil(low / step - 1e-9)
    marks = [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]
    chance = facts.chance
    return Axis(
        low,
        high,
        tuple((bare.place(mark), shown(mark, digits)) for mark in marks),
        bare.place(chance) if chance is not None and low <= chance <= high else None,
    )
