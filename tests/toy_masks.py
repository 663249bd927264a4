"""Cohorts of small images with masks on disk, for protocols that segment: bright balls on noise."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel
import numpy as np

from radapt.cohorts.cohort import Case, Cohort
from radapt.locations import Location

SPLITS = ("train", "train", "train", "train", "val", "test")


def ball(shape: Sequence[int], centre: Sequence[float], radius_mm: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """(X, Y, Z) bool: voxels nearer than the radius to the centre (in voxels)."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    return (((grid - np.asarray(centre)) * np.asarray(spacing_mm)) ** 2).sum(-1) < radius_mm**2


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> Location:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return Location(path)


def balls_cohort(
    folder: Path,
    shapes: Sequence[Sequence[int]] = ((20, 18, 16),),
    spacings: Sequence[Sequence[float]] = ((1.0, 1.0, 1.0),),
    *,
    splits: Sequence[str] = SPLITS,
    modalities: Sequence[str] = ("t1",),
    missing: Mapping[int, str] | None = None,
    empty: Sequence[int] = (),
    labels: Mapping[int, str] | None = None,
    kind: str = "mri",
    noise: float = 0.2,
    seed: int = 0,
) -> Cohort:
    """Case i has shape and spacing number i (in turns), a ball of label 1 and a brighter small one of label 2.

    Case i lacks modality `missing[i]`; masks of `empty` cases are 0 throughout. Axes are flipped in every second case.
    """
    rng = np.random.default_rng(seed)
    names = {1: "big", 2: "small"} if labels is None else dict(labels)
    values = list(names)
    cases = []
    for i, split in enumerate(splits):
        shape, spacing = shapes[i % len(shapes)], spacings[i % len(spacings)]
        extent = np.asarray(shape) * np.asarray(spacing)
        radius = 0.28 * extent[np.asarray(shape) > 1].min()
        centre = np.asarray(shape) * rng.uniform(0.4, 0.6, 3) - 0.5
        mask = np.zeros(shape, dtype=np.uint8)
        if i not in empty:
            mask[ball(shape, centre, radius, spacing)] = values[0]
            if len(values) > 1:
                mask[ball(shape, centre, radius / 2, spacing)] = values[1]
        affine = np.diag([*spacing, 1.0])
        if i % 2:
            affine = affine @ np.diag([-1.0, 1.0, -1.0, 1.0])
        images = {}
        grey = np.searchsorted([0, *values], mask)
        for number, name in enumerate(modalities):
            if (missing or {}).get(i) != name:
                image = (100 * (grey + 1 + noise * rng.normal(size=shape)) + 10 * number).astype(np.float32)
                images[name] = save(folder / f"c{i}_{name}.nii.gz", image, affine)
        place = save(folder / f"c{i}_mask.nii.gz", mask, affine)
        cases.append(Case(f"c{i}", f"p{i}", split, images, mask=place))
    return Cohort("balls", kind, tuple(cases), tuple(modalities), mask_labels=names)  # type: ignore[arg-type]
