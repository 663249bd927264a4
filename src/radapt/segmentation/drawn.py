"""A label map with the probability of every voxel's label, collected slab by slab, so that memory stays small."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from radapt.images import Volume
from radapt.protocols.fitted import DrawnMask

if TYPE_CHECKING:
    from torch import Tensor


class MaskCollector:
    """Collects a label map on `grid` with `classes` classes. Voxels that are never added are surely background."""

    def __init__(self, grid: Volume, classes: int) -> None:
        shape = grid.array.shape[:3]
        self._grid = grid
        self._classes, self._probability = np.zeros(shape, dtype=np.uint8), np.ones(shape, dtype=np.float16)
        self._ras = tuple(  # views: writing to them fills the stored grid
            Volume(array, grid.affine).to_ras().array for array in (self._classes, self._probability)
        )
        self._voxels, self._inside, self._expected = np.zeros((3, classes))

    def add(self, where: tuple[slice, ...], scores: "Tensor", probabilities: "Tensor") -> None:
        """A part of the grid in RAS order: the class with the highest of `scores` (K, X, Y, Z), of equals the first,
        with `probabilities` of the same shape."""
        # `max` gives the same indices as `argmax`, eight times as fast.
        best = scores.max(dim=0).indices
        own = probabilities.gather(0, best[None])[0]
        classes, count = best.numpy().ravel(), len(scores)
        self._ras[0][where], self._ras[1][where] = best.numpy(), own.numpy()
        self._voxels += np.bincount(classes, minlength=count)
        self._inside += np.bincount(classes, own.numpy().ravel(), minlength=count)
        self._expected += probabilities.flatten(1).double().sum(dim=1).numpy()

    def mask(self, labels: Mapping[int, str]) -> DrawnMask:
        """The map, class k being the k-th of `labels` {value: name}."""
        values = np.array([0, *labels])
        values = values.astype(np.uint8 if values.max() <= np.iinfo(np.uint8).max else np.int32)
        with np.errstate(invalid="ignore"):  # nothing is drawn and nothing expected
            dice = 2 * self._inside / (self._voxels + self._expected)
        soft = np.where(self._voxels > 0, dice, np.nan)[1:]
        drawn = Volume(values[self._classes], self._grid.affine)
        return DrawnMask(drawn, self._probability, dict(zip(labels, map(float, soft), strict=True)))
