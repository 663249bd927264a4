"""A bootstrap interval that holds with few patients."""

import numpy as np
from scipy.special import ndtr
from scipy.stats import t as student

from radapt.metrics.bootstrap import LEVEL


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
