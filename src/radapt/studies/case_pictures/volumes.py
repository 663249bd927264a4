"""Small volumes of cases for the 3D view of the report, with label maps of truth and prediction on the same grid."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from radapt.images import Recipe, Volume, resampled, write_labels

MOST_VOLUME_BYTES = 1_000_000
"""Of the files of a case; a volume that takes more is down-sampled further."""

MOST_VOXELS = 128**3

_STEP = 1.02  # by which voxels grow in a search for their size


@dataclass(frozen=True)
class CaseVolume:
    """A sequence of a case with the masks that belong to it, on whatever grids."""

    sequence: str
    image: Volume
    truth: Volume | None = None
    predicted: Volume | None = None


def is_volume(image: Volume) -> bool:
    """Whether the image is grey and has a depth."""
    return not image.is_colour and min(image.array.shape[:3]) > 1


def save_volume(folder: Path, stem: str, volume: CaseVolume, recipe: Recipe) -> dict[str, Any]:
    """Write `STEM-volume-image.nii.gz`, uint8 in RAS order, and the label maps; return what the index says of them.

    The grey levels are those of `recipe`, of three CT windows the middle one. The smallest voxels are joined until at
    most `MOST_VOXELS` are left and the files take at most `MOST_VOLUME_BYTES`. Label maps take the nearest voxel, so
    a structure thinner than a voxel may vanish.
    """
    grey = recipe.grey(volume.image).to_ras()
    side_mm = min(grey.spacing_mm)
    while np.prod(joined(grey, side_mm).array.shape) > MOST_VOXELS:
        side_mm *= _STEP
    while True:
        grid = joined(grey, side_mm)
        files = {"image": _saved(folder, f"{stem}-volume-image", resampled(grey, grid))}
        for kind, mask in (("truth", volume.truth), ("predicted", volume.predicted)):
            if mask is not None:
                files[kind] = _saved(folder, f"{stem}-volume-{kind}", resampled(_labels(mask), grid, nearest=True))
        n_bytes = sum((folder / name).stat().st_size for name in files.values())
        if n_bytes <= MOST_VOLUME_BYTES:
            break
        side_mm = max(side_mm, min(grid.spacing_mm)) * _STEP * (n_bytes / MOST_VOLUME_BYTES) ** (1 / 3)
    return {
        "sequence": volume.sequence,
        "shape": list(grid.array.shape),
        "stored": list(grey.array.shape),
        "spacing_mm": [round(side, 3) for side in grid.spacing_mm],
        **files,
    }


def joined(volume: Volume, side_mm: float) -> Volume:
    """The grid over the same field of view with voxels of about `side_mm` along each axis where they were smaller."""
    old, spacing = np.asarray(volume.array.shape[:3]), np.asarray(volume.spacing_mm)
    new = np.maximum(1, np.rint(old * spacing / np.maximum(spacing, side_mm))).astype(int)
    ratio = old / new
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ ((ratio - 1) / 2)  # the outer faces stay where they are
    affine[:3, :3] *= ratio
    return Volume.blank([int(side) for side in new], affine)


def _labels(mask: Volume) -> Volume:
    return Volume(np.clip(np.rint(mask.array), 0, 255).astype(np.uint8), mask.affine)


def _saved(folder: Path, stem: str, volume: Volume) -> str:
    write_labels(folder / f"{stem}.nii.gz", volume)
    return f"{stem}.nii.gz"
