"""AUROC and average precision: metrics of the ranking of cases by score.

Both need at least one positive and one negative case (of weight above 0) and are NaN otherwise. scikit-learn gives an
average precision of 0 without positives and of 1 without negatives, which says nothing about the score.
"""

import numpy as np

from radapt.errors import DataError
from radapt.metrics.weighted import Tally, as_columns, ratio


class Ranking:
    """The cases of a binary problem, sorted once by score, for any weights of their patients.

    Let the K distinct scores of positive cases be t_1 < … < t_K. Both metrics need only three weights for each:
    positives at t_k, negatives tied with t_k, and negatives strictly between t_{k-1} and t_k. The sort puts every case
    into one of these slots; a replicate is then one sum per slot and one cumulative sum over K.
    """

    def __init__(
        self, truth: np.ndarray, score: np.ndarray, unit: np.ndarray | None = None, units: int | None = None
    ) -> None:
        positive = truth.astype(bool)
        thresholds, rank = np.unique(score[positive], return_inverse=True)
        k = len(thresholds)
        below = score[~positive]
        left = np.searchsorted(thresholds, below)
        tied = np.append(thresholds, np.nan)[left] == below
        slot = np.empty(len(score), dtype=np.int64)
        slot[positive] = rank  # slots 0 … K-1: positives at t_k
        slot[~positive] = k + left + np.where(tied, 0, k)  # K … 2K-1: tied; 2K … 3K: between, 3K above all
        self._thresholds = k
        own = np.arange(len(score)) if unit is None else unit
        self._tally = Tally(slot, 1.0, own, slots=3 * k + 1, units=len(score) if units is None else units)

    def numbers(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """AUROC (R,) and average precision (R,) under each column of `weights` (U, R)."""
        totals = self.totals(weights)
        return totals.area(), totals.average_precision()

    def totals(self, weights: np.ndarray) -> "RankedTotals":
        """The weights in every slot under each column of `weights` (U, R)."""
        k, totals = self._thresholds, self._tally.totals(weights)
        return RankedTotals(totals[:k], totals[k : 2 * k], totals[2 * k :])


class RankedTotals:
    """The weights of positives (K, R) at every threshold, of negatives tied with it (K, R), and between (K + 1, R)."""

    def __init__(self, positive: np.ndarray, tied: np.ndarray, between: np.ndarray) -> None:
        self._positive, self._tied = positive, tied
        self._positives = positive.sum(axis=0)
        self._negatives = tied.sum(axis=0) + between.sum(axis=0)
        self._below = np.cumsum(tied + between[: len(tied)], axis=0) - tied  # negatives strictly below t_k
        self._defined = np.where((self._positives > 0) & (self._negatives > 0), 1.0, np.nan)

    def area(self) -> np.ndarray:
        """(R,) AUROC."""
        # A pair counts 1 if the positive scores higher and 1/2 if tied (mid-rank).
        area = np.einsum("kr,kr->r", self._positive, self._below + self._tied / 2)
        return ratio(area, self._positives * self._negatives) * self._defined

    def average_precision(self) -> np.ndarray:
        """(R,) average precision."""
        hits = np.cumsum(self._positive[::-1], axis=0)[::-1]  # positives at t_k or above
        at_or_above = hits + self._negatives - self._below  # all cases at t_k or above
        precision = np.divide(hits, at_or_above, out=np.zeros_like(hits), where=at_or_above > 0)
        gained = np.einsum("kr,kr->r", self._positive, precision)
        return ratio(gained, self._positives) * self._defined


def auroc(truth: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Area under the ROC curve: the probability that a positive case scores above a negative one, ties counting half.

    `truth` (N,) of 0 and 1 and `score` (N,) any real numbers; `weights` (..., N) gives a result of shape (...). In
    [0, 1], chance is 0.5; NaN without a positive or without a negative case. Equals the Mann-Whitney statistic (Hanley
    and McNeil 1982).
    """
    columns, shape = as_columns(weights, len(truth))
    return Ranking(*checked_binary(truth, score)).numbers(columns)[0].reshape(shape)[()]


def average_precision(truth: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Average precision: the precision at each positive case's score, averaged over positives, not interpolated.

    Arguments and degenerate outcomes as `auroc`. In [0, 1]; chance is the share of positives.
    """
    columns, shape = as_columns(weights, len(truth))
    return Ranking(*checked_binary(truth, score)).numbers(columns)[1].reshape(shape)[()]


def checked_binary(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth and score of a binary problem. Raises DataError for other shapes or values, and NaN scores."""
    truth, score = np.asarray(truth), np.asarray(score)
    if truth.ndim != 1 or truth.shape != score.shape:
        raise DataError(f"Truth has shape {truth.shape} and score {score.shape}; expected two vectors of equal length.")
    if not np.isin(truth, (0, 1)).all():
        raise DataError("Truth must be 0 or 1; leave out the cases whose truth is unknown.")
    if np.isnan(score).any():
        raise DataError(f"Score is NaN for {int(np.isnan(score).sum())} of {len(score)} cases.")
    return truth, score
