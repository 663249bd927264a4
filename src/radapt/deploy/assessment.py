"""What a model folder knows about its own certainty: fitted at export, stored as a record, applied to new cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radapt.deploy.certainty import (
    ALPHA,
    Certainty,
    LabelledPredictions,
    Novelty,
    certainty_record,
    fit_certainty,
    fit_novelty,
    read_certainty,
)
from radapt.errors import counted
from radapt.features.case_vectors import CaseVectors

SEED = 0
"""Of the draws inside the fit: the same run gives the same record."""


@dataclass(frozen=True, eq=False)
class TrainingVectors:
    """The features of the training cases, with the patient and the site (None if unknown) of each."""

    vectors: CaseVectors
    patients: np.ndarray
    sites: np.ndarray | None


@dataclass(frozen=True, eq=False)
class CalibrationCases:
    """Predictions for n labelled cases by models that did not learn from them.

    `probabilities` (n, outputs) are those of the study. `truths` are class indices (n,), or findings (n, F) of 1, 0 and
    NaN. `sequences` are those that each case has. `source` says where they come from: `val` or `out of fold`.
    """

    outputs: tuple[str, ...]
    probabilities: np.ndarray
    truths: np.ndarray
    patients: np.ndarray
    sequences: tuple[tuple[str, ...], ...]
    source: str

    @property
    def several(self) -> bool:
        """Whether each output is a finding of its own."""
        return self.truths.ndim == 2


@dataclass(frozen=True, eq=False)
class Assessment:
    """What is known about the predictions for n cases: `calibrated` (n, outputs), the `sets` of outputs that cannot be
    excluded, and which cases the model does not decide, `abstained` (n,), with `reasons`, '' where there is nothing to
    say."""

    calibrated: np.ndarray
    sets: tuple[tuple[str, ...], ...]
    abstained: np.ndarray
    reasons: tuple[str, ...]

    def doubt(self, decided: np.ndarray) -> np.ndarray:
        """(n,): the calibrated probability that the class indices `decided` (n,) are wrong. More than one half where
        the study's decision weighs classes and is for one that is less probable."""
        return 1 - np.take_along_axis(self.calibrated, decided[:, None], axis=1)[:, 0]


@dataclass(frozen=True, eq=False)
class Assessor:
    """A fitted assessment."""

    certainty: Certainty

    @property
    def alpha(self) -> float:
        return self.certainty.alpha

    @property
    def record(self) -> Mapping[str, Any]:
        """JSON-like, from which `read_assessor` makes an equal one."""
        return certainty_record(self.certainty)

    def presence(self, sequences: Sequence[tuple[str, ...]]) -> np.ndarray:
        """(n, M) bool: which of the model's sequences each case has."""
        return _presence(sequences, self.certainty.sequences)

    def assess(
        self,
        probabilities: np.ndarray,
        decided: np.ndarray,
        sequences: Sequence[tuple[str, ...]],
        vectors: CaseVectors | None,
    ) -> Assessment:
        """Of predictions (n, outputs) and decisions, (n,) class indices or (n, F) 1 and 0, for cases with these
        sequences and features; a case does not depend on others."""
        novelty = self.certainty.novelty
        comparable = vectors is not None and novelty is not None and vectors.modalities == novelty.sequences
        features = vectors.vectors if vectors is not None and comparable else None
        presence = self.presence(sequences)
        answers = self.certainty.apply(probabilities, decided, presence, features)
        return Assessment(
            np.asarray([answer.calibrated for answer in answers]).reshape(probabilities.shape),
            tuple(answer.members for answer in answers),
            np.asarray([answer.abstained for answer in answers], dtype=bool),
            tuple(answer.reason for answer in answers),
        )


def fit_assessor(
    cases: CalibrationCases, modalities: tuple[str, ...], training: TrainingVectors | None, alpha: float = ALPHA
) -> tuple[Assessor, tuple[str, ...]]:
    """Calibration and prediction sets of coverage 1 - `alpha`, and novelty where there are features of the training
    cases; with notes. With fewer patients than such sets need, a set holds everything and the model abstains.

    Raises UsageError for `alpha` outside 0 to 1.
    """
    rng = np.random.default_rng(SEED)
    novelty = None if training is None else novelty_of(training, rng)
    labelled = LabelledPredictions(
        cases.probabilities, cases.truths, cases.patients, _presence(cases.sequences, modalities)
    )
    certainty = fit_certainty(
        labelled, outputs=cases.outputs, sequences=modalities, several=cases.several, alpha=alpha, novelty=novelty,
        rng=rng,
    )  # fmt: skip
    patients = counted(len(set(cases.patients)), "patient")
    origin = f"Calibration and prediction sets are from {patients} ({cases.source})."
    return Assessor(certainty), (origin, *certainty.notes)


def novelty_of(training: TrainingVectors, rng: np.random.Generator) -> Novelty | None:
    """The comparison with training cases; None without any."""
    if not len(training.patients):
        return None
    own = training.vectors
    return fit_novelty(own.vectors, training.patients, own.modalities, sites=training.sites, rng=rng)


def read_assessor(record: Mapping[str, Any] | None, training: CaseVectors | None) -> Assessor | None:
    """The assessor of a record; None without one. `training` are the features of the model's training cases.

    Raises UsageError for a record that was changed.
    """
    if record is None:
        return None
    return Assessor(read_certainty(record, None if training is None else training.vectors))


def _presence(sequences: Sequence[tuple[str, ...]], names: tuple[str, ...]) -> np.ndarray:
    """(n, M) bool"""
    return np.asarray([[name in own for name in names] for own in sequences], dtype=bool).reshape(-1, len(names))
