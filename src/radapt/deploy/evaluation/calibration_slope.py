"""Calibration slope and intercept: whether probabilities are too extreme, or wrong on average (Cox 1958).

The outcomes are regressed on the log-probabilities: softmax(slope · log p + intercepts). A slope below 1 says that the
probabilities are too sure, above 1 that they are not sure enough. The intercept of a class, at slope 1, says by how
much its log-odds are too low (above 0) or too high.
"""

from dataclasses import dataclass

import numpy as np

from radapt.deploy.certainty.calibration import log_probabilities
from radapt.deploy.certainty.fit_calibration import Candidate, Outcomes, fit_map
from radapt.metrics import multiplicities, percentile_interval, units_of

RESAMPLES = 100
WEAK = 1e-4
"""L2 penalty that keeps the fit finite where a resample lacks a class."""
_STEPS, _CLOSE = 100, 1e-8


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % bootstrap interval by patient; NaN where undefined."""

    value: float
    low: float
    high: float


def slope_and_intercepts(
    probabilities: np.ndarray, truths: np.ndarray, patients: np.ndarray, rng: np.random.Generator
) -> tuple[Interval, tuple[Interval, ...]]:
    """The slope, and the intercept of each class, of `probabilities` (n, C) and class indices `truths` (n,).

    Cases of one patient share the weight of one. NaN if fewer than two classes occur.
    """
    unit, units = units_of(patients)
    nothing = Interval(np.nan, np.nan, np.nan)
    if len(np.unique(truths)) < 2:
        return nothing, (nothing,) * probabilities.shape[1]
    logs, weights = log_probabilities(probabilities), 1 / np.bincount(unit)[unit]
    point = _numbers(Outcomes(logs, truths, weights))
    drawn = [
        _numbers(Outcomes(logs, truths, weights * times[unit]))
        for times in multiplicities(rng, units, RESAMPLES)
        if len(np.unique(truths[times[unit] > 0])) > 1
    ]
    table = np.asarray(drawn).reshape(-1, len(point))
    found = [_interval(float(value), table[:, column]) for column, value in enumerate(point)]
    return found[0], tuple(found[1:])


def _interval(value: float, drawn: np.ndarray) -> Interval:
    return Interval(value, *(percentile_interval(drawn) if len(drawn) > 1 else (np.nan, np.nan)))


def _numbers(outcomes: Outcomes) -> np.ndarray:
    """(1 + C,) slope, then intercepts at slope 1, whose mean is 0."""
    matrix, _ = fit_map(Candidate("bias", WEAK), outcomes, 1.0)
    return np.concatenate([matrix[:1, 0], _intercepts(outcomes)])


def _intercepts(outcomes: Outcomes) -> np.ndarray:
    """(C,) by Newton's method on the offsets alone."""
    classes = outcomes.logs.shape[1]
    share = outcomes.weights / outcomes.weights.sum()
    observed = np.bincount(outcomes.truths, share, classes)
    offsets = np.zeros(classes)
    for _ in range(_STEPS):
        logits = outcomes.logs + offsets
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        gradient = share @ p - observed + WEAK * offsets
        hessian = np.diag(share @ p) - (p * share[:, None]).T @ p + WEAK * np.eye(classes)
        step = np.linalg.solve(hessian, -gradient)
        offsets = offsets + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < _CLOSE:
            break
    return offsets - offsets.mean()
