"""The one shape of every way to judge or adapt a backbone: fit on what may be seen, then predict."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from radapt.protocols.problem import Problem


class Model(abc.ABC):
    """Something fitted that answers for any case of the cohort."""

    @abc.abstractmethod
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Probabilities of the cases at the indices `rows` (n,): float64 (n, outputs) in [0, 1].

        With classes each row sums to 1 (binary too has both columns); findings are independent.
        """


@dataclass(frozen=True)
class Fitted:
    """What a protocol ends with.

    `final` was fitted on train and val; it answers for test sets. `before_refit` is the same choice fitted without
    val; it answers for val, which `final` has learned by heart. `chosen` is JSON-like: what was chosen among
    what, with the numbers on val that decided.
    """

    final: Model
    before_refit: Model
    chosen: Mapping[str, Any]

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.final.predict(rows)

    def predict_val(self, rows: np.ndarray) -> np.ndarray:
        return self.before_refit.predict(rows)


class Protocol(abc.ABC):
    """A way to judge a backbone. Its options are the fields of the (frozen) class that implements it."""

    name: ClassVar[str]

    @abc.abstractmethod
    def fit(self, problem: Problem, rng: np.random.Generator) -> Fitted:
        """Fit on a problem, whose test labels are already blanked. Equal `rng` states give equal results.

        Raises DataError if there is too little to learn from.
        """
