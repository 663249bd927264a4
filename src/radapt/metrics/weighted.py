"""Weighted sums over cases for many sets of weights at once: the primitive below every metric.

A bootstrap replicate is a set of weights: how often each patient is drawn. Every metric is a function of weighted sums
over cases, so two thousand replicates are two thousand columns of one sparse product. The product adds column by column
in a fixed order, without BLAS: the digits of a replicate do not depend on the number of threads or of replicates.
"""

import numpy as np
from scipy.sparse import csr_array

from radapt.errors import DataError


class Tally:
    """Sums of per-case amounts in K slots, for any weights of the units the cases belong to.

    Case i adds `amount[i]` to slot `slot[i]`, times the weight of unit `unit[i]` (its patient, or itself).
    """

    def __init__(
        self, slot: np.ndarray, amount: np.ndarray | float, unit: np.ndarray, *, slots: int, units: int
    ) -> None:
        amounts = np.broadcast_to(np.asarray(amount, dtype=np.float64), slot.shape)
        self._matrix = csr_array((amounts, (slot, unit)), shape=(slots, units))

    def totals(self, weights: np.ndarray) -> np.ndarray:
        """(K, R) totals under each column of `weights` (U, R)."""
        return self._matrix @ weights


def as_columns(weights: np.ndarray | None, cases: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """Weights (..., N) as columns (N, R), and the leading shape (...) of the results; None weights every case 1.

    Raises DataError unless the last axis has one finite weight ≥ 0 per case.
    """
    if weights is None:
        return np.ones((cases, 1)), ()
    given = np.asarray(weights, dtype=np.float64)
    if given.shape[-1:] != (cases,):
        raise DataError(f"Weights of shape {given.shape} do not fit {cases} cases; expected (..., {cases}).")
    if not np.isfinite(given).all() or (given < 0).any():
        raise DataError("Weights must be finite and not negative.")
    return np.ascontiguousarray(given.reshape(-1, cases).T), given.shape[:-1]


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """`numerator / denominator`, NaN where the denominator is 0."""
    out = np.full(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)), np.nan)
    return np.divide(numerator, denominator, out=out, where=np.asarray(denominator) != 0)


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of the values that are not NaN; NaN if all are."""
    return ratio(np.nansum(values, axis=-1), np.sum(~np.isnan(values), axis=-1))
