"""Intervals by resampling patients (Efron and Tibshirani 1993, percentile method).

The patient is the independent unit: all cases of a drawn patient enter together, as often as the patient was
drawn.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from radapt.errors import DataError

LEVEL = 0.95
CHUNK = 2**21
"""Cases × replicates held at once, 16 MiB an array, whatever the number of resamples."""

Numbers = dict[str, np.ndarray]


def units_of(patients: np.ndarray) -> tuple[np.ndarray, int]:
    """(N,) index of the independent unit of every case, and how many units there are. The unit is the
    patient.

    Raises DataError if a patient is missing.
    """
    unit, names = pd.factorize(np.asarray(patients, dtype=object))
    if (unit < 0).any():
        row = int(np.argmax(unit < 0))
        raise DataError(f"Case {row} (counting from 0) has no patient; expected the patient of every case.")
    return unit, len(names)


def multiplicities(rng: np.random.Generator, units: int, resamples: int) -> np.ndarray:
    """(R, U) how often each unit is drawn in each replicate: U draws with replacement, so every row sums to
    U.

    Rows are multinomial with equal chances. Two calls for R1 and R2 rows give the rows of one call for R1 +
    R2.
    """
    drawn = rng.integers(units, size=(resamples, units))
    drawn += units * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * units).reshape(resamples, units)


def replicates(
    numbers: Callable[[np.ndarray], Numbers], units: int, rng: np.random.Generator, resamples: int, chunk: int
) -> Numbers:
    """Every number under `resamples` bootstrap replicates, each (R,); empty without resamples.

    `numbers` maps weights (U, R) of the units to numbers (R,). `chunk` replicates are worked on at once; it decides
    the memory, never the result.
    """
    parts = [numbers(_columns(rng, units, size)) for size in _sizes(resamples, chunk)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval of replicates (R,).

    Replicates in which the number is undefined (NaN) are left out; (NaN, NaN) if fewer than half are defined.
    """
    defined = values[~np.isnan(values)]
    if not len(defined) or 2 * len(defined) < len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _sizes(resamples: int, chunk: int) -> Iterator[int]:
    # Never a lone column unless there is only one: numpy would sum it pairwise and not row by row as all others.
    while resamples > 0:
        size = min(max(chunk, 2), resamples)
        size += resamples - size == 1
        yield size
        resamples -= size


def _columns(rng: np.random.Generator, units: int, resamples: int) -> np.ndarray:
    # Replicates last and adjacent in memory: the sparse sums then run along them.
    return np.ascontiguousarray(multiplicities(rng, units, resamples).T, dtype=np.float64)
