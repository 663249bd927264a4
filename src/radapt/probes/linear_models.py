"""Fitted linear models, whether by logistic regression or by stochastic gradient descent, and what they answer."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from radapt.protocols.feature_matrix import FeatureMatrix, blocks
from radapt.protocols.fitted import Model
from radapt.protocols.selection import Models
from radapt.protocols.targets import Targets


@dataclass(frozen=True)
class LinearModels:
    """G linear models over the same columns: logits = x · weights + bias, with standardisation folded in."""

    targets: Targets
    weights: Tensor  # (K, G, c) float64
    bias: Tensor  # (G, c)
    converged: np.ndarray  # (G,)

    def predict(self, source: FeatureMatrix, rows: np.ndarray) -> np.ndarray:
        """Probabilities (G, n, outputs)."""
        logits = torch.empty(len(rows), self.bias.numel(), dtype=torch.float64)
        flat = self.weights.flatten(1)
        for place, values in blocks(source, rows):
            torch.mm(values.double(), flat, out=logits[place])
        logits = logits.view(-1, *self.bias.shape) + self.bias  # (n, G, c)
        linked = torch.sigmoid(logits) if self.targets.link == "sigmoid" else torch.softmax(logits, -1)
        return self.targets.answer(linked.transpose(0, 1).numpy())


@dataclass(frozen=True)
class LinearCandidates(Models):
    """Linear models to choose among, and the vectors they read; of these, each reads `widths` columns."""

    source: FeatureMatrix
    models: LinearModels
    outputs: tuple[str, ...]
    widths: tuple[int, ...]

    def predict_all(self, rows: np.ndarray) -> np.ndarray:
        return self.models.predict(self.source, rows)

    def pick(self, candidate: int) -> Model:
        one = slice(candidate, candidate + 1)
        kept = LinearModels(
            self.models.targets,
            self.models.weights[:, one].clone(),
            self.models.bias[one].clone(),
            self.models.converged[one],
        )
        return LinearModel(self.source, kept)

    def trained(self, candidate: int) -> int:
        """Weights of the columns it reads and biases; the weights of all others are zero."""
        return (self.widths[candidate] + 1) * self.models.bias.shape[1]

    def notes(self) -> tuple[str, ...]:
        open_ends = int((~self.models.converged).sum())
        said = self.models.targets.notes(self.outputs)
        return (*said, f"{open_ends} values of C did not converge.") if open_ends else said


@dataclass(frozen=True)
class LinearModel(Model):
    """One fitted linear model and the vectors it reads."""

    source: FeatureMatrix
    models: LinearModels

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.models.predict(self.source, rows)[0]
