"""Fitted linear models, whether by logistic regression or by stochastic gradient descent, and what they answer."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from radapt.features import Design, Features
from radapt.models.folder import SavedModel
from radapt.models.state import ModelState
from radapt.protocols.candidates import Models
from radapt.protocols.feature_matrix import DesignMatrix, FeatureMatrix, MatrixLayout, blocks
from radapt.protocols.fitted import Model, TrainedModel
from radapt.protocols.row_products import row_products
from radapt.protocols.targets import Targets


@dataclass(frozen=True)
class LinearModels:
    """G linear models over the same columns: logits = x · weights + bias, with standardisation folded in."""

    targets: Targets
    weights: Tensor  # (K, G, c) float64
    bias: Tensor  # (G, c)
    converged: np.ndarray  # (G,)

    def predict(self, source: FeatureMatrix, rows: np.ndarray) -> np.ndarray:
        """Probabilities (G, n, outputs). Those of a single model do not depend on what other rows are asked for."""
        if len(self.bias) == 1:
            return self._of_one(source, rows)[None]
        logits = torch.empty(len(rows), self.bias.numel(), dtype=torch.float64)
        flat = self.weights.flatten(1)
        for place, values in blocks(source, rows):
            torch.mm(values.double(), flat, out=logits[place])
        logits = logits.view(-1, *self.bias.shape) + self.bias  # (n, G, c)
        linked = torch.sigmoid(logits) if self.targets.link == "sigmoid" else torch.softmax(logits, -1)
        return self.targets.answer(linked.transpose(0, 1).numpy())

    def _of_one(self, source: FeatureMatrix, rows: np.ndarray) -> np.ndarray:
        """(n, outputs)"""
        logits = np.empty((len(rows), self.bias.shape[1]))
        columns = self.weights[:, 0].T.numpy()
        for place, values in blocks(source, rows):
            logits[place] = row_products(values.numpy(), columns)
        return self.targets.probabilities(logits + self.bias[0].numpy())


@dataclass(frozen=True)
class LinearCandidates(Models):
    """Linear models to choose among, and the vectors they read; of these, each reads `widths` columns."""

    source: DesignMatrix
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

    source: DesignMatrix
    models: LinearModels

    @property
    def trained_model(self) -> "LinearProbe":
        return LinearProbe(self.source.design, self.source.layout, self.models)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.models.predict(self.source, rows)[0]


@dataclass(frozen=True, eq=False)
class LinearProbe(TrainedModel):
    """One fitted linear model, and how pooled features become the vectors it reads."""

    design: Design
    layout: MatrixLayout
    models: LinearModels

    def state(self, *, self_contained: bool = False) -> ModelState:
        tensors = {
            "weight": self.models.weights[:, 0],  # (K, c) float64, standardisation folded in
            "bias": self.models.bias[0],
            "fill": torch.from_numpy(self.design.fill),
        }
        facts = {"design": self.design.facts, "layout": self.layout.facts}
        return ModelState(tensors, self.layout.read_by(self.design), facts, self.models.targets.encoding)

    def on(self, cases: Features) -> LinearModel:
        return LinearModel(DesignMatrix.on(cases, self.design, self.layout), self.models)


def restore_linear(saved: SavedModel) -> LinearProbe:
    """The model that `LinearProbe.state` described."""
    facts, tensors = saved.card.facts, saved.tensors
    design = Design.from_facts(facts["design"], tensors["fill"].numpy())
    targets = Targets.from_encoding(saved.card.label_encoding)
    models = LinearModels(targets, tensors["weight"][:, None], tensors["bias"][None], np.ones(1, dtype=bool))
    return LinearProbe(design, MatrixLayout.from_facts(facts["layout"]), models)
