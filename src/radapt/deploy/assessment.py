"""The slot for what a model knows about its own certainty: calibration, prediction sets and abstention.

`fit_assessor` is called at export with cases that the model did not learn from; what it gives is stored in the model
folder, and `read_assessor` makes it again when the folder is loaded. A model without one predicts all the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from radapt.deploy.case_vectors import CaseVectors


@dataclass(frozen=True, eq=False)
class CalibrationCases:
    """Predictions for n labelled cases that the model did not learn from.

    `probabilities` (n, outputs) are those of the study. `truths` are class indices (n,), or findings (n, F) of 1, 0 and
    NaN. `sequences` are those that each case has. `source` says where they come from: `val` or `out of fold`. `vectors`
    are the features of the cases and `training` those of the training cases, None where the model has none.
    """

    outputs: tuple[str, ...]
    probabilities: np.ndarray
    truths: np.ndarray
    patients: np.ndarray
    sequences: tuple[tuple[str, ...], ...]
    source: str
    vectors: CaseVectors | None = None
    training: CaseVectors | None = None

    @property
    def several(self) -> bool:
        """Whether each output is a finding of its own."""
        return self.truths.ndim == 2


@dataclass(frozen=True, eq=False)
class Assessment:
    """What is known about the predictions for n cases.

    `calibrated` (n, outputs) in [0, 1] and `sets`, the outputs that cannot be excluded, are None where the model has no
    such thing. `abstained` (n,) bool marks cases that the model does not decide, with `reasons`, '' for the others.
    """

    calibrated: np.ndarray | None
    sets: tuple[tuple[str, ...], ...] | None
    abstained: np.ndarray
    reasons: tuple[str, ...]


class Assessor(Protocol):
    """A fitted assessment."""

    def record(self) -> Mapping[str, Any]:
        """JSON-like, from which `read_assessor` makes an equal one."""
        ...

    def assess(
        self, probabilities: np.ndarray, sequences: tuple[tuple[str, ...], ...], vectors: CaseVectors | None
    ) -> Assessment:
        """Of predictions (n, outputs) for cases with these sequences and features."""
        ...


def fit_assessor(cases: CalibrationCases) -> Assessor | None:
    """What the cases teach; None if they are too few, or nothing is fitted."""
    del cases
    return None


def read_assessor(record: Mapping[str, Any] | None, training: CaseVectors | None) -> Assessor | None:
    """The assessor of a record; None without one. `training` are the features of the model's training cases."""
    del record, training
    return None
