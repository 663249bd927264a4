"""A protocol on features: the nearest class centroid."""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from radapt.protocols import FeatureProblem, FitRecord, Fitted, Model, Protocol


@dataclass(frozen=True)
class Centroid(Protocol[FeatureProblem]):
    """A case belongs to the class whose mean training vector is nearest, by `temperature` more or less surely."""

    name: ClassVar[str] = "centroid"

    temperature: Annotated[float, Field(gt=0)] = 1.0  # an option, in studies too: {centroid: {temperature: 0.5}}

    def fit(self, problem: FeatureProblem, rng: np.random.Generator) -> Fitted[Model]:
        """Val is not needed: nothing is chosen. Test labels are blank, so they cannot be looked at."""
        rows = problem.rows("train")
        vectors = problem.source(rows, blocks=1).gather(np.arange(len(problem.labels)))  # (N, K) float32
        labels = np.stack([problem.labels == c for c in range(len(problem.outputs))], axis=1).astype(float)
        if problem.task == "multilabel":
            labels = problem.labels  # (N, F), NaN where unknown
        model = CentroidModel(vectors, _gaps(vectors, labels, rows), self.temperature, problem.task)
        return Fitted(model, model, FitRecord.unchosen({"kind": "centroid"}, train=len(rows)))


class CentroidModel(Model):
    """How much nearer each case lies to an output's centroid than to that of the other cases."""

    def __init__(self, vectors: np.ndarray, gaps: np.ndarray, temperature: float, task: str) -> None:
        self.logits, self.task = gaps / (temperature * vectors.shape[1]), task

    def predict(self, rows: np.ndarray) -> np.ndarray:
        logits = self.logits[rows]
        if self.task == "multilabel":
            return 1 / (1 + np.exp(-logits))
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponents / exponents.sum(axis=1, keepdims=True)


def _gaps(vectors: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(N, outputs); 0 for an output of which training has one kind of case only."""
    gaps = np.zeros(labels.shape)
    for output in range(labels.shape[1]):
        yes, no = (vectors[rows[labels[rows, output] == kind]] for kind in (1, 0))
        if len(yes) and len(no):
            far, near = (((vectors - group.mean(axis=0)) ** 2).sum(axis=1) for group in (no, yes))
            gaps[:, output] = far - near
    return gaps
