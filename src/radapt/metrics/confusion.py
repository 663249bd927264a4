"""Metrics of decisions, all from the confusion matrix.

A class is defined if the truth holds members and non-members of it (of weight above 0). Whether a metric is defined
depends on the truth alone, never on the predictions: a model that predicts a single class gets MCC 0 and stays in the
table.
"""

import numpy as np

from radapt.errors import DataError
from radapt.metrics.weighted import Tally, as_columns, mean_of_defined, ratio


def confusion_matrix(
    truth: np.ndarray, predicted: np.ndarray, classes: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """(..., C, C) weight of the cases by true class (row) and predicted class (column).

    `truth` and `predicted` are (N,) class indices in 0 … C-1; `weights` (..., N). Raises DataError for other indices.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.ndim != 1 or truth.shape != predicted.shape:
        raise DataError(
            f"Truth has shape {truth.shape} and predictions {predicted.shape}; expected two vectors of equal length."
        )
    both = np.concatenate([truth, predicted])
    if not np.isin(both, np.arange(classes)).all():
        raise DataError(f"Class indices must lie in 0 … {classes - 1}; leave out unlabelled cases.")
    columns, shape = as_columns(weights, len(truth))
    slot = truth.astype(np.int64) * classes + predicted.astype(np.int64)
    tally = Tally(slot, 1.0, np.arange(len(truth)), slots=classes * classes, units=len(truth))
    return tally.totals(columns).T.reshape(*shape, classes, classes)


def defined_classes(matrix: np.ndarray) -> np.ndarray:
    """(..., C) bool: the classes with both members and non-members in the truth."""
    members = matrix.sum(axis=-1)
    return (members > 0) & (members < members.sum(axis=-1, keepdims=True))


def sensitivities(matrix: np.ndarray) -> np.ndarray:
    """(..., C) sensitivity (recall) of each class; NaN without members."""
    return ratio(np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(axis=-1))


def specificities(matrix: np.ndarray) -> np.ndarray:
    """(..., C) specificity of each class; NaN without non-members."""
    members, predicted, hits = matrix.sum(axis=-1), matrix.sum(axis=-2), np.diagonal(matrix, axis1=-2, axis2=-1)
    non_members = members.sum(axis=-1, keepdims=True) - members
    return ratio(non_members - (predicted - hits), non_members)


def f1s(matrix: np.ndarray) -> np.ndarray:
    """(..., C) F1 = 2 TP / (2 TP + FP + FN) of each class against the rest; NaN if the class is not defined."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    score = ratio(2 * hits, matrix.sum(axis=-1) + matrix.sum(axis=-2))
    return np.where(defined_classes(matrix), score, np.nan)


def accuracy_of(matrix: np.ndarray) -> np.ndarray:
    """(...,) share of cases on the diagonal; NaN without cases."""
    return ratio(np.trace(matrix, axis1=-2, axis2=-1), matrix.sum(axis=(-2, -1)))


def balanced_accuracy_of(matrix: np.ndarray) -> np.ndarray:
    """(...,) mean sensitivity over the defined classes; NaN with one class in the truth."""
    return mean_of_defined(np.where(defined_classes(matrix), sensitivities(matrix), np.nan))


def f1_of(matrix: np.ndarray) -> np.ndarray:
    """(...,) macro F1: mean over the defined classes; NaN with one class in the truth."""
    return mean_of_defined(f1s(matrix))


def mcc_of(matrix: np.ndarray) -> np.ndarray:
    """(...,) Matthews correlation coefficient (MCC), R_K for several classes (Gorodkin 2004), in [-1, 1], chance is 0.

    NaN with one class in the truth. 0 if all predictions are one class: they carry no information.
    """
    truth, predicted, total = matrix.sum(axis=-1), matrix.sum(axis=-2), matrix.sum(axis=(-2, -1))
    covariance = np.trace(matrix, axis1=-2, axis2=-1) * total - (truth * predicted).sum(axis=-1)
    spread = np.sqrt(
        np.maximum(total**2 - (truth**2).sum(axis=-1), 0) * np.maximum(total**2 - (predicted**2).sum(axis=-1), 0)
    )
    # Classes are counted instead of comparing `spread` with 0: fractional weights leave a rounding residue in it.
    collapsed = (predicted > 0).sum(axis=-1) <= 1
    value = ratio(np.where(collapsed, 0.0, covariance), np.where(collapsed, 1.0, spread))
    return np.where(defined_classes(matrix).any(axis=-1), np.clip(value, -1, 1), np.nan)


def quadratic_kappa_of(matrix: np.ndarray) -> np.ndarray:
    """(...,) Cohen's kappa with quadratic weights (Cohen 1968) for ordered classes, at most 1, chance is 0.

    The distance between classes is the difference of their indices. NaN with one class in the truth.
    """
    index = np.arange(matrix.shape[-1])
    distance = (index[:, None] - index[None, :]) ** 2
    truth, predicted = matrix.sum(axis=-1), matrix.sum(axis=-2)
    observed = (distance * matrix).sum(axis=(-2, -1)) * matrix.sum(axis=(-2, -1))
    expected = np.einsum("...i,ij,...j->...", truth, distance, predicted)
    return np.where(defined_classes(matrix).any(axis=-1), 1 - ratio(observed, expected), np.nan)


def accuracy(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Share of correct predictions. `truth`, `predicted` (N,) class indices, `weights` (..., N); NaN without cases."""
    return accuracy_of(_matrix(truth, predicted, weights))[()]


def balanced_accuracy(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean sensitivity over the classes in the truth; NaN with one class. Arguments as `accuracy`."""
    return balanced_accuracy_of(_matrix(truth, predicted, weights))[()]


def f1(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Macro F1 over the classes in the truth; arguments as `accuracy`. NaN with one class in the truth.

    scikit-learn also includes classes that occur in the predictions only, as 0.
    """
    return f1_of(_matrix(truth, predicted, weights))[()]


def mcc(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Matthews correlation, see `mcc_of`; arguments as `accuracy`. scikit-learn gives 0 for our NaN."""
    return mcc_of(_matrix(truth, predicted, weights))[()]


def quadratic_kappa(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Quadratically weighted kappa, see `quadratic_kappa_of`; arguments as `accuracy`."""
    return quadratic_kappa_of(_matrix(truth, predicted, weights))[()]


def _matrix(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    highest = max((int(np.max(values)) for values in (truth, predicted) if len(values)), default=0)
    return confusion_matrix(truth, predicted, max(highest, 0) + 1, weights)
