"""Whether the predicted Dice of a model's masks holds in another hospital."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from radapt.cohorts import Case, Cohort
from radapt.deploy.deployed_model import DeployedModel
from radapt.deploy.deployment import EvaluationScore
from radapt.deploy.evaluation.coverage import Coverage, coverage_of
from radapt.deploy.inputs.resolve import resolve_inputs
from radapt.deploy.masks.mask_certainty import MaskCases, MaskCertainty
from radapt.deploy.predict_cases import failed, predict_cases
from radapt.deploy.prediction import CasePrediction
from radapt.durable import plain
from radapt.errors import DataError, UsageError, counted, suggest
from radapt.features.case_vectors import CaseVectors
from radapt.images import Volume, read_mask, resampled, same_grid
from radapt.images.masks import read_labels
from radapt.printable import printable
from radapt.progress import ProgressMaker, silent


@dataclass(frozen=True)
class DiceCheck:
    """Of one structure, where it is drawn or present; each patient counted once."""

    structure: str
    patients: int
    dice: float
    """Mean; 0 where one mask has the structure and the other has not."""
    predicted: float
    """Mean predicted Dice."""
    error: float
    """Mean absolute difference of the two, where something is drawn."""
    coverage: Coverage
    """How often the Dice reaches its lower bound."""


@dataclass(frozen=True)
class MaskEvaluation:
    """Everything that `radapt evaluate-model` says about a model of masks."""

    model: str
    cohort: str
    cases: int
    patients: int
    alpha: float
    structures: tuple[DiceCheck, ...]
    abstained: float
    """Share of cases, each patient counted once."""
    dice: float
    """Mean over cases and structures."""
    dice_answered: float
    """Of the cases in which the model does not abstain; NaN if there are none."""
    notes: tuple[str, ...]

    @property
    def scores(self) -> tuple[EvaluationScore, ...]:
        """For the table of scores."""
        return tuple(
            EvaluationScore("test", f"{name}:{each.structure}", value, None, None, each.patients)
            for each in self.structures
            for name, value in (("dice", each.dice), ("predicted_dice", each.predicted), ("error", each.error))
        )

    def to_json(self) -> dict[str, Any]:
        """NaN is null."""
        return dict(plain(asdict(self)))


@dataclass(frozen=True, eq=False)
class MeasuredMasks:
    """The masks of n labelled cases, with the features of each where the model has any, and what was left out."""

    cases: MaskCases
    vectors: CaseVectors | None
    notes: tuple[str, ...]

    def at(self, rows: np.ndarray) -> "MeasuredMasks":
        """The cases at the indices `rows`."""
        own = self.cases
        cases = MaskCases(
            own.structures, own.soft[rows], own.dice[rows], own.present[rows], own.patients[rows], own.source
        )
        return MeasuredMasks(cases, None if self.vectors is None else self.vectors.at(rows), self.notes)


def measured_masks(
    model: DeployedModel,
    cohort: Cohort,
    cache: Path,
    mapping: Mapping[str, str] | None = None,
    progress: ProgressMaker = silent,
) -> MeasuredMasks:
    """The model's masks against those of the cohort; cases that cannot be read are left out.

    Raises UsageError if no case has a mask of a structure that the model draws.
    """
    labels = _labels(model, cohort)
    rows = np.flatnonzero([case.mask is not None for case in cohort])
    if not len(rows):
        raise UsageError(f"Cohort {cohort.name} has no case with a mask. Give masked cases in the column mask.")
    some = cohort.select(rows)
    resolved = resolve_inputs([some], model.deployment.sequences, model.card.kind, mapping, progress)
    cases = {case.case: case for case in some}
    values = {name: value for value, name in model.mask_labels.items()}
    measured, bad = [], list(resolved.failures)
    with progress(len(resolved.cohort), f"Segmenting {cohort.name}", "cases") as advance:
        for found in predict_cases(model, resolved.cohort, cache):
            done = _measured(found, cases[found.case], labels, cohort.mask_labels or labels, values, cache)
            bad += [found.case] if isinstance(done, CasePrediction) else []
            measured += [] if isinstance(done, CasePrediction) else [(found.case, *done)]
            advance(1)
    if not measured:
        raise UsageError(f"No case of {cohort.name} could be segmented: {', '.join(bad[:5])}.")
    notes = [f"{counted(len(bad), 'case')} could not be segmented: {', '.join(bad[:5])}."] if bad else []
    names, soft, dice, present = zip(*measured, strict=True)
    place = {case.case: row for row, case in enumerate(resolved.cohort)}
    own = resolved.cohort.select(np.asarray([place[name] for name in names]))
    table = MaskCases(
        tuple(labels.values()), np.stack(soft), np.stack(dice), np.stack(present),
        np.asarray([cases[name].patient for name in names], dtype=object), cohort.name,
    )  # fmt: skip
    return MeasuredMasks(table, model.with_cache(cache).vectors(own, cache), tuple(notes))


def _labels(model: DeployedModel, cohort: Cohort) -> dict[int, str]:
    """{value in the cohort's masks: structure of the model}"""
    known = {name.casefold(): name for name in model.mask_labels.values()}
    given = cohort.mask_labels or model.mask_labels
    found = {value: known[name.casefold()] for value, name in given.items() if name.casefold() in known}
    if not found:
        name = next(iter(given.values()))
        raise UsageError(
            f"Cohort {cohort.name} has no structure that the model draws. {suggest(name, tuple(known.values()))}"
        )
    return found


def _measured(
    found: CasePrediction,
    case: Case,
    labels: Mapping[int, str],
    declared: Mapping[int, str],
    values: Mapping[str, int],
    cache: Path,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | CasePrediction:
    """The soft Dice, the Dice and the presence (S,) of a case; a failed prediction if its mask cannot be read."""
    if found.failed or found.mask is None or found.soft_dice is None:
        return found
    try:
        truth, drawn = _same_grid(case, found.mask, declared, cache)
    except DataError as error:
        return failed(case.case, str(error))
    dice, present = np.full((2, len(labels)), np.nan)
    for column, (value, name) in enumerate(labels.items()):
        own, other = truth == value, drawn == values[name]
        total = int(own.sum() + other.sum())
        dice[column] = 2 * int((own & other).sum()) / total if total else np.nan
        present[column] = own.any()
    soft = np.asarray([found.soft_dice.get(name, np.nan) for name in labels.values()])
    return soft, dice, present.astype(bool)


def _same_grid(case: Case, mask: Volume, labels: Mapping[int, str], cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """The true and the predicted mask in the grid of the former."""
    assert case.mask is not None
    arrays = cache / "arrays"
    raw = read_labels(case.mask, arrays)
    truth = read_mask(case.mask, mask if same_grid(mask, raw) is None else raw, labels, array_cache=arrays)
    return truth.array, resampled(mask, truth, nearest=True).array


def evaluate_masks(
    model: DeployedModel, certainty: MaskCertainty, measured: MeasuredMasks, cohort: str
) -> MaskEvaluation:
    """The evaluation of one model, with a `certainty` of its own or another, on masked cases of `cohort`."""
    cases, vectors = measured.cases, measured.vectors
    answers = [
        certainty.answer(
            dict(zip(cases.structures, soft, strict=True)),
            None if vectors is None else vectors.at(np.asarray([row])),
        )
        for row, soft in enumerate(cases.soft)
    ]
    weights = _weights(cases.patients)
    abstained = np.asarray([answer.abstained for answer in answers])
    mean = _row_means(cases.dice)
    defined = np.isfinite(mean)
    kept = defined & ~abstained
    known = {each.structure for each in certainty.predictors}
    checks = []
    for column, name in enumerate(cases.structures):
        if name in known:
            predicted, least = (
                np.asarray([getattr(each, part)[name] for each in answers]) for part in ("dice", "at_least")
            )
            if check := _check(name, cases.dice[:, column], predicted, least, cases.patients, 1 - certainty.alpha):
                checks.append(check)
    return MaskEvaluation(
        model.deployment.name,
        cohort,
        len(answers),
        len(set(cases.patients)),
        certainty.alpha,
        tuple(checks),
        float(np.average(abstained, weights=weights)),
        float(np.average(mean[defined], weights=weights[defined])) if defined.any() else float("nan"),
        float(np.average(mean[kept], weights=weights[kept])) if kept.any() else float("nan"),
        measured.notes,
    )


def _check(
    name: str, dice: np.ndarray, predicted: np.ndarray, least: np.ndarray, patients: np.ndarray, stated: float
) -> DiceCheck | None:
    defined, drawn = np.isfinite(dice), np.isfinite(dice) & np.isfinite(predicted)
    if not drawn.any():
        return None
    weights = _weights(patients[drawn])
    coverage = coverage_of(name, dice[drawn] >= least[drawn] - 1e-9, np.ones(drawn.sum()), patients[drawn], stated)
    return DiceCheck(
        name,
        len(set(patients[defined])),
        float(np.average(dice[defined], weights=_weights(patients[defined]))),
        float(np.average(predicted[drawn], weights=weights)),
        float(np.average(np.abs(predicted - dice)[drawn], weights=weights)),
        coverage,
    )


def _row_means(dice: np.ndarray) -> np.ndarray:
    """(n,) mean over the structures that are defined; NaN where none is."""
    count = np.isfinite(dice).sum(axis=1)
    return np.where(count > 0, np.nansum(dice, axis=1) / np.maximum(count, 1), np.nan)


def _weights(patients: np.ndarray) -> np.ndarray:
    _, unit, counts = np.unique(patients.astype(str), return_inverse=True, return_counts=True)
    return 1 / counts[unit]


_VERDICTS = {
    "below": "fewer than stated: do not rely on the bound here, or recalibrate",
    "above": "more than stated: the bound is lower than it needs to be",
    "inside": "as stated",
}


def mask_sentences(found: MaskEvaluation, study: Sequence[EvaluationScore] = ()) -> tuple[str, ...]:
    """One finding each; `study` are the numbers of the study about the model, for comparison."""
    then = [f"{own.split} of the study {own.value:.3f}" for own in study if own.metric == "dice" and own.value]
    lines = [
        f"{printable(found.cohort)}: {counted(found.cases, 'masked case')}, {counted(found.patients, 'patient')}.",
        *found.notes,
        f"dice: {found.dice:.3f}{'; ' if then else ''}{', '.join(then)}.",
    ]
    for each in found.structures:
        own = each.coverage
        lines.append(
            f"{printable(each.structure)}: Dice {each.dice:.3f}, predicted {each.predicted:.3f}, mean error "
            f"{each.error:.3f}; {100 * own.covered:.1f} % of {counted(own.patients, 'patient')} reach the lower bound "
            f"of {100 * (1 - found.alpha):.3g} % ({100 * own.low:.1f} % to {100 * own.high:.1f} % by chance): "
            f"{_VERDICTS[own.verdict]}."
        )
    answered = "" if found.dice_answered != found.dice_answered else f"; dice of the others {found.dice_answered:.3f}"
    lines.append(f"The model abstains in {100 * found.abstained:.1f} % of the patients{answered}.")
    return tuple(lines)
