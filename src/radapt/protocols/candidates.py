"""What a probe chooses among: candidates of one kind, cheap to fit together."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from radapt.protocols.fitted import Model
from radapt.protocols.problem import FeatureProblem


class Models(abc.ABC):
    """Candidates fitted together."""

    @abc.abstractmethod
    def predict_all(self, rows: np.ndarray) -> np.ndarray:
        """Probabilities of every candidate: (candidates, n, outputs)."""

    @abc.abstractmethod
    def pick(self, candidate: int) -> Model:
        """One of them."""

    @abc.abstractmethod
    def trained(self, candidate: int) -> int:
        """How many numbers of it were learned, counted from the model; what training cases are kept for is not."""

    def notes(self) -> tuple[str, ...]:
        """What a reader should know about the fit."""
        return ()


class Family(abc.ABC):
    """Candidates of one kind, cheap to fit together."""

    unit_length: ClassVar[bool] = False
    """Whether the vector of each modality has length 1 in what the candidates read."""

    @property
    @abc.abstractmethod
    def candidates(self) -> Sequence[Mapping[str, Any]]:
        """What each candidate is, JSON-like."""

    @property
    @abc.abstractmethod
    def default(self) -> int:
        """The candidate taken where there is nothing to choose on."""

    @property
    def paths(self) -> Sequence[Sequence[int]]:
        """Candidates that differ in how strongly they are regularised alone, in order, the most strongly first.

        Neighbours on a path are averaged where the choice is noisy. Each candidate is a path of its own by default.
        """
        return [[number] for number in range(len(self.candidates))]

    @abc.abstractmethod
    def fit(
        self, problem: FeatureProblem, rows: np.ndarray, rng: np.random.Generator, only: int | None = None
    ) -> Models:
        """Fit every candidate, or the `only` one, on the cases at `rows`."""
