"""Choosing among calibration maps: cross-validated log-loss by patient, and the temperature unless another is better.

Another kind is taken only if the temperature loses by more than one standard error, over patients, of the difference to
the best candidate. Extra parameters fit the noise of the few patients that calibrations usually have.
"""

from dataclasses import dataclass

import numpy as np

from radapt.deploy.certainty.calibration import Calibration, log_probabilities, losses
from radapt.deploy.certainty.fit_calibration import Candidate, Outcomes, fit_map, inverse_temperature
from radapt.errors import counted

FOLDS = 5
LEAST_PATIENTS = 20
"""Fewer patients with a known outcome leave the probabilities as they are."""
LEAST_OF_CLASS = 5
"""Kinds with a parameter for each class need as many patients of each class."""
RIDGES = 0.1, 0.01, 0.001
CANDIDATES = (
    Candidate("temperature"),
    *(Candidate("bias", ridge) for ridge in RIDGES),
    *(Candidate("vector", ridge) for ridge in RIDGES),
    *(Candidate("dirichlet", ridge) for ridge in RIDGES),
)
"""In the order of preference: fewer parameters first, then the stronger penalty."""


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A calibration, and the probabilities (n, C) of the cases it was fitted on by maps that did not see their
    patient."""

    calibration: Calibration
    out_of_fold: np.ndarray


def calibrate(
    probabilities: np.ndarray, truths: np.ndarray, units: np.ndarray, rng: np.random.Generator, noun: str = "class"
) -> Calibrated:
    """The calibration of `probabilities` (n, C) with class indices `truths` (n,) of the patients `units` (n,).

    The probabilities come from models that did not train on these patients. Cases of one patient share the weight of
    one patient. With fewer than 20 patients, or outcomes of a single class, the probabilities stay as they are, and
    `why` says so; with fewer than 5 patients of a class only a temperature is fitted. The same `rng` state gives the
    same calibration.
    """
    classes = probabilities.shape[1]
    patients = len(np.unique(units))
    outcomes = Outcomes(log_probabilities(probabilities), truths, weights_of(units))
    before = _mean_loss(losses(outcomes.logs, truths), outcomes.weights)
    if patients < LEAST_PATIENTS or len(np.unique(truths)) < 2:
        why = f"Not calibrated: {counted(patients, 'patient')} with a known outcome, {LEAST_PATIENTS} are needed."
        if patients >= LEAST_PATIENTS:
            why = f"Not calibrated: all {counted(patients, 'patient')} have the same {noun}."
        return Calibrated(Calibration.identity(classes, why, patients, before), np.array(probabilities, dtype=float))
    fewest = min(len(np.unique(units[truths == label])) for label in range(classes))
    tried = _tried(classes) if fewest >= LEAST_OF_CLASS else CANDIDATES[:1]
    folds = folds_by_patient(units, truths, FOLDS, rng)
    logits = _out_of_fold(tried, outcomes, folds)
    per_patient = np.stack([_by_patient(losses(each, truths), units) for each in logits])
    chosen = _choose(per_patient)
    matrix, bias = fit_map(tried[chosen], outcomes, inverse_temperature(outcomes))
    after = float(per_patient[chosen].mean())
    calibration = Calibration(
        tried[chosen].kind, matrix, bias, _why(tried, per_patient, chosen, fewest), patients, before, after
    )
    shifted = np.exp(logits[chosen] - logits[chosen].max(axis=1, keepdims=True))
    return Calibrated(calibration, shifted / shifted.sum(axis=1, keepdims=True))


def weights_of(units: np.ndarray) -> np.ndarray:
    """(n,) weight of each case: the cases of one patient share a weight of 1."""
    _, position, counts = np.unique(units, return_inverse=True, return_counts=True)
    return 1 / counts[position]


def folds_by_patient(units: np.ndarray, truths: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) fold of each case: patients are dealt out class by class, by the class of their first case."""
    _, first, position = np.unique(units, return_index=True, return_inverse=True)
    order = np.lexsort((rng.random(len(first)), truths[first]))
    fold = np.empty(len(first), dtype=np.int64)
    fold[order] = np.arange(len(first)) % folds
    return fold[position]


def _tried(classes: int) -> tuple[Candidate, ...]:
    # For two classes the bias is Platt's scaling; the larger maps only add a second factor.
    return tuple(each for each in CANDIDATES if classes > 2 or each.kind in ("temperature", "bias"))


def _out_of_fold(tried: tuple[Candidate, ...], outcomes: Outcomes, folds: np.ndarray) -> np.ndarray:
    """(K, n, C) logits of every case by each candidate's map that was fitted on the other folds."""
    logits = np.empty((len(tried), *outcomes.logs.shape))
    for fold in np.unique(folds):
        held = folds == fold
        others = outcomes.rows(~held)
        inverse = inverse_temperature(others)
        for number, candidate in enumerate(tried):
            matrix, bias = fit_map(candidate, others, inverse)
            logits[number, held] = outcomes.logs[held] @ matrix.T + bias
    return logits


def _by_patient(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """(patients,) mean of the values (n,) of each patient's cases."""
    _, position, counts = np.unique(units, return_inverse=True, return_counts=True)
    return np.bincount(position, values) / counts


def _choose(per_patient: np.ndarray) -> int:
    """The first of the candidates (K, patients) whose loss is within one standard error of the best one's."""
    best = int(per_patient.mean(axis=1).argmin())
    excess = per_patient - per_patient[best]
    error = excess.std(axis=1, ddof=1) / np.sqrt(per_patient.shape[1])
    return int(np.flatnonzero(excess.mean(axis=1) <= error)[0])


def _why(tried: tuple[Candidate, ...], per_patient: np.ndarray, chosen: int, fewest: int) -> str:
    if len(tried) == 1:
        return f"Temperature only: the rarest class has {counted(fewest, 'patient')}, {LEAST_OF_CLASS} are needed."
    means = per_patient.mean(axis=1)
    best = int(means.argmin())
    if chosen == best:
        return f"{tried[chosen].kind}: the least cross-validated log-loss, {means[best]:.4f}."
    return (
        f"{tried[chosen].kind}: its cross-validated log-loss, {means[chosen]:.4f}, is within one standard error of the "
        f"least, {means[best]:.4f} ({tried[best].kind})."
    )


def _mean_loss(values: np.ndarray, weights: np.ndarray) -> float:
    return float(weights @ values / weights.sum()) if len(values) else float("nan")
