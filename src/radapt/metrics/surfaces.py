"""Distances between the surfaces of two structures.

A structure's border are its voxels with a neighbour outside it (6 neighbours in 3D, 4 in 2D; what lies beyond the
image is outside). Distances run between the centres of border voxels, in mm. This is MONAI's definition. DeepMind's
`surface-distance` weighs every border voxel by the area of surface in it, so its figures differ a little.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree

from radapt.metrics.label_maps import Box

LEAF = 32
"""Border points in a leaf of the k-d tree: fastest of 8, 16 and 32 on the borders of two balls, one core."""
STEP_COST, VOXEL_COST = 0.2, 0.13
"""Measured there: what a voxel's width of distance adds to a search of the tree, and what a voxel of the box costs in a
distance transform, both in units of a search for a neighbouring voxel (about 1 µs)."""
SOME = 256
"""Points that are asked to choose between the two."""
MOST_VOXELS = 2**25
"""Largest box for a distance transform: it takes 12 bytes a voxel, 400 MB."""


@dataclass(frozen=True, eq=False)
class Border:
    """The border of one structure that is not empty: `mask` within `start` … of the image, `points` (N, dims) in it."""

    mask: np.ndarray
    points: np.ndarray
    start: np.ndarray

    @classmethod
    def of(cls, structure: np.ndarray, box: Box) -> "Border":
        """The border of `structure`, a boolean mask cropped to `box` of the image, which holds all of it."""
        padded = np.pad(structure, 1)
        inside = structure.copy()
        for axis in range(structure.ndim):
            for side in (slice(None, -2), slice(2, None)):
                inside &= padded[tuple(side if a == axis else slice(1, -1) for a in range(structure.ndim))]
        mask = structure & ~inside
        start = np.array([part.start for part in box])
        return cls(mask, np.argwhere(mask), start)

    def has(self, points: np.ndarray) -> np.ndarray:
        """(N,) bool: which of the image's voxels `points` (N, dims) belong to this border."""
        local = points - self.start
        held = ((local >= 0) & (local < self.mask.shape)).all(axis=1)
        held[held] = self.mask[tuple(local[held].T)]
        return held


def surface_distances(truth: Border, predicted: Border, spacing_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance in mm from every border voxel of `predicted` to the nearest of `truth`, and the other way round."""
    return _distances(predicted, truth, spacing_mm), _distances(truth, predicted, spacing_mm)


def hd95(there: np.ndarray, back: np.ndarray) -> float:
    """The larger of the two 95th percentiles (interpolated linearly) of surface distances, in mm: one direction each.

    Taking the percentile of both directions at once would let a large surface hide what a small one is far from.
    """
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


def assd(there: np.ndarray, back: np.ndarray) -> float:
    """Average symmetric surface distance: the mean over the border voxels of both structures, in mm."""
    return float((there.sum() + back.sum()) / (len(there) + len(back)))


def surface_dice(there: np.ndarray, back: np.ndarray, tolerance_mm: float) -> float:
    """Normalised surface Dice: the share of both borders within `tolerance_mm` of the other one, in [0, 1].

    Compared in single precision, so that three voxels of 0.7 mm are within 2.1 mm.
    """
    bound = np.float32(tolerance_mm)
    near = sum(int(np.count_nonzero(side.astype(np.float32) <= bound)) for side in (there, back))
    return near / (len(there) + len(back))


def _distances(origin: Border, target: Border, spacing_mm: np.ndarray) -> np.ndarray:
    points = origin.points + origin.start
    away = np.flatnonzero(~target.has(points))  # borders that coincide need no search
    distances = np.zeros(len(points))
    if len(away):
        offsets = points[away] - _nearest(points[away], target, spacing_mm)
        distances[away] = np.sqrt(((offsets * spacing_mm) ** 2).sum(axis=1))
    return distances


def _nearest(points: np.ndarray, target: Border, spacing_mm: np.ndarray) -> np.ndarray:
    """(N, dims) the voxel of `target` nearest to each of `points`.

    A k-d tree answers in time that grows with the distance, a distance transform of the box around all points in
    time that does not depend on it. Some of the points tell which will be faster; both are exact.
    """
    goals = target.points + target.start
    tree = KDTree(goals * spacing_mm, leafsize=LEAF, balanced_tree=False, compact_nodes=False)
    low = np.minimum(points.min(axis=0), goals.min(axis=0))
    shape = np.maximum(points.max(axis=0), goals.max(axis=0)) - low + 1
    some = points[:: -(-len(points) // SOME)]
    steps = float(tree.query(some * spacing_mm)[0].mean() / spacing_mm.mean())
    voxels = int(np.prod(shape))
    if voxels > MOST_VOXELS or len(points) * (1 + STEP_COST * steps) <= VOXEL_COST * voxels:
        return np.asarray(goals[tree.query(points * spacing_mm)[1]])
    outside = np.ones(shape, dtype=bool)
    outside[tuple((goals - low).T)] = False
    found = distance_transform_edt(outside, sampling=spacing_mm, return_distances=False, return_indices=True)
    return np.asarray(found[(slice(None), *(points - low).T)].T + low)
