"""Bootstrap confidence intervals by patient (percentile method, Efron and Tibshirani 1993).

The patient is the independent unit: all cases of a drawn patient enter together, as often as the patient is drawn.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from scipy.special import ndtr
from scipy.stats import t as student

from radapt.errors import DataError

LEVEL = 0.95
CHUNK = 2**21
"""Cases × replicates held in memory at once, 16 MiB an array, whatever the number of resamples."""

Numbers = dict[str, np.ndarray]


def units_of(patients: np.ndarray) -> tuple[np.ndarray, int]:
    """(N,) index of the patient of every case, and the number of patients: the patient is the independent unit.

    Raises DataError if a patient is missing.
    """
    unit, names = pd.factorize(np.asarray(patients, dtype=object))
    if (unit < 0).any():
        row = int(np.argmax(unit < 0))
        raise DataError(f"Case {row} (counting from 0) has no patient; expected the patient of every case.")
    return unit, len(names)


def multiplicities(rng: np.random.Generator, units: int, resamples: int) -> np.ndarray:
    """(R, U) how often each unit is drawn in each replicate: U draws with replacement, so every row sums to U.

    Rows are multinomial with equal probabilities. Two calls for R1 and R2 rows give the rows of one call for R1 + R2.
    """
    drawn = rng.integers(units, size=(resamples, units))
    drawn += units * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * units).reshape(resamples, units)


def replicates(
    numbers: Callable[[np.ndarray], Numbers], units: int, rng: np.random.Generator, resamples: int, chunk: int
) -> Numbers:
    """Every metric in `resamples` bootstrap replicates, each (R,); empty without resamples.

    `numbers` maps weights (U, R) of the units to metrics (R,). `chunk` replicates are computed at once; it sets the
    memory and never the result.
    """
    chunks = [numbers(_columns(rng, units, size)) for size in _sizes(resamples, chunk)]
    return {name: np.concatenate([values[name] for values in chunks]) for name in chunks[0]} if chunks else {}


def percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval of replicates (R,).

    Replicates in which the metric is undefined (NaN) are left out; (NaN, NaN) if fewer than half are defined.
    """
    defined = values[~np.isnan(values)]
    if not len(defined) or 2 * len(defined) < len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def expanded_interval(value: float, drawn: np.ndarray, units: int) -> tuple[float, float]:
    """The 95 % percentile interval of `value` from its replicates `drawn` (R,), expanded for few patients.

    A percentile interval of n patients is too narrow by √((n − 1) / n) and by the normal quantile in place of Student's
    with n − 1 degrees of freedom; both are made good in the quantiles that are taken (Hesterberg 2015). Replicates that
    are NaN are left out.

    (NaN, NaN) with fewer than two patients, an undefined value, or fewer than half of the replicates defined.
    """
    defined = drawn[~np.isnan(drawn)]
    if units < 2 or np.isnan(value) or not len(defined) or 2 * len(defined) < len(drawn):
        return float("nan"), float("nan")
    reach = np.sqrt(units / (units - 1)) * student.ppf((1 + LEVEL) / 2, units - 1)
    low, high = np.quantile(defined, ndtr([-reach, reach]))
    return float(low), float(high)


def _sizes(resamples: int, chunk: int) -> Iterator[int]:
    # Never a single column unless only one is asked for: NumPy sums a single column in another order than several.
    while resamples > 0:
        size = min(max(chunk, 2), resamples)
        size += resamples - size == 1
        yield size
        resamples -= size


def _columns(rng: np.random.Generator, units: int, resamples: int) -> np.ndarray:
    # Replicates are contiguous in memory, because the sparse product runs along them.
    return np.ascontiguousarray(multiplicities(rng, units, resamples).T, dtype=np.float64)
