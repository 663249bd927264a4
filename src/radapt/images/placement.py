"""Where the planes that a recipe makes lie in the patient, for masks on the way in and label maps on the way back."""

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
"""Scores are brought to full resolution in slabs of about this size, so that memory does not grow with the volume."""


@dataclass(frozen=True, eq=False)
class PlaneStack:
    """Planes along one axis: which of `total` planes of `shape` (h, w) are `kept` (n,), and how each is framed."""

    axis: Axis
    kept: np.ndarray
    total: int
    shape: tuple[int, int]
    framing: Framing

    @property
    def between(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each of all planes the kept neighbour below, the one above, and how near it is to the latter."""
        place = np.interp(np.arange(self.total), self.kept, np.arange(len(self.kept)))
        below = place.astype(np.int64)
        return below, np.ceil(place).astype(np.int64), (place - below).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Placement:
    """Every plane's place in a volume, whose voxels it does not keep. Made by `Recipe.place`.

    `grid` has the volume's shape and affine as stored. N planes, those of the first stack first, on a canvas of H × W
    pixels.
    """

    grid: Volume
    stacks: tuple[PlaneStack, ...]

    def __len__(self) -> int:
        """N."""
        return sum(len(stack.kept) for stack in self.stacks)

    def masks(self, mask: Volume) -> np.ndarray:
        """The planes (N, H, W) of a mask on this grid, framed as the image's, in the mask's type: nearest voxel.

        The mask may be stored with other axes. Raises DataError if it does not have the same voxels.
        """
        if difference := same_grid(self.grid, mask):
            raise DataError(f"The mask does not lie on its image: it has {difference}.")
        turned = Volume(mask.stored_like(self.grid).array, self.grid.affine)
        return np.concatenate([stack.framing.pick(turned.planes(stack.axis)[stack.kept]) for stack in self.stacks])

    def restore(self, scores: np.ndarray) -> Volume:
        """Class indices uint8 in the stored grid, of scores float (N, K, h, w) over the whole canvas.

        h × w is that of the canvas or lower. Scores, not labels, are interpolated: over the plane, and between kept
        planes for those left out (before the first and behind the last, the nearest). Several stacks are averaged,
        which is meant for probabilities. The highest score wins, of equals the first class.

        Raises DataError for scores of another shape or that are not finite.
        """
        import torch

        self._check(scores)
        labels = np.empty(self.grid.array.shape, dtype=np.uint8)
        ras = Volume(labels, self.grid.affine).to_ras().array
        step = max(1, SLAB_BYTES // (4 * scores.shape[1] * ras[..., 0].size))
        with torch.inference_mode():
            for low in range(0, ras.shape[2], step):
                slab = self._slab(scores, low, min(low + step, ras.shape[2]))
                # `max` gives the same indices as `argmax`, eight times as fast.
                ras[..., low : low + step] = slab.max(dim=1).indices.numpy().transpose(2, 1, 0)
        return Volume(labels, self.grid.affine)

    def _check(self, scores: np.ndarray) -> None:
        shape = scores.shape
        if len(shape) != 4 or shape[0] != len(self) or not 1 <= shape[1] <= MOST_CLASSES or min(shape) < 1:
            expected = f"({len(self)}, classes up to {MOST_CLASSES}, height, width)"
            raise DataError(f"Scores of the shape {shape} do not fit this image, expected {expected}.")
        if not np.isfinite(scores).all():
            raise DataError("The model gave scores that are not finite; train it again, with float32.")

    def _slab(self, scores: np.ndarray, low: int, high: int) -> "Tensor":
        """(z, K, Y, X) scores of the voxels from `low` to `high` towards the head, in RAS order; sums of stacks."""
        parts = np.split(scores, np.cumsum([len(stack.kept) for stack in self.stacks])[:-1])
        found = [_scores(stack, part, low, high) for stack, part in zip(self.stacks, parts, strict=True)]
        total = found[0]
        for other in found[1:]:
            total = total + other
        return total


def _scores(stack: PlaneStack, scores: np.ndarray, low: int, high: int) -> "Tensor":
    """(z, K, Y, X) scores of one stack. Display order runs against RAS along rows and columns (`Volume.planes`)."""
    import torch

    below, above, share = stack.between
    rows, columns = (torch.from_numpy(side[::-1].copy()) for side in stack.framing.back(stack.shape, scores.shape[2:4]))
    if stack.axis == "axial":
        part = _blend(scores, below[low:high], above[low:high], share[low:high])
        return rows @ part @ columns.T  # (z, K, Y, X)
    part = rows[low:high] @ torch.from_numpy(np.asarray(scores, np.float32)) @ columns.T  # (n, K, z, Y or X)
    part = _blend(part.numpy(), below, above, share)
    return part.permute(2, 1, 0, 3) if stack.axis == "coronal" else part.permute(2, 1, 3, 0)


def _blend(scores: np.ndarray, below: np.ndarray, above: np.ndarray, share: np.ndarray) -> "Tensor":
    import torch

    lower = torch.from_numpy(np.asarray(scores[below], np.float32))
    if not share.any():
        return lower
    upper = torch.from_numpy(np.asarray(scores[above], np.float32))
    return lower.lerp(upper, torch.from_numpy(share)[:, None, None, None])
