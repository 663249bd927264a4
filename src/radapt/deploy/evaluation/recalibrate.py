"""A model's certainty fitted again with labelled cases of another hospital, as a new model folder."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from radapt.deploy.assessment import Assessor
from radapt.deploy.certainty import LabelledPredictions, fewest_patients, fit_certainty
from radapt.deploy.deployed_model import DeployedModel
from radapt.deploy.deployment import DEPLOYMENT, read_deployment
from radapt.deploy.evaluation.labelled_cases import LabelledCases
from radapt.deploy.evaluation.masks import MeasuredMasks
from radapt.deploy.masks.mask_certainty import MaskCertainty, fit_mask_certainty
from radapt.durable import atomic_path
from radapt.errors import UsageError, counted


def check_count(count: int, alpha: float, least: int = 1) -> None:
    """Raise UsageError if `count` cases cannot be of as many patients as coverage needs, or as `least`, whatever cases
    are drawn."""
    if count < 1:
        raise UsageError(f"--recalibrate {count}: expected the number of cases to calibrate with, 1 or more.")
    if count < (need := max(fewest_patients(alpha), least)):
        raise UsageError(
            f"{counted(count, 'case')} are too few for a coverage of {100 * (1 - alpha):.3g} %; give --recalibrate "
            f"{need} or more."
        )


def draw_patients(patients: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the cases of `patients` (n,) drawn at random until they have `count` cases or more, and of the others.

    Raises UsageError if no patient is left to evaluate on.
    """
    names, unit = np.unique(patients.astype(str), return_inverse=True)
    order = rng.permutation(len(names))
    reached = np.cumsum(np.bincount(unit)[order])
    taken = order[: int(np.searchsorted(reached, count)) + 1]
    drawn = np.isin(unit, taken)
    if drawn.all():
        raise UsageError(
            f"--recalibrate {count} takes all {counted(len(patients), 'labelled case')}; none is left to evaluate on. "
            f"Give fewer, such as {len(patients) // 2}."
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


def recalibrated_masks(old: MaskCertainty, measured: MeasuredMasks, rng: np.random.Generator) -> MaskCertainty:
    """The prediction of Dice from these masks; novelty stays that of the training cases.

    Raises UsageError if there are fewer patients than it needs.
    """
    new, notes = fit_mask_certainty(
        measured.cases, alpha=old.alpha, novelty=old.novelty, refused=old.refused, rng=rng
    )  # fmt: skip
    if new is None:
        raise UsageError(f"The prediction of Dice cannot be refitted. {' '.join(notes)} Give a larger --recalibrate.")
    return new


def write_recalibrated(model: DeployedModel, new: Assessor | MaskCertainty, out: Path, note: str) -> None:
    """The model folder once more in `out`, with what is new and a note.

    Raises UsageError for a model that was not exported, and if `out` exists and is not empty.
    """
    if not (model.folder / DEPLOYMENT).is_file():
        raise UsageError(f"{model.folder} was not written by radapt export; only exported models can be recalibrated.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists already and is left alone. Give a new folder with --out.")
    deployment = read_deployment(model.folder)
    with atomic_path(out, folder=True) as part:
        shutil.copytree(model.folder, part, dirs_exist_ok=True, ignore=shutil.ignore_patterns(DEPLOYMENT))
        part_of: dict[str, Any] = {"assessment" if isinstance(new, Assessor) else "mask_certainty": new.record}
        replace(deployment, notes=(*deployment.notes, note), **part_of).write(part)
