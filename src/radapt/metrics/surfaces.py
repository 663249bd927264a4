"""Surface distances between the ground truth and the prediction of one structure.

The border of a structure is the set of its voxels with a neighbour outside it (6 neighbours in 3D, 4 in 2D; beyond the
image is outside). Distances run between the centres of border voxels, in mm, as in MONAI. DeepMind's `surface-distance`
weights every border voxel by the surface area in it, so its values differ a little.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from radapt.metrics.label_maps import Box

LEAF = 32
"""Border points in a leaf of the k-d tree: fastest of 8, 16 and 32 on the borders of two balls, one core."""
STEP_COST, VOXEL_COST = 0.2, 0.13
"""Measured on the same borders: the cost that each voxel width of distance adds to a tree query, and the cost per voxel
of a distance transform, both in units of a query for a neighbouring voxel (about 1 µs)."""
SAMPLE_POINTS = 256
"""Points queried to choose between the two methods."""
MOST_VOXELS = 2**25
"""Largest box for a distance transform: it takes 12 bytes a voxel, 400 MB."""


@dataclass(frozen=True, eq=False)
class Border:
    """The border of a non-empty structure: a `mask` cropped at the image's voxel `start`, and `points` (N, dims)."""

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
        start = np.array([side.start for side in box])
        return cls(mask, np.argwhere(mask), start)

    def has(self, points: np.ndarray) -> np.ndarray:
        """(N,) bool: which of the image's voxels `points` (N, dims) belong to this border."""
        local = points - self.start
        inside = ((local >= 0) & (local < self.mask.shape)).all(axis=1)
        inside[inside] = self.mask[tuple(local[inside].T)]
        return inside


def surface_distances(truth: Border, predicted: Border, spacing_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances in mm of every border voxel to the nearest one of the other: `pred_to_truth_mm`, `truth_to_pred_mm`."""
    return _distances(predicted, truth, spacing_mm), _distances(truth, predicted, spacing_mm)


def hd95(pred_to_truth_mm: np.ndarray, truth_to_pred_mm: np.ndarray) -> float:
    """95th-percentile Hausdorff distance in mm: the larger of the two directions' percentiles (linear interpolation).

    One percentile over both directions would let a large surface hide the errors of a small one.
    """
    return float(max(np.percentile(pred_to_truth_mm, 95), np.percentile(truth_to_pred_mm, 95)))


def assd(pred_to_truth_mm: np.ndarray, truth_to_pred_mm: np.ndarray) -> float:
    """Average symmetric surface distance: the mean over the border voxels of both structures, in mm."""
    return float((pred_to_truth_mm.sum() + truth_to_pred_mm.sum()) / (len(pred_to_truth_mm) + len(truth_to_pred_mm)))


def surface_dice(pred_to_truth_mm: np.ndarray, truth_to_pred_mm: np.ndarray, tolerance_mm: float) -> float:
    """Normalised surface Dice (NSD): the share of both borders within `tolerance_mm` of the other, in [0, 1].

    Compared in single precision, so that three voxels of 0.7 mm are within 2.1 mm.
    """
    bound = np.float32(tolerance_mm)
    directions = (pred_to_truth_mm, truth_to_pred_mm)
    near = sum(int(np.count_nonzero(distances.astype(np.float32) <= bound)) for distances in directions)
    return near / (len(pred_to_truth_mm) + len(truth_to_pred_mm))


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

    The time of a k-d tree query grows with the distance; that of a distance transform of the box around all points does
    not. A sample of the points decides which is faster; both are exact.
    """
    from scipy.spatial import KDTree  # a quarter of a second of every start

    targets = target.points + target.start
    tree = KDTree(targets * spacing_mm, leafsize=LEAF, balanced_tree=False, compact_nodes=False)
    low = np.minimum(points.min(axis=0), targets.min(axis=0))
    shape = np.maximum(points.max(axis=0), targets.max(axis=0)) - low + 1
    sample = points[:: -(-len(points) // SAMPLE_POINTS)]
    steps = float(tree.query(sample * spacing_mm)[0].mean() / spacing_mm.mean())
    voxels = int(np.prod(shape))
    if voxels > MOST_VOXELS or len(points) * (1 + STEP_COST * steps) <= VOXEL_COST * voxels:
        return np.asarray(targets[tree.query(points * spacing_mm)[1]])
    outside = np.ones(shape, dtype=bool)
    outside[tuple((targets - low).T)] = False
    nearest = distance_transform_edt(outside, sampling=spacing_mm, return_distances=False, return_indices=True)
    return np.asarray(nearest[(slice(None), *(points - low).T)].T + low)
