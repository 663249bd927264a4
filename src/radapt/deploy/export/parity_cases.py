"""The cases on which a converted model is compared with PyTorch."""

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
from scipy.ndimage import gaussian_filter

from radapt.cohorts import Case, Cohort
from radapt.deploy.deployed_model import DeployedModel
from radapt.locations import Location

COMPLETE, DRAWN = 2, 2
"""Cases that are compared with all their sequences, and images that are drawn where there are no cases."""


def parity_cases(model: DeployedModel, cohort: Cohort) -> Cohort:
    """The cases of `cohort` with the most sequences of the model, with all of them; and the first with each alone."""
    known = [replace(case, images=_read(model, case)) for case in cohort]
    full = sorted((case for case in known if case.images), key=lambda case: -len(case.images))[:COMPLETE]
    alone = [
        replace(full[0], case=f"{full[0].case} with {name} alone", images={name: where})
        for name, where in full[0].images.items()
        if len(full[0].images) > 1
    ]
    return replace(cohort, cases=tuple(replace(case, split="test") for case in (*full, *alone)), folds=())


def _read(model: DeployedModel, case: Case) -> dict[str, Location]:
    return {name: where for name, where in case.images.items() if name in model.modalities}


def drawn_cohort(model: DeployedModel, folder: Path) -> Cohort:
    """A cohort of bright, textured bodies on a dark ground with all sequences of the model, written into `folder`."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    cases = []
    for number in range(DRAWN):
        images = {}
        for place, name in enumerate(model.modalities):
            images[name] = Location(_write(folder / f"{number}-{place}", model.card.kind, rng))
        cases.append(Case(f"drawn {number + 1}", f"drawn {number + 1}", "test", images))
    return Cohort("drawn", model.card.kind, tuple(cases), model.modalities)


def _write(path: Path, kind: str, rng: np.random.Generator) -> Path:
    shape = (96, 96, 24) if kind in ("ct", "mri") else (256, 256)
    places = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    inside = sum((place / rng.uniform(0.7, 0.9)) ** 2 for place in places) < 1
    texture = gaussian_filter(rng.standard_normal(shape), 3)
    grey = np.where(inside, 120 + 40 * texture / texture.std(), 0) + rng.normal(0, 2, shape)
    if len(shape) == 2:
        np.save(path.with_suffix(".npy"), np.clip(grey, 0, 255).astype(np.uint8))
        return path.with_suffix(".npy")
    if kind == "ct":
        grey = np.where(inside, grey - 80, -1000)
    nibabel.save(nibabel.Nifti1Image(grey.astype(np.int16), np.diag([2.0, 2.0, 5.0, 1.0])), path.with_suffix(".nii"))
    return path.with_suffix(".nii")
