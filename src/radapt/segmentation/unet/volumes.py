"""Volumes as networks of planned grids read them: every modality a channel or three, standardised, on one spacing."""

from collections.abc import Sequence

import numpy as np

from radapt.images import Volume
from radapt.networks import UNetPlan
from radapt.networks.unet.architecture import Scaling
from radapt.segmentation.unet.grids import GridCrop, content_box, resized

SMALLEST_SD = 1e-8
"""Channels that vary less than this are constant, and become zeros."""


def stacked(volumes: Sequence[Volume | None], colours: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """Channels float32 (C, X, Y, Z) along R, A, S; zeros where a modality is missing (None).

    `colours` is 1 or 3 for each modality: grey in a colour modality is repeated, colour in a grey one is averaged.
    `shape` is that of the volumes along R, A, S.
    """
    found = np.zeros((sum(colours), *shape), dtype=np.float32)
    start = 0
    for volume, count in zip(volumes, colours, strict=True):
        if volume is not None:
            array = volume.to_ras().array
            if volume.is_colour:
                array = np.moveaxis(array, 3, 0) if count == 3 else array.mean(axis=3)
            found[start : start + count] = array
        start += count
    return found


def presence(volumes: Sequence[Volume | None], colours: Sequence[int]) -> np.ndarray:
    """(C,) bool: which channels belong to a present modality."""
    return np.repeat([volume is not None for volume in volumes], colours)


def standardised(images: np.ndarray, present: np.ndarray, scalings: Sequence[Scaling]) -> np.ndarray:
    """(C, X, Y, Z) float32 as the plan's scalings say; zeros in channels that are not `present` (C,) or constant."""
    found = np.zeros_like(images)
    for channel, (values, scaling) in enumerate(zip(images, scalings, strict=True)):
        if present[channel]:
            found[channel] = _standardised(values, scaling)
    return found


def _standardised(values: np.ndarray, scaling: Scaling) -> np.ndarray:
    if scaling.by == "foreground":
        if not scaling.sd > SMALLEST_SD:
            return np.zeros_like(values)
        clipped = np.clip(values, np.float32(scaling.low), np.float32(scaling.high))
        return (clipped - np.float32(scaling.mean)) / np.float32(scaling.sd)
    inside = values != 0 if scaling.by == "nonzero" else np.ones(values.shape, dtype=bool)
    if not inside.any():
        return np.zeros_like(values)
    mean, sd = values[inside].mean(dtype=np.float64), values[inside].std(dtype=np.float64)
    if not sd > SMALLEST_SD * max(1.0, abs(mean)):
        return np.zeros_like(values)
    return np.where(inside, (values - np.float32(mean)) / np.float32(sd), np.float32(0))


def gridded(
    images: np.ndarray, present: np.ndarray, spacing_mm: Sequence[float], plan: UNetPlan
) -> tuple[np.ndarray, GridCrop]:
    """The network input for images (C, X, Y, Z): float32 (n, C, *S), and its crop of the images.

    In 3D n is 1; in 2D the n planes are along the plan's axis.
    """
    frame = GridCrop.of(images.shape[1:], spacing_mm, plan, content_box(images) if plan.crop else None)
    cropped = standardised(images[:, *frame.inside], present, plan.scalings)
    return split(resized(cropped, frame, spacing_mm), plan), frame


def split(images: np.ndarray, plan: UNetPlan) -> np.ndarray:
    """(C, x, y, z) → (n, C, *S): the volume as one sample, or its planes along the plan's axis."""
    return images[None] if plan.dims == 3 else np.moveaxis(images, plan.axis + 1, 0)


def split_labels(labels: np.ndarray, plan: UNetPlan) -> np.ndarray:
    """(x, y, z) → (n, *S), as `split`."""
    return labels[None] if plan.dims == 3 else np.moveaxis(labels, plan.axis, 0)
