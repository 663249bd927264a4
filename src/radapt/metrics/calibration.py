"""Metrics of the probabilities: log-loss, Brier score, expected calibration error.

`probabilities` is (N, C), one column per class, or (N,), the probability of a binary event whose truth is 0 or 1. All
three are defined for one case or more, and NaN without cases.
"""

import numpy as np
import pandas as pd

from radapt.errors import DataError
from radapt.metrics.weighted import Tally, as_columns, ratio

BINS = 15
"""Equal-width confidence bins, as in Guo et al. 2017."""
LEAST_PROBABILITY = float(np.finfo(np.float32).eps)
"""Log-loss clips probabilities to this (1.2e-7), the spacing of single precision near 1: a saturated softmax that is
wrong costs 15.9 nats, not infinity."""


def log_losses(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(N,) negative log of the predicted probability of the truth, in nats, from about 0 to 15.9."""
    return -np.log(np.clip(_of_truth(truth, probabilities), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY))


def brier_scores(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(N,) squared distance between probabilities and truth.

    A binary event and two classes: (p - y)², in [0, 1]. Three and more classes: the sum over classes (Brier 1950), in
    [0, 2].
    """
    if probabilities.ndim == 1:
        return (probabilities - truth) ** 2
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1] - truth) ** 2
    return ((probabilities - np.eye(probabilities.shape[1])[truth]) ** 2).sum(axis=1)


def confidence(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) confidence and (N,) whether it came true, 0 or 1: the two quantities that calibration compares.

    Classes: the probability of the predicted class (the highest; ties go to the first), and whether the prediction is
    correct. A binary event: its probability, and whether it happened.
    """
    if probabilities.ndim == 1:
        return probabilities, truth.astype(np.float64)
    top = probabilities.argmax(axis=1)
    return probabilities[np.arange(len(top)), top], (top == truth).astype(np.float64)


def bin_of(stated: np.ndarray) -> np.ndarray:
    """(N,) the equal-width bin of each probability: a bin includes its lower edge, the last one also 1."""
    return np.minimum((stated * BINS).astype(np.int64), BINS - 1)


def log_loss(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean negative log-likelihood in nats, probabilities clipped to [1.2e-7, 1 - 1.2e-7].

    `truth` is (N,) class indices, or 0 and 1 for (N,) probabilities; `weights` (..., N) gives a result of shape (...).
    """
    truth, probabilities = _checked(truth, probabilities)
    return _mean(log_losses(truth, probabilities), weights)


def brier(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean Brier score, see `brier_scores`; arguments as `log_loss`."""
    truth, probabilities = _checked(truth, probabilities)
    return _mean(brier_scores(truth, probabilities), weights)


def ece(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Expected calibration error (ECE) in [0, 1] over 15 equal-width bins; arguments as `log_loss`.

    The mean over cases of |mean confidence - accuracy| in the case's bin: top-label for classes (Guo et al. 2017), the
    event's probability and frequency for a binary event.
    """
    truth, probabilities = _checked(truth, probabilities)
    columns, shape = as_columns(weights, len(truth))
    stated, came_true = confidence(truth, probabilities)
    gaps = Tally(bin_of(stated), stated - came_true, np.arange(len(truth)), slots=BINS, units=len(truth))
    return ratio(np.abs(gaps.totals(columns)).sum(axis=0), columns.sum(axis=0)).reshape(shape)[()]


def reliability_bins(truth: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """The reliability diagram behind `ece`: columns low, high, stated (mean confidence), observed (accuracy), cases.

    15 rows; `stated` and `observed` are NaN in bins without cases.
    """
    truth, probabilities = _checked(truth, probabilities)
    stated, came_true = confidence(truth, probabilities)
    bins = bin_of(stated)
    cases = np.bincount(bins, minlength=BINS)
    edges = np.arange(BINS + 1) / BINS
    return pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "stated": ratio(np.bincount(bins, stated, BINS), cases),
            "observed": ratio(np.bincount(bins, came_true, BINS), cases),
            "cases": cases,
        }
    )


def _of_truth(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    if probabilities.ndim == 1:
        return np.where(truth == 1, probabilities, 1 - probabilities)
    return probabilities[np.arange(len(truth)), truth]


def _mean(amounts: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    columns, shape = as_columns(weights, len(amounts))
    return ratio(amounts @ columns, columns.sum(axis=0)).reshape(shape)[()]


def _checked(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, probabilities = np.asarray(truth), np.asarray(probabilities, dtype=np.float64)
    if truth.ndim != 1 or probabilities.ndim not in (1, 2) or len(truth) != len(probabilities):
        raise DataError(
            f"Truth has shape {truth.shape} and probabilities {probabilities.shape}; expected (N,) and (N,) or (N, C)."
        )
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise DataError("Probabilities must lie in [0, 1] and not be NaN; pass a softmax or sigmoid, not logits.")
    classes = 2 if probabilities.ndim == 1 else probabilities.shape[1]
    if not np.isin(truth, np.arange(classes)).all():
        raise DataError(f"Truth must lie in 0 … {classes - 1}; leave out the cases whose truth is unknown.")
    return truth.astype(np.int64), probabilities
