"""Where the planes of a recipe lie in the volume: masks to planes, and scores of planes back to a label map."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from radapt.errors import DataError
from radapt.images.framing import Framing
from radapt.images.plausibility import same_grid
from radapt.images.volume import Axis, Volume

if TYPE_CHECKING:
    from torch import Tensor

MOST_CLASSES = 256
"""Label maps are 8-bit."""

SLAB_BYTES = 64 << 20
"""Scores are resized to full resolution in slabs of about this size, so that memory does not grow with the volume."""


@dataclass(frozen=True, eq=False)
class PlaneStack:
    """Planes along one axis: the indices `kept` (n,) of `total` planes of `shape` (h, w), and their framing."""

    axis: Axis
    kept: np.ndarray
    total: int
    shape: tuple[int, int]
    framing: Framing

    @property
    def between(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each of the `total` planes: the kept plane below, the kept plane above, and the weight of the latter."""
        position = np.interp(np.arange(self.total), self.kept, np.arange(len(self.kept)))
        below = position.astype(np.int64)
        return below, np.ceil(position).astype(np.int64), (position - below).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Placement:
    """The position of every plane of a volume, without its voxels. Created by `Recipe.place`.

    `grid` has the volume's shape and affine as stored. N planes, those of the first stack first, on a canvas of H × W
    pixels.
    """

    grid: Volume
    stacks: tuple[PlaneStack, ...]

    def __len__(self) -> int:
        """N."""
        return sum(len(stack.kept) for stack in self.stacks)

    @property
    def axes(self) -> np.ndarray:
        """(N,) int64: the number of the stack that each plane belongs to."""
        return np.repeat(np.arange(len(self.stacks)), [len(stack.kept) for stack in self.stacks])

    def voxel_mm(self, stack: int = 0) -> np.ndarray:
        """(3,) mm between the planes of a stack, and between rows and columns of the canvas. Of a single plane the
        distance is that to the next one of the volume."""
        own, (x, y, z) = self.stacks[stack], self.grid.to_ras().spacing_mm
        between = {"axial": z, "coronal": y, "sagittal": x}[own.axis]
        step = float(np.diff(own.kept).mean()) if len(own.kept) > 1 else 1.0
        inner, spacing = own.framing.inner, self.grid.plane_spacing_mm(own.axis)
        rows, columns = (mm * size / pixels for mm, size, pixels in zip(spacing, own.shape, inner, strict=True))
        return np.asarray([between * step, rows, columns])

    def masks(self, mask: Volume) -> np.ndarray:
        """The planes (N, H, W) of a mask on this grid, framed like the image, in the mask's type: nearest voxel.

        The mask may be stored with other axes. Raises DataError if it does not have the same voxels.
        """
        if difference := same_grid(self.grid, mask):
            raise DataError(f"The mask does not lie on its image: it has {difference}.")
        aligned = Volume(mask.stored_like(self.grid).array, self.grid.affine)
        return np.concatenate([stack.framing.pick(aligned.planes(stack.axis)[stack.kept]) for stack in self.stacks])

    def slabs(self, scores: np.ndarray) -> Iterator[tuple[slice, "Tensor"]]:
        """The scores of all voxels from scores float (N, K, h, w) over the whole canvas, in axial slabs that fit into
        memory: the slab's planes along S, and its scores (z, K, Y, X) in RAS order, summed over stacks.

        h × w is the canvas size or lower. Scores, not labels, are interpolated: within the plane, and between kept
        planes for those left out (the nearest before the first and after the last).

        Raises DataError for scores of another shape or that are not finite.
        """
        import torch

        self._check(scores)
        across, along, depth = self.grid.to_ras().array.shape[:3]
        step = max(1, SLAB_BYTES // (4 * scores.shape[1] * across * along))
        for low in range(0, depth, step):
            part = slice(low, min(low + step, depth))
            with torch.inference_mode():
                slab = self._slab(scores, part.start, part.stop)
            yield part, slab

    def _check(self, scores: np.ndarray) -> None:
        shape = scores.shape
        if len(shape) != 4 or shape[0] != len(self) or not 1 <= shape[1] <= MOST_CLASSES or min(shape) < 1:
            expected = f"({len(self)}, classes up to {MOST_CLASSES}, height, width)"
            raise DataError(f"Scores have shape {shape}; expected {expected} for this image.")
        if not np.isfinite(scores).all():
            raise DataError("The scores of the model are not finite; train it again in float32.")

    def _slab(self, scores: np.ndarray, low: int, high: int) -> "Tensor":
        """(z, K, Y, X) scores of the axial slab from `low` to `high`, in RAS order, summed over stacks."""
        by_stack = np.split(scores, np.cumsum([len(stack.kept) for stack in self.stacks])[:-1])
        slabs = [_scores(stack, planes, low, high) for stack, planes in zip(self.stacks, by_stack, strict=True)]
        total = slabs[0]
        for other in slabs[1:]:
            total = total + other
        return total


def _scores(stack: PlaneStack, scores: np.ndarray, low: int, high: int) -> "Tensor":
    """(z, K, Y, X) scores of one stack. Rows and columns of planes run against RAS (`Volume.planes`)."""
    import torch

    below, above, share = stack.between
    rows, columns = (torch.from_numpy(side[::-1].copy()) for side in stack.framing.back(stack.shape, scores.shape[2:4]))
    if stack.axis == "axial":
        blended = _blend(scores, below[low:high], above[low:high], share[low:high])
        return rows @ blended @ columns.T  # (z, K, Y, X)
    resized = rows[low:high] @ torch.from_numpy(np.asarray(scores, np.float32)) @ columns.T  # (n, K, z, Y or X)
    blended = _blend(resized.numpy(), below, above, share)
    return blended.permute(2, 1, 0, 3) if stack.axis == "coronal" else blended.permute(2, 1, 3, 0)


def _blend(scores: np.ndarray, below: np.ndarray, above: np.ndarray, share: np.ndarray) -> "Tensor":
    import torch

    lower = torch.from_numpy(np.asarray(scores[below], np.float32))
    if not share.any():
        return lower
    upper = torch.from_numpy(np.asarray(scores[above], np.float32))
    return lower.lerp(upper, torch.from_numpy(share)[:, None, None, None])
