"""`radapt evaluate-model`: a model on another cohort, and the files that say how it does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radapt.cohorts import Cohort, read_cohort
from radapt.cohorts.issue import raise_errors
from radapt.deploy.deployed_model import DeployedModel, load_deployed
from radapt.deploy.evaluation.evaluation import ModelEvaluation, evaluate_cases
from radapt.deploy.evaluation.labelled_cases import LabelledCases, labelled_cases
from radapt.deploy.evaluation.masks import (
    MaskEvaluation,
    MeasuredMasks,
    evaluate_masks,
    mask_sentences,
    measured_masks,
)
from radapt.deploy.evaluation.recalibrate import (
    check_count,
    draw_patients,
    recalibrated,
    recalibrated_masks,
    write_recalibrated,
)
from radapt.deploy.evaluation.sentences import sentences
from radapt.deploy.masks.predicted_dice import LEAST_PATIENTS
from radapt.deploy.patients import working_cache
from radapt.durable import write_json, write_text
from radapt.errors import UsageError, counted
from radapt.progress import ProgressMaker, silent

EVALUATION, SCORES, SUMMARY, MODEL = "evaluation.json", "scores.csv", "summary.txt", "model"

_OF_LEARNING = frozenset(
    ("one-class", "too-few-cases", "no-masks", "patient-split", "patient-fold", "no-folds", "one-fold",
     "too-many-folds", "no-sites", "merge-site", "folds-column", "fold-gap")
)  # fmt: skip
"""Errors of a cohort that is to be learned from, which one to be tested may have."""


@dataclass(frozen=True)
class Evaluated:
    """What was found with the model as it is, and with it recalibrated, on the same cases."""

    before: ModelEvaluation | MaskEvaluation
    after: ModelEvaluation | MaskEvaluation | None
    text: tuple[str, ...]
    """In plain sentences."""


def evaluate_model(
    folder: Path | str,
    cohort: Path | str,
    out: Path | str | None = None,
    *,
    recalibrate: int | None = None,
    mapping: Mapping[str, str] | None = None,
    seed: int = 0,
    device: str = "cpu",
    cache: Path | str | None = None,
    progress: ProgressMaker = silent,
) -> Evaluated:
    """Whether accuracy, calibration, coverage and features of the model in `folder` hold on the labelled cases of a
    `cohort` file; of a model of masks, whether the predicted Dice does.

    With `out` a folder is written: evaluation.json, scores.csv and summary.txt. With `recalibrate` so many cases, of
    patients drawn with `seed`, refit calibration and sets; `out`/model is the new model, and both are evaluated on the
    other cases. Raises UsageError for a model without calibration, a cohort without a label or structure that the model
    knows, and `recalibrate` without `out`.
    """
    model = load_deployed(folder, device=device)
    place = None if out is None else Path(out)
    known = model.mask_certainty or model.assessor
    if known is None:
        raise UsageError(_UNCALIBRATED[model.draws_masks].format(folder))
    if recalibrate is not None and place is None:
        raise UsageError("--recalibrate writes a new model; give its folder with --out.")
    if place is not None and place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UsageError(f"{place} exists already and is left alone. Give a new folder with --out.")
    if recalibrate is not None:  # before any case is predicted, which takes long
        check_count(recalibrate, known.alpha, LEAST_PATIENTS if model.draws_masks else 1)
    read = _cohort(Path(cohort))
    rng = np.random.default_rng(seed)
    with working_cache(None if cache is None else Path(cache)) as root:
        if model.draws_masks:
            task = _of_masks(model, measured_masks(model, read, root, mapping, progress), read.name, rng)
        else:
            task = _of_classes(model, labelled_cases(model, read, root, mapping, progress), read.name, rng)
    every = np.arange(len(task.patients))
    if recalibrate is None:
        before = task.evaluate(known, every)
        done = Evaluated(before, None, task.say(before))
    else:
        used, rest = draw_patients(task.patients, recalibrate, rng)
        new = task.refit(known, used)
        state = rng.bit_generator.state
        before = task.evaluate(known, rest)
        rng.bit_generator.state = state  # both are evaluated with the same draws
        after = task.evaluate(new, rest)
        people = counted(len(set(task.patients[used])), "patient")
        note = f"Recalibrated with {counted(len(used), 'case')} of {people} of {read.name}."
        done = Evaluated(before, after, ("As exported:", *task.say(before), note, *task.say(after)))
        write_recalibrated(model, new, place / MODEL, note)  # type: ignore[operator]
    if place is not None:
        _write(place, done)
    return done


_UNCALIBRATED = (
    "The model in {} has no calibration and no sets. Export it with radapt export.",
    "The model in {} does not predict the Dice of its masks. Export it with radapt export, from a run with val or "
    "folds of 10 patients or more.",
)
"""Of a model of classes, and of one of masks."""


@dataclass(frozen=True)
class _Task:
    """What differs between models of classes and of masks; rows are indices of labelled cases."""

    patients: np.ndarray
    evaluate: Callable[[Any, np.ndarray], Any]
    refit: Callable[[Any, np.ndarray], Any]
    say: Callable[[Any], tuple[str, ...]]


def _of_classes(model: DeployedModel, cases: LabelledCases, cohort: str, rng: np.random.Generator) -> _Task:
    return _Task(
        cases.patients,
        lambda assessor, rows: evaluate_cases(model, assessor, cases.at(rows), cohort, rng),
        lambda assessor, rows: recalibrated(assessor, cases.at(rows), rng),
        lambda found: sentences(found, model.deployment.scores),
    )


def _of_masks(model: DeployedModel, measured: MeasuredMasks, cohort: str, rng: np.random.Generator) -> _Task:
    return _Task(
        measured.cases.patients,
        lambda certainty, rows: evaluate_masks(model, certainty, measured.at(rows), cohort),
        lambda certainty, rows: recalibrated_masks(certainty, measured.at(rows), rng),
        lambda found: mask_sentences(found, model.deployment.scores),
    )


def _cohort(path: Path) -> Cohort:
    """The cohort of a file, whose splits and folds do not matter here. Raises DataError for what else is wrong."""
    cohort, issues = read_cohort(path)
    raise_errors([issue for issue in issues if cohort is None or issue.code not in _OF_LEARNING], f"Cohort {path}")
    if cohort is None:
        raise UsageError(f"Cohort {path} cannot be read.")
    return cohort


def _write(place: Path, done: Evaluated) -> None:
    after = None if done.after is None else done.after.to_json()
    write_text(place / SUMMARY, "\n".join(done.text) + "\n")
    table = pd.DataFrame([vars(each) for each in done.before.scores])
    write_text(place / SCORES, table.drop(columns="split").to_csv(index=False))
    write_json(place / EVALUATION, {"as_exported": done.before.to_json(), "recalibrated": after})
