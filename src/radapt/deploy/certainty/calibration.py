"""Calibration: probabilities that are as often right as they say.

A calibration is a map softmax(A · log p + b) of the probabilities of C classes; the kinds differ in which numbers of A
(C, C) and b (C,) are free. A finding has the two columns (absent, present).

    temperature   A = I / T                     Guo et al. 2017
    bias          A = I / T, b                  Platt 1999 for two classes, Alexandari et al. 2020 for more
    vector        A diagonal, b                 Guo et al. 2017
    dirichlet     A, b                          Kull et al. 2019
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import log_softmax, softmax

from radapt.metrics.calibration import LEAST_PROBABILITY

Kind = Literal["identity", "temperature", "bias", "vector", "dirichlet"]


@dataclass(frozen=True, eq=False)
class Calibration:
    """The map of one outcome's probabilities: C classes, or absence and presence of a finding."""

    kind: Kind
    matrix: np.ndarray
    """(C, C), A."""
    bias: np.ndarray
    """(C,), b."""
    why: str
    """Why this kind was chosen, or why the probabilities stay as they are."""
    patients: int = 0
    """Patients it was fitted on."""
    loss_before: float = float("nan")
    """Log-loss in nats of the probabilities before calibration, each patient counted once; NaN without patients."""
    loss_after: float = float("nan")
    """The same after calibration, of patients that the calibration was not fitted on; NaN if nothing was fitted."""

    @classmethod
    def identity(cls, classes: int, why: str, patients: int = 0, loss: float = float("nan")) -> "Calibration":
        """The probabilities as they are."""
        return cls("identity", np.eye(classes), np.zeros(classes), why, patients, loss)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Calibration":
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        matrix, bias = (np.asarray(stored[name], dtype=np.float64) for name in ("matrix", "bias"))
        if bias.ndim != 1 or matrix.shape != (len(bias), len(bias)):
            raise ValueError(f"a calibration has a matrix of shape {matrix.shape} and a bias of shape {bias.shape}")
        losses = [float("nan") if stored[name] is None else float(stored[name]) for name in _LOSSES]
        return cls(stored["kind"], matrix, bias, stored["why"], int(stored["patients"]), *losses)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "matrix": self.matrix.tolist(),
            "bias": self.bias.tolist(),
            "why": self.why,
            "patients": self.patients,
            "loss_before": self.loss_before,
            "loss_after": self.loss_after,
        }

    @property
    def temperature(self) -> float:
        """T; NaN for a kind with more than one factor."""
        return 1 / float(self.matrix[0, 0]) if self.kind in ("identity", "temperature", "bias") else float("nan")

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """(..., C) probabilities -> (..., C), which sum to 1; unchanged bit for bit by the identity."""
        if self.kind == "identity":
            return np.array(probabilities, dtype=np.float64)
        return np.asarray(softmax(log_probabilities(probabilities) @ self.matrix.T + self.bias, axis=-1))


_LOSSES = "loss_before", "loss_after"


def log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Natural logarithm of the probabilities, which are raised to 1.2e-7 at least, as by the log-loss."""
    return np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), LEAST_PROBABILITY))


def losses(logits: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """(n,) negative log-likelihood in nats of class indices `truths` (n,) under `logits` (n, C)."""
    return -np.take_along_axis(log_softmax(logits, axis=1), truths[:, None], axis=1)[:, 0]


def as_columns(probabilities: np.ndarray) -> np.ndarray:
    """(n,) probabilities of a finding -> (n, 2): absent and present."""
    return np.stack([1 - probabilities, probabilities], axis=-1)
