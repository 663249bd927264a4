"""How much another training run (seed, draw of the labels, fold) would change a metric, beside other patients.

Random effects: the metric of run r on the patients of the test set is μ + run r + patients + run × patients. With R
runs on the same patients, and bootstrap replicates of each on the same draws of patients,

    within  = mean over r of var(replicates of r)                 patients + run × patients
    crossed = mean over r of var(replicates of r − their mean) · R / (R − 1)          run × patients
    runs    = max(0, var over r of the metric − crossed)          run

where both bootstrap variances are multiplied by n / (n − 1) of n patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit  # scipy.stats takes seconds to import

from radapt.errors import DataError
from radapt.metrics.bootstrap import LEVEL
from radapt.metrics.comparison.difference import Difference

_UPPER = (1 + LEVEL) / 2


@dataclass(frozen=True)
class VarianceParts:
    """The standard deviations of a metric: `patients` of one run over other patients, `runs` over other runs.

    `next_low` and `next_high` hold the metric of another run on the same patients with a probability of 95 %. Of a
    single run `runs` and both are NaN; equal runs have 0 and their own value. `runs` is 0 too where runs differ by no
    more than they do by chance on so many patients.
    """

    n_runs: int
    patients: float
    runs: float
    next_low: float
    next_high: float


def variance_parts(values: np.ndarray, drawn: np.ndarray, units: int) -> VarianceParts:
    """The parts for the metric of R runs, `values` (R,), and its replicates `drawn` (R, B) on draws of `units` patients
    that are the same for all runs.

    Replicates that are NaN in a run are left out. Everything is NaN if a value is, and with fewer than two patients.
    Raises DataError for shapes that do not fit.
    """
    values, drawn = np.asarray(values, dtype=np.float64), np.asarray(drawn, dtype=np.float64)
    if values.ndim != 1 or drawn.ndim != 2 or len(drawn) != len(values) or not len(values):
        raise DataError(f"Values {values.shape} and replicates {drawn.shape}; expected (runs,) and (runs, draws).")
    runs, nan = len(values), float("nan")
    defined = drawn[:, ~np.isnan(drawn).any(axis=0)]
    if np.isnan(values).any() or units < 2 or not defined.shape[1]:
        return VarianceParts(runs, nan, nan, nan, nan)
    more = units / (units - 1)
    within = float(defined.var(axis=1).mean()) * more
    if runs < 2:
        return VarianceParts(runs, float(np.sqrt(within)), nan, nan, nan)
    crossed = float((defined - defined.mean(axis=0)).var(axis=1).mean()) * more * runs / (runs - 1)
    between = float(values.var(ddof=1))
    reach = float(stdtrit(runs - 1, _UPPER)) * np.sqrt(between * (1 + 1 / runs))
    mean = float(values.mean())
    return VarianceParts(
        runs, float(np.sqrt(within)), float(np.sqrt(max(0.0, between - crossed))), mean - reach, mean + reach
    )


@dataclass(frozen=True)
class OverTraining:
    """The 95 % interval and two-sided p-value of a difference over other patients and other training runs."""

    ci_low: float
    ci_high: float
    p: float

    @property
    def excludes_zero(self) -> bool:
        return not self.ci_low <= 0 <= self.ci_high


def over_training(found: Difference, first: Sequence[float], second: Sequence[float]) -> OverTraining | None:
    """`found` over other runs too, from the metric of each run of both methods on the same patients.

    The variance of the difference of means is that over patients, from the width of the interval, plus that over runs,
    s² / R, of each method. Student's degrees of freedom are those of the sum (Satterthwaite 1946): n − 1 of the
    patients, and of the runs R − 1 of both methods together, as of Student's test. Run × patients counts in both parts,
    so the interval is rather too wide.

    None if a method has a single run, all runs of each are equal, a value is undefined, or the difference has no
    interval.
    """
    sets = [np.asarray(values, dtype=np.float64) for values in (first, second)]
    if min(map(len, sets)) < 2 or any(np.isnan(values).any() for values in sets) or np.isnan(found.ci_low):
        return None
    parts = [(_over_patients(found) ** 2, found.n_patients - 1)]
    runs = sum(float(values.var(ddof=1)) / len(values) for values in sets)
    if runs == 0:
        return None
    parts.append((runs, sum(map(len, sets)) - 2))
    total = sum(variance for variance, _ in parts)
    freedom = total**2 / sum(variance**2 / own for variance, own in parts)
    error = float(np.sqrt(total))
    reach = float(stdtrit(freedom, _UPPER)) * error
    p = float(2 * stdtr(freedom, -abs(found.difference) / error))
    return OverTraining(found.difference - reach, found.difference + reach, p)


def _over_patients(found: Difference) -> float:
    """The standard error of a difference over patients, from the width of its interval."""
    half, units = (found.ci_high - found.ci_low) / 2, found.n_patients
    if found.interval == "expanded":
        return half / float(stdtrit(units - 1, _UPPER))
    return half / float(ndtri(_UPPER)) * float(np.sqrt(units / (units - 1)))  # of quantiles that were not expanded
