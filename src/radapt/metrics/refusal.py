"""What is gained by refusing the least certain cases: accuracy against the share that is refused."""

import numpy as np
import pandas as pd

from radapt.errors import DataError
from radapt.metrics.bootstrap import units_of

COLUMNS = ("refused", "accuracy", "oracle", "random")


def refusal_curve(correct: np.ndarray, uncertainty: np.ndarray, patients: np.ndarray) -> pd.DataFrame:
    """The accuracy of the cases that are left when the most uncertain ones are refused.

    `correct` (N,) is 1 or 0 and `uncertainty` (N,) is larger for cases that are refused earlier. Cases of one patient
    (N,) share the weight of one. Equal uncertainties are refused in proportion: the curve does not depend on the order
    of the cases. Columns, from nothing refused to everything but the last case: `refused`, the share; `accuracy`;
    `oracle`, when errors are refused first, which is the best possible; `random`, the accuracy of all.

    Raises DataError for arrays that do not fit, without cases, or with NaN.
    """
    given, weights, order = _checked(correct, uncertainty, patients)
    amounts = (weights * _expected(given, weights, uncertainty))[order]
    refused = _before(weights[order])
    right = float(weights @ given)
    return pd.DataFrame(
        {
            "refused": refused,
            "accuracy": (right - _before(amounts)) / (1 - refused),
            "oracle": np.minimum(right / (1 - refused), 1.0),
            "random": right,
        },
        columns=list(COLUMNS),
    )


def gain_share(correct: np.ndarray, uncertainty: np.ndarray, patients: np.ndarray, refused: float = 0.1) -> float:
    """How much of an oracle's gain in accuracy is reached by refusing the most uncertain share `refused` of the cases.

    1: errors are refused first, as an oracle does. 0: no better than refusing at random; less than 0 is worse. NaN if
    every case is correct, where an oracle gains nothing. Between two cases the curve is interpolated.
    """
    if not 0 < refused < 1:
        raise DataError(f"The refused share is {refused}; expected a number between 0 and 1, such as 0.1.")
    curve = refusal_curve(correct, uncertainty, patients)
    ours, best = (float(np.interp(refused, curve["refused"], curve[name])) for name in ("accuracy", "oracle"))
    base = float(curve["random"].iloc[0])
    return (ours - base) / (best - base) if best - base > 1e-12 else float("nan")


def _before(amounts: np.ndarray) -> np.ndarray:
    """(N,) sum of the amounts that come before each."""
    return np.concatenate([[0.0], np.cumsum(amounts)[:-1]])


def _expected(correct: np.ndarray, weights: np.ndarray, uncertainty: np.ndarray) -> np.ndarray:
    """(N,) the mean correctness among the cases of equal uncertainty."""
    _, level = np.unique(uncertainty, return_inverse=True)
    return (np.bincount(level, weights * correct) / np.bincount(level, weights))[level]


def _checked(
    correct: np.ndarray, uncertainty: np.ndarray, patients: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correctness and weight (N,) of every case, which sum to 1, and the order of refusal."""
    correct, uncertainty = np.asarray(correct, dtype=np.float64), np.asarray(uncertainty, dtype=np.float64)
    if correct.ndim != 1 or correct.shape != uncertainty.shape or len(patients) != len(correct) or not len(correct):
        raise DataError(
            f"correct has shape {correct.shape}, uncertainty {uncertainty.shape} and patients ({len(patients)},); "
            "expected three equal lengths of one case or more."
        )
    if np.isnan(uncertainty).any() or not np.isin(correct, (0, 1)).all():
        raise DataError("correct must be 0 or 1, and uncertainty not NaN.")
    unit, _ = units_of(patients)
    weights = 1 / np.bincount(unit)[unit]
    return correct, weights / weights.sum(), np.argsort(-uncertainty, kind="stable")
