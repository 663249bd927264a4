"""The axis of the dot-and-whisker bars in a table: one for all its rows."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from radapt.reports.formatting import defined, shown
from radapt.reports.leaderboard import LeaderboardRow
from radapt.reports.metric_info import MetricInfo, metric_of

_LEAST_SPAN = 0.2
_STEPS = (0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0)
_MOST_TICKS = 6


@dataclass(frozen=True)
class BarAxis:
    """From `low` to `high`; `ticks` are (position in percent, label); `chance` is a position in percent or None."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    chance: float | None

    def position(self, value: float) -> float:
        """The position of `value` in percent of the axis, clipped to 0–100."""
        return round(100 * min(max((value - self.low) / (self.high - self.low), 0.0), 1.0), 2)


def axis_for(metric: str, rows: Iterable[LeaderboardRow]) -> BarAxis | None:
    """An axis that holds every value and interval, rounded outwards; None if nothing is defined.

    Give the rows of all test sets of a cohort, so that their tables share one axis.
    """
    return axis_of(metric_of(metric), (end for row in rows for end in (row.value, row.ci_low, row.ci_high)))


def axis_of(metric: MetricInfo, values: Iterable[float]) -> BarAxis | None:
    """An axis that holds all defined `values`, rounded outwards; None if none is defined."""
    numbers = [value for value in values if defined(value) and math.isfinite(value)]
    if not numbers:
        return None
    low, high = min(numbers), max(numbers)
    if metric.chance is not None and abs(low - metric.chance) < _LEAST_SPAN:
        low, high = min(low, metric.chance), max(high, metric.chance)
    if high - low < _LEAST_SPAN:
        low, high = (low + high - _LEAST_SPAN) / 2, (low + high + _LEAST_SPAN) / 2
    step = next(
        (step for step in _STEPS if (high - low) / step <= _MOST_TICKS - 1), 10 ** math.ceil(math.log10(high - low))
    )
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    low = max(low, metric.low) if min(numbers) >= metric.low else low
    high = min(high, metric.high) if metric.high is not None and max(numbers) <= metric.high else high
    bare = BarAxis(low, high, (), None)
    digits = 2 if step < 0.1 or step == 0.25 else 1
    first = math.ceil(low / step - 1e-9)
    ticks = [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]
    chance = metric.chance
    return BarAxis(
        low,
        high,
        tuple((bare.position(tick), shown(tick, digits)) for tick in ticks),
        bare.position(chance) if chance is not None and low <= chance <= high else None,
    )
