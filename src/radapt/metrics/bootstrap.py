"""Bootstrap confidence intervals by patient (Efron and Tibshirani 1993).

The patient is the independent unit: all cases of a drawn patient enter together, as often as the patient is drawn.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit, ndtr, stdtrit  # scipy.stats takes seconds to import

from radapt.errors import DataError

LEVEL = 0.95
CHUNK = 2**18
"""Cases × replicates held in memory at once, 2 MiB an array: what stays in the cache, whatever the resamples."""

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
    reach = np.sqrt(units / (units - 1)) * stdtrit(units - 1, (1 + LEVEL) / 2)
    low, high = np.quantile(defined, ndtr([-reach, reach]))
    return float(low), float(high)


@dataclass(frozen=True)
class Range:
    """The ends of a metric's range, infinite where it has none."""

    low: float = 0.0
    high: float = 1.0


def metric_interval(
    value: float, drawn: np.ndarray, units: int, range_: Range = Range(), fewest: int | None = None
) -> tuple[float, float]:
    """The 95 % interval of the metric `value` from its replicates `drawn` (R,) over draws of `units` patients.

    On a scale on which the range of the metric has no ends (logit, or log if it has no upper end; DiCiccio and Efron
    1996), it is the value ± Student's quantile × the standard deviation of the replicates × √(n / (n − 1)). The
    quantile has (n − 1) / 2 degrees of freedom, those of a spread that is estimated from n values of excess kurtosis 2:
    errors of segmentations and ranks have long tails; of a metric that compares two kinds of patients, at most one less
    than the `fewest` of a kind. The interval holds the value and stays in the range.

    A value at an end of a range that never varies, such as an AUROC of 1, is taken for a share of `fewest` patients
    (default: n) of whom all are right: the interval reaches 0.025^(1/fewest) of the range (Clopper and Pearson 1934).
    Replicates that are NaN are left out.

    (NaN, NaN) with fewer than two patients, in all or of a kind, an undefined value, or fewer than half of the
    replicates defined.
    """
    defined, rarest = drawn[~np.isnan(drawn)], units if fewest is None else fewest
    if min(units, rarest) < 2 or np.isnan(value) or not len(defined) or 2 * len(defined) < len(drawn):
        return float("nan"), float("nan")
    low, high = range_.low, range_.high
    spread = float(np.std(defined)) * np.sqrt(units / (units - 1))
    freedom = min((units - 1) / 2, rarest - 1)
    reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * spread * np.array([-1.0, 1.0])
    if np.isinf(low):
        ends = value + reach
    elif value <= low or value >= high:
        if spread == 0 and np.isfinite(high):
            share = ((1 - LEVEL) / 2) ** (1 / rarest) * (high - low)
            ends = np.array([low, high - share] if value <= low else [low + share, high])
        else:
            ends = np.clip(value + reach, low, high)
    elif np.isinf(high):
        ends = low + (value - low) * np.exp(np.minimum(reach / (value - low), _FAR))
    else:
        share, width = (value - low) / (high - low), high - low
        ends = low + width * expit(logit(share) + reach / (width * share * (1 - share)))
    return float(ends[0]), float(ends[1])


_FAR = 700.0  # the exponential of more overflows


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
