"""The 95 % intervals that a paired comparison can have, all from the same draws of patients."""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from scipy.special import ndtr, ndtri  # scipy.stats takes seconds to import

from radapt.metrics.bootstrap import LEVEL, expanded_interval, percentile_interval

IntervalMethod = Literal["expanded", "percentile", "bca"]
"""See `expanded_interval`, the default, `percentile_interval` and `bca_interval`."""

INTERVALS: tuple[IntervalMethod, ...] = get_args(IntervalMethod)

_FEWEST = 3  # patients: with two the acceleration is 0 whatever they show
_EQUAL = 1e-10  # of the values: what differs by less is equal, as another order of the patients adds up otherwise


def interval_of(
    method: IntervalMethod, value: float, drawn: np.ndarray, units: int, left_out: Callable[[], np.ndarray]
) -> tuple[float, float]:
    """The interval of `value` from its replicates `drawn` (R,) over draws of `units` ≥ 2 patients.

    `left_out` gives the values without each patient (units,), and is called for BCa alone.
    """
    if method == "bca":
        return bca_interval(value, drawn, left_out())
    return percentile_interval(drawn) if method == "percentile" else expanded_interval(value, drawn, units)


def bca_interval(value: float, drawn: np.ndarray, left_out: np.ndarray) -> tuple[float, float]:
    """The bias-corrected and accelerated 95 % interval of `value` (Efron 1987).

    The quantiles of the replicates `drawn` (R,) at Φ(z0 + (z0 + z) / (1 − a (z0 + z))), z = ±1.96. The bias z0 is the
    normal quantile of the share of replicates below the value, equal ones counting half. The acceleration a is the
    skewness of the jackknife: Σ d³ / (6 (Σ d²)^1.5), d the mean of the values `left_out` (U,), each without one
    patient, less each of these. Replicates that are NaN are left out.

    (value, value) where all replicates are the value. (NaN, NaN) with fewer than three patients, an undefined value,
    fewer than half of the replicates defined, a value undefined without one of the patients (the only one of a kind),
    values that are equal without any patient although replicates are not, and a value that all replicates are below, or
    all above.
    """
    undefined = float("nan"), float("nan")
    defined = drawn[~np.isnan(drawn)]
    if len(left_out) < _FEWEST or np.isnan(value) or not len(defined) or 2 * len(defined) < len(drawn):
        return undefined
    slack = _EQUAL * max(abs(value), float(np.abs(defined).max()))
    above, below = int((defined > value + slack).sum()), int((defined < value - slack).sum())
    if not above and not below:
        return float(value), float(value)
    away = left_out.mean() - left_out
    spread = float((away**2).sum())
    if not spread > (slack**2) * len(away) or len(defined) in (above, below):  # NaN is no spread either
        return undefined
    bias = float(ndtri((below + (len(defined) - above - below) / 2) / len(defined)))
    acceleration = float((away**3).sum()) / (6 * spread**1.5)
    reach = bias + ndtri(np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    # |a| is below 1/6 of any patients, so that 1 − a · reach is above 0 up to a reach of 6; that of 2 million draws.
    low, high = np.quantile(defined, ndtr(bias + reach / (1 - acceleration * reach)))
    return float(low), float(high)
