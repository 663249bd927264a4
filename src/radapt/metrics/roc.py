"""The ROC curve with few enough points to draw."""

import numpy as np

from radapt.metrics.ranking import checked_binary
from radapt.metrics.weighted import ratio

POINTS = 200


def roc_curve(truth: np.ndarray, score: np.ndarray, points: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """False-positive rate and true-positive rate, (n,) each, from (0, 0) to (1, 1), n at most `points`.

    `truth` (N,) of 0 and 1, `score` (N,). Points on a straight line are dropped first; if too many remain, those
    nearest to equal steps along the curve stay, which changes the area by less than 1 / `points`. Without a positive
    (negative) case the true (false) positive rate is NaN.
    """
    truth, score = checked_binary(truth, score)
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1) if len(score) else np.zeros(0, np.int64)
    hits = np.concatenate([[0], np.cumsum(truth[order] == 1)[ends]])
    false_alarms = np.concatenate([[0], np.cumsum(truth[order] == 0)[ends]])
    keep = _corners(hits, false_alarms)
    if keep.sum() > points:
        keep = _even_steps(hits, false_alarms, points)
    return ratio(false_alarms, false_alarms[-1])[keep], ratio(hits, hits[-1])[keep]


def _corners(hits: np.ndarray, false_alarms: np.ndarray) -> np.ndarray:
    up, along = np.diff(hits), np.diff(false_alarms)
    turns = up[1:] * along[:-1] != up[:-1] * along[1:]
    return np.concatenate([[True], turns, [True]]) if len(hits) > 1 else np.ones(len(hits), dtype=bool)


def _even_steps(hits: np.ndarray, false_alarms: np.ndarray, points: int) -> np.ndarray:
    length = hits / max(hits[-1], 1) + false_alarms / max(false_alarms[-1], 1)
    keep = np.zeros(len(hits), dtype=bool)
    keep[np.searchsorted(length, np.linspace(0, length[-1], points)).clip(max=len(hits) - 1)] = True
    keep[[0, -1]] = True
    return keep
