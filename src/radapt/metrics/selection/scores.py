"""The optimism of the best of several candidates, where only their scores are known."""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit  # scipy.stats takes seconds to import

CORRELATION = 0.5
"""Assumed between the errors of two candidates on the same patients where nothing tells it."""

FEWEST = 5
"""Candidates from which the slope of val over test is estimated."""

_CONTENDING = 3 * np.sqrt(2)
"""A candidate that is further below the best, in standard deviations of the noise, could not win by luck."""

_CLEAR = 2.5
"""A lead over the second that luck alone gives in fewer than one table in ten, in many candidates one in a hundred."""


@dataclass(frozen=True)
class ScoreOptimism:
    """How much of the best score is due to the choice, and between which bounds it lies; `optimism` NaN if unknown.

    `contenders` is the number of candidates that could be the best by luck. `source` tells where the noise comes from:
    `single` (nothing was chosen), `clear` (the best one leads by more than luck gives), `val` (the slope of val over
    test), `patients` (the standard error for their number, with an assumed correlation) or `unknown`.
    """

    winner: int
    optimism: float
    low: float
    high: float
    contenders: int
    source: str


def optimism_of_scores(test: np.ndarray, val: np.ndarray | None = None, error: float | None = None) -> ScoreOptimism:
    """The part of the winner's lead over the mean candidate that would not be seen in other patients.

    `test` and `val` (K,) scores of the candidates, larger is better; `error` the standard error of one test score. If a
    share s of the variance of test scores between candidates is noise, s times the lead of the best one over their mean
    is luck. Val tells s: other patients have other noise, so the slope of val over test is 1 − s. Without val, s is at
    most the squared error over the variance, less if the candidates' errors are correlated, which scores cannot tell:
    `low` is 0 then and `high` is for uncorrelated errors. 0 for a single candidate.
    """
    test = np.asarray(test, dtype=np.float64)
    winner = int(np.argmax(test))
    if len(test) < 2:
        return ScoreOptimism(winner, 0.0, 0.0, 0.0, len(test), "single")
    noise = _noise(test, error)
    near = test >= test[winner] - _CONTENDING * noise
    scores = test[near]
    if len(scores) < 2 or np.ptp(scores) == 0:
        return ScoreOptimism(winner, 0.0, 0.0, 0.0, len(scores), "clear")
    lead, variance = float(scores.max() - scores.mean()), float(scores.var(ddof=1))
    most = 1.0 if error is None else min(1.0, error**2 / variance)
    if np.sort(test)[-1] - np.sort(test)[-2] > _CLEAR * noise:
        return ScoreOptimism(winner, 0.0, 0.0, lead * most, len(scores), "clear")
    if val is not None and len(scores) >= FEWEST:
        shares = _noise_shares(scores, np.asarray(val, dtype=np.float64)[near])
        middle, low, high = (lead * min(max(share, 0.0), most) for share in shares)
        return ScoreOptimism(winner, middle, low, high, len(scores), "val")
    if error is None:
        return ScoreOptimism(winner, float("nan"), 0.0, lead, len(scores), "unknown")
    share = min(1.0, (1 - CORRELATION) * error**2 / variance)
    return ScoreOptimism(winner, lead * share, 0.0, lead * most, len(scores), "patients")


def _noise(test: np.ndarray, error: float | None) -> float:
    """The most that a candidate may differ from another by luck: no more than the others differ from each other."""
    most = float("inf") if error is None else float(np.sqrt(1 - CORRELATION)) * error
    others = np.delete(test, np.argmax(test))
    return min(most, float(others.std(ddof=1))) if len(others) >= FEWEST and np.ptp(others) > 0 else most


def _noise_shares(test: np.ndarray, val: np.ndarray) -> tuple[float, float, float]:
    """1 − slope of val over test, and its 95 % interval."""
    away = test - test.mean()
    slope = float(away @ (val - val.mean()) / (away @ away))
    left = val - val.mean() - slope * away
    freedom = len(test) - 2
    wide = float(stdtrit(freedom, 0.975) * np.sqrt(left @ left / freedom / (away @ away)))
    return 1 - slope, 1 - slope - wide, 1 - slope + wide


def auroc_error(auroc: float, positives: int, negatives: int) -> float:
    """The standard error of an AUROC (Hanley and McNeil 1982) with so many positive and negative patients, each ≥ 1."""
    first, second = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    variance = auroc * (1 - auroc) + (positives - 1) * (first - auroc**2) + (negatives - 1) * (second - auroc**2)
    return float(np.sqrt(max(variance, 0.0) / (positives * negatives)))


def proportion_error(proportion: float, patients: int) -> float:
    """The standard error of a share of so many patients, such as an accuracy (binomial)."""
    return float(np.sqrt(proportion * (1 - proportion) / patients))
