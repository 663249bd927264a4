"""Fitting one calibration map: a minimum of the log-loss in which every patient counts once."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

from radapt.deploy.certainty.calibration import Kind, losses

WIDEST = 4.0
"""Bound on |log T|: temperatures lie between 1/55 and 55."""
_STEPS = 50
_SHORTEST = 1e-10
_TOLERANCE = 1e-14  # nats: Newton's method stops where a step could gain no more


@dataclass(frozen=True)
class Candidate:
    """A kind of map with the L2 penalty on how far it departs from the temperature alone."""

    kind: Kind
    ridge: float = 0.0


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What a map is fitted on: log-probabilities (n, C), class indices (n,) and weights (n,), which sum to the number
    of patients."""

    logs: np.ndarray
    truths: np.ndarray
    weights: np.ndarray

    def rows(self, chosen: np.ndarray) -> "Outcomes":
        return Outcomes(self.logs[chosen], self.truths[chosen], self.weights[chosen])


def fit_map(candidate: Candidate, outcomes: Outcomes, inverse: float) -> tuple[np.ndarray, np.ndarray]:
    """A (C, C) and b (C,) of the candidate.

    `inverse` is the `inverse_temperature` of the same outcomes, which the other kinds start from. `ridge` penalises
    half the sum of squares of what they add to it, relative to the log-loss per patient.
    """
    classes = outcomes.logs.shape[1]
    base = np.vstack([np.eye(classes) * inverse, np.zeros(classes)])  # (C + 1, C), the bias last
    if candidate.kind != "temperature":
        base = base + _minimum(_Objective(outcomes, base, _directions(candidate.kind, classes), candidate.ridge))
    return base[:-1].T, base[-1]


def _directions(kind: Kind, classes: int) -> np.ndarray:
    """(K, C + 1, C) what each of the K free parameters adds to A transposed, over b."""
    cells = np.eye((classes + 1) * classes).reshape(-1, classes + 1, classes)
    diagonal, full = cells[: classes * classes : classes + 1], cells[: classes * classes]
    matrix = {"bias": diagonal.sum(axis=0, keepdims=True), "vector": diagonal, "dirichlet": full}[kind]
    return np.concatenate([matrix, cells[classes * classes :]])


class _Objective:
    """Log-loss per patient, plus the penalty, with gradient and Hessian in the free parameters; convex."""

    def __init__(self, outcomes: Outcomes, base: np.ndarray, directions: np.ndarray, ridge: float) -> None:
        self._inputs = np.hstack([outcomes.logs, np.ones((len(outcomes.logs), 1))])  # (n, C + 1)
        self._share = outcomes.weights / outcomes.weights.sum()
        self._truths, self._base, self._ridge = outcomes.truths, base, ridge
        self._hot = np.eye(base.shape[1])[outcomes.truths]
        self.directions = directions
        self._flat = directions.reshape(len(directions), -1)

    def value(self, point: np.ndarray) -> float:
        loss = losses(self._logits(point), self._truths)
        return float(self._share @ loss) + self._ridge / 2 * float(point @ point)

    def derivatives(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(K,) and (K, K)"""
        p, x = softmax(self._logits(point), axis=1), self._inputs
        gradient = (x.T @ ((p - self._hot) * self._share[:, None])).ravel()
        weighted = p * self._share[:, None]
        outer = (x[:, :, None] * p[:, None, :]).reshape(len(x), -1)  # (n, (C + 1) C)
        curvature = -(outer * self._share[:, None]).T @ outer
        classes, inputs = p.shape[1], x.shape[1]
        blocks = curvature.reshape(inputs, classes, inputs, classes)
        for label in range(classes):
            blocks[:, label, :, label] += (x * weighted[:, label, None]).T @ x
        hessian = self._flat @ curvature @ self._flat.T
        return self._flat @ gradient + self._ridge * point, hessian + self._ridge * np.eye(len(point))

    def _logits(self, point: np.ndarray) -> np.ndarray:
        return self._inputs @ (self._base + np.tensordot(point, self.directions, axes=1))


def _minimum(objective: _Objective) -> np.ndarray:
    """(C + 1, C) at the minimum, by Newton's method; a step is halved until the value falls (Armijo)."""
    point = np.zeros(len(objective.directions))
    value = objective.value(point)
    for _ in range(_STEPS):
        gradient, hessian = objective.derivatives(point)
        step = np.linalg.solve(hessian, -gradient)
        slope, length = float(gradient @ step), 1.0
        if -slope < _TOLERANCE:
            break
        while (next_value := objective.value(point + length * step)) > value + 1e-4 * length * slope:
            length /= 2
            if length < _SHORTEST:
                return np.tensordot(point, objective.directions, axes=1)
        point, value = point + length * step, next_value
    return np.tensordot(point, objective.directions, axes=1)


def inverse_temperature(outcomes: Outcomes) -> float:
    """1 / T of the least log-loss, with a standard normal prior on log T.

    The prior weighs as much as about one patient. It keeps T finite where every prediction is right.
    """
    ours = np.take_along_axis(outcomes.logs, outcomes.truths[:, None], axis=1)[:, 0]

    def objective(log_inverse: float) -> float:
        factor = np.exp(log_inverse)
        loss = logsumexp(factor * outcomes.logs, axis=1) - factor * ours
        return float(outcomes.weights @ loss) + log_inverse**2 / 2

    found = minimize_scalar(objective, bounds=(-WIDEST, WIDEST), method="bounded", options={"xatol": 1e-10})
    return float(np.exp(found.x))
