"""How long a training lasts."""

import math
from dataclasses import dataclass

_LAST_SHARE = 0.3
"""The share of a training on three inner folds that follows the search, at one learning rate, on all cases."""


@dataclass(frozen=True)
class Length:
    """The epochs of all trainings of a protocol together, or its steps if it counts those alone (`by_steps`)."""

    value: float
    by_steps: bool = False

    @classmethod
    def within(
        cls, epochs: int, steps: int | None, batch: int, samples: int, *, rates: float = 1, patience: int | None = None
    ) -> "Length":
        """So many epochs over `samples`, or as many as `steps` of `batch` samples make up, if these are fewer, for each
        of the learning rates.

        Early stopping ends a training anywhere between `patience` + 1 and all epochs; their geometric mean is the
        guess whose ratio to either is the least.
        """
        most = float(epochs) if steps is None else min(epochs, steps / max(1, -(-samples // batch)))
        expected = most if patience is None else math.sqrt(most * min(patience + 1, most))
        return cls(rates * expected)


def searched(rates: int) -> float:
    """Trainings of a search for the learning rate by inner folds, in units of one with a single rate."""
    return _LAST_SHARE + (1 - _LAST_SHARE) * rates
