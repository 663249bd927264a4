"""AUROC of two methods on the same cases, without resampling, with several cases of a patient allowed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from radapt.metrics.bootstrap import units_of
from radapt.metrics.comparison.ranks import mean_ranks
from radapt.metrics.ranking import checked_binary

_ROUNDING = 1e-12


@dataclass(frozen=True)
class DeLong:
    """The AUROCs of two methods, the standard error of their difference, and its two-sided p-value.

    Everything is NaN without a positive or a negative case, error and p with fewer than two patients of a kind. Methods
    that rank alike have p = 1. p is NaN where AUROCs differ and no patient from any other of its kind (1 against 0), as
    an error of 0 says nothing of chance.
    """

    first: float
    second: float
    error: float
    p: float
    n_patients: int


def delong(
    truth: np.ndarray, first: np.ndarray, second: np.ndarray, patients: Sequence[object] | np.ndarray | None = None
) -> DeLong:
    """Compare two AUROCs (DeLong, DeLong and Clarke-Pearson 1988), cases clustered by patient (Obuchowski 1997).

    `truth` (N,) of 0 and 1, scores (N,) of each method, `patients` (N,); None: each case is its own. A patient may have
    positive and negative cases. Raises DataError for other shapes or values.
    """
    truth, first = checked_binary(truth, first)
    truth, second = checked_binary(truth, second)
    unit, units = units_of(np.arange(len(truth)) if patients is None else np.asarray(patients, dtype=object))
    positive = truth == 1
    nan = float("nan")
    if positive.all() or not positive.any():
        return DeLong(nan, nan, nan, nan, units)
    sides = [_placements(positive, score) for score in (first, second)]
    area, other = (float(placed[positive].mean()) for placed in sides)
    if min(len(np.unique(unit[kind])) for kind in (positive, ~positive)) < 2:
        return DeLong(area, other, nan, nan, units)
    placed = sides[0] - sides[1]
    by_patient = []
    for rows in (positive, ~positive):
        away = placed[rows] - placed[rows].mean()
        sums = np.bincount(unit[rows], weights=away, minlength=units)
        members = len(np.unique(unit[rows]))
        by_patient.append(sums * np.sqrt(members / max(members - 1, 1)) / rows.sum())
    # The sum over both kinds carries their covariance within a patient.
    error = float(np.sqrt((sum(by_patient) ** 2).sum()))
    difference = area - other
    if error < _ROUNDING:
        return DeLong(area, other, 0.0, 1.0 if abs(difference) < _ROUNDING else nan, units)
    return DeLong(area, other, error, float(2 * ndtr(-abs(difference) / error)), units)


def _placements(positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """(N,) of each case the share of cases of the other kind that it is ranked rightly against, ties counting half."""
    every = mean_ranks(score)
    placed = np.empty(len(score))
    for rows, others in ((positive, ~positive), (~positive, positive)):
        above = (every[rows] - mean_ranks(score[rows])) / others.sum()
        placed[rows] = above if rows is positive else 1 - above
    return placed
