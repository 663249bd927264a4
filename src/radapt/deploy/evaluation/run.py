"""`radapt evaluate-model`: a model on another cohort, and the files that say how it does."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from radapt.cohorts import Cohort, read_cohort
from radapt.cohorts.issue import raise_errors
from radapt.deploy.deployed_model import load_deployed
from radapt.deploy.evaluation.evaluation import ModelEvaluation, evaluate_cases
from radapt.deploy.evaluation.labelled_cases import labelled_cases
from radapt.deploy.evaluation.recalibrate import check_count, draw_patients, recalibrated, write_recalibrated
from radapt.deploy.evaluation.sentences import sentences
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

    before: ModelEvaluation
    after: ModelEvaluation | None
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
    `cohort` file.

    With `out` a folder is written: evaluation.json, scores.csv and summary.txt. With `recalibrate` so many cases, of
    patients drawn with `seed`, refit calibration and sets; `out`/model is the new model, and both are evaluated on the
    other cases. Raises UsageError for a model of masks or without calibration, a cohort without a label that the model
    knows, and `recalibrate` without `out`.
    """
    model = load_deployed(folder, device=device)
    place = None if out is None else Path(out)
    if model.assessor is None:
        raise UsageError(f"The model in {folder} has no calibration and no sets. Export it with radapt export.")
    if recalibrate is not None and place is None:
        raise UsageError("--recalibrate writes a new model; give its folder with --out.")
    if place is not None and place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UsageError(f"{place} exists already and is left alone. Give a new folder with --out.")
    if recalibrate is not None:
        check_count(recalibrate, model.assessor.certainty.alpha)  # before any case is predicted, which takes long
    read = _cohort(Path(cohort))
    rng = np.random.default_rng(seed)
    with working_cache(None if cache is None else Path(cache)) as root:
        cases = labelled_cases(model, read, root, mapping, progress)
    study = model.deployment.scores
    if recalibrate is None:
        before = evaluate_cases(model, model.assessor, cases, read.name, rng)
        done = Evaluated(before, None, sentences(before, study))
    else:
        used, judged = draw_patients(cases, recalibrate, rng)
        given, rest = cases.at(used), cases.at(judged)
        new = recalibrated(model.assessor, given, rng)
        state = rng.bit_generator.state
        before = evaluate_cases(model, model.assessor, rest, read.name, rng)
        rng.bit_generator.state = state  # both are evaluated with the same draws
        after = evaluate_cases(model, new, rest, read.name, rng)
        note = (
            f"Recalibrated with {counted(len(given), 'case')} of {counted(len(set(given.patients)), 'patient')} of "
            f"{read.name}."
        )
        text = ("As exported:", *sentences(before, study), note, *sentences(after, study))
        done = Evaluated(before, after, text)
        write_recalibrated(model, new, place / MODEL, note)  # type: ignore[operator]
    if place is not None:
        _write(place, done)
    return done


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
