"""A model's certainty fitted again with labelled cases of another hospital, as a new model folder."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from radapt.deploy.assessment import Assessor
from radapt.deploy.certainty import LabelledPredictions, fewest_patients, fit_certainty
from radapt.deploy.deployed_model import DeployedModel
from radapt.deploy.deployment import DEPLOYMENT, read_deployment
from radapt.deploy.evaluation.labelled_cases import LabelledCases
from radapt.durable import atomic_path
from radapt.errors import UsageError, counted


def check_count(count: int, alpha: float) -> None:
    """Raise UsageError if `count` cases cannot be of as many patients as sets need, whatever cases are drawn."""
    if count < 1:
        raise UsageError(f"--recalibrate {count}: expected the number of cases to calibrate with, 1 or more.")
    if count < fewest_patients(alpha):
        raise UsageError(
            f"{counted(count, 'case')} are too few for sets of {100 * (1 - alpha):.3g} %; give --recalibrate "
            f"{fewest_patients(alpha)} or more."
        )


def draw_patients(cases: LabelledCases, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the cases of patients drawn at random until they have `count` cases or more, and of the others.

    Raises UsageError if no patient is left to evaluate on.
    """
    names, unit = np.unique(cases.patients.astype(str), return_inverse=True)
    order = rng.permutation(len(names))
    reached = np.cumsum(np.bincount(unit)[order])
    taken = order[: int(np.searchsorted(reached, count)) + 1]
    drawn = np.isin(unit, taken)
    if drawn.all():
        raise UsageError(
            f"--recalibrate {count} takes all {counted(len(cases), 'labelled case')}; none is left to be judged. Give "
            f"fewer, such as {len(cases) // 2}."
        )
    return np.flatnonzero(drawn), np.flatnonzero(~drawn)


def recalibrated(assessor: Assessor, cases: LabelledCases, rng: np.random.Generator) -> Assessor:
    """Calibration and sets from these cases; novelty stays that of the training cases.

    Raises UsageError if there are fewer patients than sets need.
    """
    old = assessor.certainty
    patients, need = len(set(cases.patients)), fewest_patients(old.alpha)
    if patients < need:
        raise UsageError(
            f"{counted(patients, 'patient')} are too few for sets of {100 * (1 - old.alpha):.3g} %; give --recalibrate "
            f"{need} or more."
        )
    labelled = LabelledPredictions(
        cases.probabilities, cases.truths, cases.patients, assessor.presence(cases.sequences)
    )
    return Assessor(
        fit_certainty(
            labelled, outputs=old.outputs, sequences=old.sequences, several=old.several, alpha=old.alpha,
            novelty=old.novelty, refused=old.refused, rng=rng,
        )
    )  # fmt: skip


def write_recalibrated(model: DeployedModel, assessor: Assessor, out: Path, note: str) -> None:
    """The model folder once more in `out`, with this assessor and a note.

    Raises UsageError for a model that was not exported, and if `out` exists and is not empty.
    """
    if not (model.folder / DEPLOYMENT).is_file():
        raise UsageError(f"{model.folder} was not written by radapt export; only exported models can be recalibrated.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists already and is left alone. Give a new folder with --out.")
    deployment = read_deployment(model.folder)
    with atomic_path(out, folder=True) as part:
        shutil.copytree(model.folder, part, dirs_exist_ok=True, ignore=shutil.ignore_patterns(DEPLOYMENT))
        replace(deployment, assessment=assessor.record, notes=(*deployment.notes, note)).write(part)
