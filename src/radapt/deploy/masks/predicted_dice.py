"""The Dice of a structure predicted from its soft Dice, with a lower bound.

The soft Dice is the Dice that the model's own probabilities predict (see `radapt.protocols.fitted.DrawnMask`). A line
through calibration cases turns it into a Dice; the line is fitted on some patients and compared with the others, in
folds. The lower bound is split-conformal: for a case of a new patient who comes from where the calibration patients
come from, the Dice is as high or higher with probability 1 - alpha.
"""

from dataclasses import dataclass

import numpy as np

from radapt.deploy.certainty.conformal import quantile
from radapt.metrics import units_of

FOLDS = 5
LEAST_PATIENTS = 10
"""A line through fewer patients says little."""


@dataclass(frozen=True)
class DicePredictor:
    """Of one structure."""

    structure: str
    slope: float
    """0 or more."""
    intercept: float
    margin: float
    """The lower bound is the predicted Dice minus this; infinite with too few patients for one."""
    limit: float
    """The model abstains if the predicted Dice is lower."""
    always: bool
    """Whether every calibration case has the structure."""
    patients: int
    error: float
    """Mean absolute difference from the Dice of calibration patients that the line was not fitted on."""
    error_of_mean: float
    """The same of a prediction that is the mean Dice for every case."""
    covered: float
    """Share of calibration patients above a lower bound that was fitted on the others; NaN without a bound."""

    def predict(self, soft: np.ndarray) -> np.ndarray:
        """(n,) Dice from 0 to 1; NaN where the soft Dice is NaN, as nothing is drawn."""
        return np.clip(self.intercept + self.slope * np.asarray(soft, dtype=np.float64), 0.0, 1.0)

    def at_least(self, soft: np.ndarray) -> np.ndarray:
        """(n,) the lower bound, from 0 to 1."""
        return np.clip(self.predict(soft) - self.margin, 0.0, 1.0)


def fit_predictor(
    structure: str,
    soft: np.ndarray,
    dice: np.ndarray,
    patients: np.ndarray,
    *,
    always: bool,
    alpha: float,
    refused: float,
    least: float | None,
    rng: np.random.Generator,
) -> DicePredictor | None:
    """From the `soft` Dice and the true `dice` (n,) of cases of `patients`, by models that did not learn from them.

    Cases with NaN in one of them are left out. The limit is `least`, else the quantile `refused` of what is predicted
    for the calibration patients. None with fewer than 10 patients.
    """
    usable = np.isfinite(soft) & np.isfinite(dice)
    soft, dice, patients = soft[usable], dice[usable], patients[usable]
    unit, units = units_of(patients)
    if units < LEAST_PATIENTS:
        return None
    weights, fold = 1 / np.bincount(unit)[unit], (rng.permutation(units) % FOLDS)[unit]
    predicted, mean, bound = np.empty((3, len(soft)))
    for number in range(FOLDS):
        held, rest = fold == number, fold != number
        predicted[held] = _line(soft[rest], dice[rest], weights[rest])(soft[held])
        mean[held] = np.average(dice[rest], weights=weights[rest])
        # The bound of a fold never saw its patients: neither its line nor the lines behind its margin.
        bound[held] = predicted[held] - _margin(soft[rest], dice[rest], unit[rest], fold[rest], alpha)
    final = _line(soft, dice, weights)
    margin = quantile(predicted - dice, unit, alpha)
    covered = float(np.average(dice >= bound - 1e-12, weights=weights)) if np.isfinite(bound).all() else float("nan")
    return DicePredictor(
        structure,
        final.slope,
        final.intercept,
        margin,
        float(np.quantile(predicted, refused)) if least is None else least,
        always,
        units,
        float(np.average(np.abs(predicted - dice), weights=weights)),
        float(np.average(np.abs(mean - dice), weights=weights)),
        covered,
    )


@dataclass(frozen=True)
class _Line:
    slope: float
    intercept: float

    def __call__(self, soft: np.ndarray) -> np.ndarray:
        return np.clip(self.intercept + self.slope * soft, 0.0, 1.0)


def _line(soft: np.ndarray, dice: np.ndarray, weights: np.ndarray) -> _Line:
    """By least squares. A falling line says that the soft Dice tells nothing: then the mean."""
    x, y = (float(np.average(values, weights=weights)) for values in (soft, dice))
    spread = float(np.average((soft - x) ** 2, weights=weights))
    slope = float(np.average((soft - x) * (dice - y), weights=weights)) / spread if spread > 1e-12 else 0.0
    slope = max(slope, 0.0)
    return _Line(slope, y - slope * x)


def _margin(soft: np.ndarray, dice: np.ndarray, unit: np.ndarray, fold: np.ndarray, alpha: float) -> float:
    predicted = np.empty(len(soft))
    for number in np.unique(fold):
        held, rest = fold == number, fold != number
        weights = 1 / np.bincount(unit[rest])[unit[rest]]
        predicted[held] = _line(soft[rest], dice[rest], weights)(soft[held])
    return quantile(predicted - dice, unit, alpha)
