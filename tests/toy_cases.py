"""Cohorts that a reader may get wrong: oblique volumes, two grids in a case, missing images, grey beside colour."""

from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

from radapt.cohorts.cohort import Case, Cohort
from radapt.locations import Location

SPLITS = ("train", "train", "val", "test")


def turned(degrees: float, spacing: tuple[float, float, float], origin: tuple[float, float, float]) -> np.ndarray:
    """(4, 4) affine of a grid that is turned about two axes."""
    angle = np.deg2rad(degrees)
    half = angle / 2
    about_z = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(half), -np.sin(half)], [0, np.sin(half), np.cos(half)]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag(spacing)
    affine[:3, 3] = origin
    return affine


def oblique_cohort(folder: Path) -> Cohort:
    """Four patients. t1 is oblique, t2 finer and not turned; case 1 lacks t2, case 2 lacks t1.

    Masks of values 1 and 4 lie in the grid of t1, that of case 2 in the grid of t2; case 1 has none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    cases = []
    for row, split in enumerate(SPLITS):
        oblique = turned(10 + 5 * row, (1.0, 1.2, 3.0), (-9.0, -10.0, -8.0)) @ np.diag([-1, 1, 1, 1])
        grids = {"t1": ((20, 18, 6), oblique), "t2": ((30, 28, 9), turned(0, (0.8, 0.8, 2.0), (-24.0, -9.0, -8.0)))}
        missing = {1: "t2", 2: "t1"}.get(row)
        images = {}
        for name, (shape, affine) in grids.items():
            if name != missing:
                array = rng.gamma(2, 60, shape).astype(np.float32)
                array[:3], array[:, -4:] = 0, 0
                nibabel.save(nibabel.Nifti1Image(array, affine), folder / f"{row}-{name}.nii.gz")
                images[name] = Location(folder / f"{row}-{name}.nii.gz")
        shape, affine = grids["t2" if row == 2 else "t1"]
        mask = np.zeros(shape, np.uint8)
        mask[6:12, 5:11, 2:4], mask[8:10, 7:9, 3] = 1, 4
        nibabel.save(nibabel.Nifti1Image(mask, affine), folder / f"{row}-mask.nii.gz")
        place = None if row == 1 else Location(folder / f"{row}-mask.nii.gz")
        cases.append(Case(f"c{row}", f"p{row}", split, images, label=row % 2, mask=place, row=row + 2))
    names = {1: "core", 4: "rim"}
    return Cohort("oblique", "mri", tuple(cases), ("t1", "t2"), classes=("no", "yes"), mask_labels=names)


def picture_cohort(folder: Path) -> Cohort:
    """Three patients with pictures of 24 × 20 pixels: `photo` in colour, `scan` in grey; case 2 has no photo.

    Masks of white mark a disc; case 1 has none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    cases = []
    for row in range(3):
        images = {}
        for name, shape in {"photo": (24, 20, 3), "scan": (24, 20)}.items():
            if (row, name) != (2, "photo"):
                Image.fromarray(rng.integers(0, 256, shape).astype(np.uint8)).save(folder / f"{row}-{name}.png")
                images[name] = Location(folder / f"{row}-{name}.png")
        disc = np.hypot(*np.mgrid[-12:12, -10:10]) < 5 + row
        Image.fromarray(disc.astype(np.uint8) * 255).save(folder / f"{row}-mask.png")
        place = None if row == 1 else Location(folder / f"{row}-mask.png")
        cases.append(Case(f"c{row}", f"p{row}", SPLITS[row], images, label=row % 2, mask=place, row=row + 2))
    names = {1: "lesion"}
    return Cohort("pictures", "other", tuple(cases), ("photo", "scan"), classes=("no", "yes"), mask_labels=names)
