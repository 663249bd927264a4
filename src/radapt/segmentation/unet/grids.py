"""From a patient's grid to the one a network sees, and back: cropping and resizing axis by axis without moving
anything. All arrays run along R, A, S."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from radapt.networks import UNetPlan

if TYPE_CHECKING:
    from torch import Tensor

Way = Literal["cubic", "linear"]

COARSE = 3.0
"""Along an axis whose voxels are this much longer than the finest, values are interpolated linearly: a cubic would
ring over gaps that no anatomy fills (nnU-Net takes the nearest there)."""

SLAB_BYTES = 64 << 20
"""Scores are resized and compared in slabs of about this size, so that memory does not grow with the volume."""


@dataclass(frozen=True)
class GridCrop:
    """Where the network's grid of `size` voxels lies in an image of `shape` voxels: it covers low ≤ index < high."""

    shape: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    size: tuple[int, ...]

    @classmethod
    def of(
        cls, shape: Sequence[int], spacing_mm: Sequence[float], plan: UNetPlan, box: np.ndarray | None = None
    ) -> "GridCrop":
        """The crop of an image for a plan; `box` (2, 3) is the region to keep, None for all."""
        region = np.array([[0, 0, 0], shape]) if box is None else box
        extent = region[1] - region[0]
        seen = np.isin(np.arange(3), plan.network_axes)
        if plan.longest is not None:
            factor = np.where(seen, plan.longest / np.asarray(shape)[seen].max(), 1.0)
        else:
            factor = np.array(
                [1.0 if mm is None else own / mm for own, mm in zip(spacing_mm, plan.spacing_mm, strict=True)]
            )
        size = np.maximum(1, np.rint(extent * factor)).astype(int)
        return cls(*(tuple(int(n) for n in part) for part in (shape, region[0], region[1], size)))

    @property
    def extent(self) -> tuple[int, ...]:
        """Voxels of the image that the grid covers, along each axis."""
        return tuple(high - low for low, high in zip(self.low, self.high, strict=True))

    @property
    def inside(self) -> tuple[slice, ...]:
        """The index of the crop in an array (X, Y, Z) of the image."""
        return tuple(slice(low, high) for low, high in zip(self.low, self.high, strict=True))


def content_box(images: np.ndarray) -> np.ndarray:
    """(2, 3): first and one past the last voxel of (C, X, Y, Z) images that is not 0 in every channel; all if none."""
    filled = (images != 0).any(axis=0)
    box = np.array([[0, 0, 0], filled.shape])
    for axis in range(3):
        found = np.flatnonzero(filled.any(axis=tuple(other for other in range(3) if other != axis)))
        if len(found):
            box[:, axis] = found[0], found[-1] + 1
    return box


def resized(images: np.ndarray, frame: GridCrop, spacing_mm: Sequence[float]) -> np.ndarray:
    """(C, *extent) float32 → (C, *size) float32: cubic with antialiasing, linear along a coarse axis."""
    import torch

    found = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))
    for axis, size in enumerate(frame.size):
        if found.shape[axis + 1] != size:
            way: Way = "linear" if spacing_mm[axis] > COARSE * min(spacing_mm) else "cubic"
            found = _along(found, _weights(found.shape[axis + 1], size, way), axis + 1)
    return found.numpy()


def resized_labels(labels: np.ndarray, size: Sequence[int], classes: int) -> np.ndarray:
    """Classes uint8 (x, y, z) on another grid of the same place, uint8 `size`: the class with the largest share."""
    import torch

    if labels.shape == tuple(size):
        return labels
    known = torch.arange(classes, dtype=torch.uint8)[:, None, None, None]
    given = torch.from_numpy(np.ascontiguousarray(labels))
    return highest(lambda low, high: (given[low:high] == known).float(), labels.shape, size, classes)


def highest(
    scores: "Callable[[int, int], Tensor]", before: Sequence[int], after: Sequence[int], classes: int
) -> np.ndarray:
    """The class with the highest score of `interpolated`, uint8 `after`; of equals the first."""
    found = np.empty(tuple(after), dtype=np.uint8)
    for start, slab in interpolated(scores, before, after, classes):
        # `max` gives the same indices as `argmax`, eight times as fast.
        found[start : start + slab.shape[1]] = slab.max(dim=0).indices.numpy()
    return found


def interpolated(
    scores: "Callable[[int, int], Tensor]", before: Sequence[int], after: Sequence[int], classes: int
) -> "Iterator[tuple[int, Tensor]]":
    """Scores on a grid of `after` voxels, in slabs: the first index along the first axis, and (K, n, Y, Z).

    `scores(low, high)` gives (K, high - low, y, z) of a grid of `before` voxels.
    """
    first, *others = (_weights(old, new, "linear") for old, new in zip(before, after, strict=True))
    largest = max(before[1], after[1]) * max(before[2], after[2]) * classes * 4
    step = max(1, SLAB_BYTES // largest)
    for start in range(0, after[0], step):
        rows = first[start : start + step]
        used = rows.any(dim=0).nonzero()
        low, high = int(used[0]), int(used[-1]) + 1
        slab = _along(scores(low, high), rows[:, low:high], 1)
        for axis, weights in enumerate(others, start=2):
            slab = _along(slab, weights, axis)
        yield start, slab


def _along(values: "Tensor", weights: "Tensor", axis: int) -> "Tensor":
    """`values` with one axis resized by (after, before) weights."""
    if weights.shape[0] == weights.shape[1]:
        return values
    return (values.movedim(axis, -1) @ weights.T).movedim(-1, axis)


@lru_cache(maxsize=64)
def _weights(before: int, after: int, way: Way) -> "Tensor":
    """(after, before): how much each of `before` voxels says at each of `after`; borders lie on each other."""
    import torch
    from torch.nn.functional import interpolate

    if before == after:
        return torch.eye(before)
    mode = "bicubic" if way == "cubic" else "bilinear"
    with torch.inference_mode(False), torch.no_grad():
        # Resizing the rows of the identity gives the weights of every row; torch has antialiasing for pictures only.
        return interpolate(torch.eye(before)[None, None], size=(after, before), mode=mode, antialias=True)[0, 0]
