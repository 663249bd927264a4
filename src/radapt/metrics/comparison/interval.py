"""Bootstrap intervals that hold with few patients."""

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import t as student

from radapt.metrics.bootstrap import LEVEL


def bca_interval(value: float, drawn: np.ndarray, left_out: np.ndarray, units: int) -> tuple[float, float]:
    """The 95 % interval of `value` from its replicates `drawn` (R,): BCa (Efron 1987), expanded for few patients.

    `left_out` (J,) are the values without each patient in turn, for the acceleration; empty: none. A percentile
    interval of n patients is too narrow by √((n − 1) / n) and by the normal quantile in place of Student's with n − 1
    degrees of freedom; both are made good in the quantiles (Hesterberg 2015). Replicates that are NaN are left out.

    (NaN, NaN) with fewer than two patients, an undefined value, or fewer than half of the replicates defined. Where
    nothing varies, (value, value).
    """
    defined = drawn[~np.isnan(drawn)]
    if units < 2 or np.isnan(value) or not len(defined) or 2 * len(defined) < len(drawn):
        return float("nan"), float("nan")
    if np.ptp(defined) == 0:
        return float(defined[0]), float(defined[0])
    half = 0.5 / len(defined)
    below = np.mean(defined < value) + np.mean(defined == value) / 2
    bias = ndtri(np.clip(below, half, 1 - half))
    reach = np.sqrt(units / (units - 1)) * student.ppf((1 + LEVEL) / 2, units - 1)
    ends = bias + np.array([-reach, reach])
    # Beyond a pole of the correction no quantile is left: the interval then ends at the outermost replicate.
    shrunk = np.maximum(1 - _acceleration(left_out) * ends, 1e-6)
    low, high = np.quantile(defined, ndtr(bias + ends / shrunk))
    return float(low), float(high)


def _acceleration(left_out: np.ndarray) -> float:
    """A sixth of the skewness of the jackknife values; 0 if nothing varies."""
    away = np.nanmean(left_out) - left_out[~np.isnan(left_out)] if len(left_out) else left_out
    squares = float((away**2).sum())
    return float((away**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0
