"""All that a model knows about its own certainty: calibration, conformal sets and novelty, fitted and applied."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from radapt.deploy.certainty.answers import Abstention, CertainAnswer
from radapt.deploy.certainty.calibration import Calibration, as_columns
from radapt.deploy.certainty.choose_calibration import calibrate
from radapt.deploy.certainty.conformal import ConformalSets, Score, check_alpha, fewest_patients, fit_sets
from radapt.deploy.certainty.novelty import Novelty
from radapt.errors import DataError, UsageError, counted
from radapt.metrics import units_of

ALPHA = 0.1
REFUSED = 0.05
"""Share of true patients that may be refused as unlike the training cases."""


@dataclass(frozen=True, eq=False)
class LabelledPredictions:
    """What certainty is fitted on: predictions for cases by models that did not train on their patients.

    N cases, M sequences. A case may be there several times, predicted from different subsets of its sequences.
    """

    probabilities: np.ndarray
    """(N, C) of classes, whose rows sum to 1, or (N, F) of findings."""
    truths: np.ndarray
    """(N,) class index, -1 unlabelled; or (N, F) with 1, 0 and NaN for unknown."""
    patients: np.ndarray
    """(N,)"""
    presence: np.ndarray
    """(N, M) bool: the sequences that each prediction was made from."""


@dataclass(frozen=True, eq=False)
class Certainty:
    """What to add to the probabilities of a model, fitted by `fit_certainty`."""

    outputs: tuple[str, ...]
    """Classes or findings."""
    several: bool
    """Whether `outputs` are findings, each yes or no."""
    sequences: tuple[str, ...]
    calibrations: tuple[Calibration, ...]
    """One of the classes, or one of each finding."""
    sets: tuple[ConformalSets, ...]
    """As `calibrations`."""
    novelty: Novelty | None = None
    """None if the model has no features to compare."""
    refused: float = REFUSED
    notes: tuple[str, ...] = field(default=())
    """What a reader should know about the fit."""

    @property
    def alpha(self) -> float:
        return self.sets[0].alpha

    @property
    def is_calibrated(self) -> bool:
        """Whether probabilities are changed: with few patients, or outcomes that are all alike, they stay."""
        return any(one.kind != "identity" for one in self.calibrations)

    @cached_property
    def abstention(self) -> Abstention:
        too_few = ""
        if all(one.holds_everything for one in self.sets):
            patients, need = max(one.patients for one in self.calibrations), fewest_patients(self.alpha)
            too_few = f"No set can be given: {counted(patients, 'calibration patient')}, {need} are needed."
        return Abstention(self.outputs, self.several, 1 - self.alpha, self.refused, too_few)

    def calibrated(self, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities (n, outputs) after calibration, of the same shape."""
        given = np.asarray(probabilities, dtype=np.float64)
        if not self.several:
            return self.calibrations[0].apply(given)
        columns = as_columns(given)
        return np.stack([one.apply(columns[:, i])[:, 1] for i, one in enumerate(self.calibrations)], axis=1)

    def contain(self, calibrated: np.ndarray, presence: np.ndarray) -> np.ndarray:
        """(n, C) bool, or (n, F, 2) bool with absent and present: the prediction sets of `calibrated` (n, outputs)."""
        if not self.several:
            return self.sets[0].contain(calibrated, presence)
        columns = as_columns(calibrated)
        return np.stack([one.contain(columns[:, i], presence) for i, one in enumerate(self.sets)], axis=1)

    def apply(
        self, probabilities: np.ndarray, decided: np.ndarray, presence: np.ndarray, features: np.ndarray | None = None
    ) -> list[CertainAnswer]:
        """The answer of each of n cases from its `probabilities` (n, outputs), made from the sequences `presence`
        (n, M), what was `decided` from them, (n,) class indices or (n, F) 1 and 0, and its `features`, as the novelty
        takes them: NaN where a sequence is missing.

        Without features, or if the model has none to compare, no case is refused as novel. A case is judged alone: the
        others do not change its answer. Raises DataError for arrays that do not fit.
        """
        probabilities, presence = np.asarray(probabilities, dtype=np.float64), np.asarray(presence, dtype=bool)
        check_arrays(probabilities, presence, len(self.outputs), len(self.sequences))
        calibrated = self.calibrated(probabilities)
        inside = self.contain(calibrated, presence)
        seen = np.all([one.seen(presence) for one in self.sets], axis=0)
        novelty = np.full(len(probabilities), np.nan)
        if features is not None and self.novelty is not None:
            novelty = self.novelty.p_values(features)
        answers = []
        for row, held in enumerate(presence):
            names = [name for name, there in zip(self.sequences, held, strict=True) if there]
            abstained, reason = self.abstention.judge(
                inside[row], decided[row], float(novelty[row]), bool(seen[row]), names
            )
            members = self.abstention.members(inside[row])
            answer = CertainAnswer(tuple(calibrated[row].tolist()), members, abstained, reason, float(novelty[row]))
            answers.append(answer)
        return answers


def fit_certainty(
    labelled: LabelledPredictions,
    *,
    outputs: Sequence[str],
    sequences: Sequence[str],
    several: bool = False,
    alpha: float = ALPHA,
    score: Score = "lac",
    novelty: Novelty | None = None,
    refused: float = REFUSED,
    rng: np.random.Generator,
) -> Certainty:
    """Calibration and conformal sets from predictions with known truths; a case without is left out of its outcome.

    The scores behind the sets are of probabilities whose calibration did not see their patient. `novelty` comes from
    `fit_novelty`. The same `rng` state gives the same result. Raises UsageError for `alpha` or `refused` outside (0, 1)
    and DataError for arrays that do not fit.
    """
    check_alpha(alpha)
    if not 0 < refused < 1:
        raise UsageError(f"refused is {refused!r}; expected a share of true patients between 0 and 1, such as 0.05.")
    probabilities = np.asarray(labelled.probabilities, dtype=np.float64)
    presence = np.asarray(labelled.presence, dtype=bool)
    check_arrays(probabilities, presence, len(outputs), len(sequences))
    units, _ = units_of(labelled.patients)
    truths = np.asarray(labelled.truths)
    expected = probabilities.shape if several else (len(probabilities),)
    if truths.shape != expected or len(units) != len(probabilities):
        raise DataError(
            f"Truths have shape {truths.shape} and patients ({len(units)},); expected {expected} and "
            f"({len(probabilities)},)."
        )
    calibrations, sets, notes = [], [], []
    for index in range(len(outputs) if several else 1):
        columns = as_columns(probabilities[:, index]) if several else probabilities
        truth = truths[:, index] if several else truths
        known = np.flatnonzero(np.isfinite(truth) & (truth >= 0))
        truth, unit = truth[known].astype(np.int64), units[known]
        if truth.max(initial=0) >= columns.shape[1]:
            raise DataError(f"A truth is {truth.max()}; expected 0 to {columns.shape[1] - 1}.")
        fitted = calibrate(columns[known], truth, unit, rng, "outcome" if several else "class")
        own = fit_sets(fitted.out_of_fold, truth, unit, presence[known], sequences=sequences, alpha=alpha, score=score)
        calibrations.append(fitted.calibration)
        sets.append(own)
        names = [f"no {outputs[index]}", str(outputs[index])] if several else [str(name) for name in outputs]
        subject = f"{outputs[index]}: " if several else ""
        notes += [f"{subject}{fitted.calibration.why}", *own.notes(names)]
    if novelty is None:
        notes.append("No features to compare: no case is refused as unlike the training cases.")
    else:
        notes += novelty.notes
    return Certainty(
        tuple(map(str, outputs)), several, tuple(map(str, sequences)), tuple(calibrations), tuple(sets), novelty,
        refused, tuple(notes),
    )  # fmt: skip


def check_arrays(probabilities: np.ndarray, presence: np.ndarray, outputs: int, sequences: int) -> None:
    """Raises DataError for shapes that do not fit, and probabilities out of [0, 1] or NaN."""
    if probabilities.ndim != 2 or probabilities.shape[1] != outputs:
        raise DataError(f"Probabilities have shape {probabilities.shape}; expected (cases, {outputs}).")
    if presence.shape != (len(probabilities), sequences):
        raise DataError(
            f"Presence has shape {presence.shape}; expected ({len(probabilities)}, {sequences}), "
            f"{counted(sequences, 'sequence')} of every case."
        )
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise DataError("Probabilities must lie in [0, 1] and not be NaN; pass a softmax or sigmoid, not logits.")
