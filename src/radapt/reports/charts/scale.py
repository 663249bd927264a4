"""Scales from numbers to pixels, and ticks that are round numbers."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from radapt.reports.formatting import MINUS, defined

_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """Maps `low` to the pixel `start` and `high` to `end`, which may lie before it; with `log` by the logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The position in pixels, clipped to the scale."""
        low, high, at = (math.log10(x) if self.log else x for x in (self.low, self.high, max(value, self._least)))
        share = (at - low) / (high - low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    @property
    def _least(self) -> float:
        return self.low if self.log else -math.inf


def around(values: Iterable[float | None], pad: float = 0.06) -> tuple[float, float]:
    """The range of the defined values, wider by a share `pad` at both ends; (0, 1) without any."""
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    if not numbers:
        return 0.0, 1.0
    margin = (max(numbers) - min(numbers)) * pad or 0.05
    return min(numbers) - margin, max(numbers) + margin


def ticks(low: float, high: float, most: int = 5) -> list[tuple[float, str]]:
    """At most `most` round numbers from `low` to `high`, as (value, text), with as many digits as their step needs."""
    rough = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (*_ROUND, 20.0, 50.0):
        step = factor * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            break
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    digits += abs(round(step, digits) - step) > 1e-9 * step
    return [(index * step, _text(index * step, digits)) for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Powers of ten from `low` to `high`; where there are fewer than two, also 2 and 5 times them."""
    for factors in ((1,), (1, 3), (1, 2, 5)):
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [factor * 10.0**power for power in powers for factor in factors]
        found = [value for value in found if low <= value <= high]
        if len(found) >= 2:
            break
    return [(value, f"{value:g}" if 1e-4 <= value < 1e6 else f"{value:.0e}") for value in found]


def _text(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return (text.lstrip("-") if float(text) == 0 else text).replace("-", MINUS)


def finite(value: float | None) -> bool:
    """Whether there is a finite number."""
    return value is not None and defined(value) and math.isfinite(value)
