"""The ground-truth and the predicted label map of one image, split into one pair of masks per label."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from radapt.errors import DataError, counted

Box = tuple[slice, ...]
"""A region of an image: start and stop along each axis."""


@dataclass(frozen=True, eq=False)
class LabelPair:
    """One label in truth and prediction.

    `voxels` counts it in the truth, in the prediction and in their overlap; `boxes` are its bounding boxes in truth and
    prediction (None where it is absent). `maps` are the two label maps, in which it has the value `index`.
    """

    index: int
    maps: tuple[np.ndarray, np.ndarray]
    voxels: tuple[int, int, int]
    boxes: tuple[Box | None, Box | None]

    @property
    def outcome(self) -> str:
        truth, predicted, _ = self.voxels
        return ("both" if predicted else "missed") if truth else ("false_alarm" if predicted else "empty")

    @property
    def joint_box(self) -> Box:
        """The bounding box of truth and prediction together, one of which is not empty."""
        boxes = [box for box in self.boxes if box is not None]
        pairs = zip(*boxes, strict=True)
        return tuple(slice(min(s.start for s in sides), max(s.stop for s in sides)) for sides in pairs)

    def masks(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """The boolean masks of truth and prediction within `box`."""
        return self.maps[0][box] == self.index, self.maps[1][box] == self.index


def label_pairs(truth: np.ndarray, predicted: np.ndarray, labels: Sequence[int]) -> Iterator[LabelPair]:
    """Each label of two maps as `prepared` gives them, in the order of `labels`, counted in one joint histogram.

    Raises DataError if a map has a value that is neither 0 nor in `labels`.
    """
    box = _foreground(truth, predicted)
    maps = _indices(truth[box], labels, "truth"), _indices(predicted[box], labels, "prediction")
    size = len(labels) + 1
    pairs = maps[0].astype(np.intp) * size
    pairs += maps[1]
    counts = np.bincount(pairs.ravel(), minlength=size * size).reshape(size, size)
    boxes = [ndimage.find_objects(label_map, size - 1) for label_map in maps]
    for k in range(1, size):
        voxels = int(counts[k].sum()), int(counts[:, k].sum()), int(counts[k, k])
        yield LabelPair(k, maps, voxels, (boxes[0][k - 1], boxes[1][k - 1]))


def prepared(
    truth: np.ndarray, predicted: np.ndarray, spacing_mm: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, prediction and spacing without axes of one voxel, the others in memory order.

    Raises DataError for arrays that are not label maps of one shape, and spacing that does not fit them.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    _check_maps(truth, predicted)
    if spacing.shape != (truth.ndim,) or not np.isfinite(spacing).all() or (spacing <= 0).any():
        raise DataError(
            f"Spacing {spacing.tolist()} does not fit an image of shape {truth.shape}; "
            "expected one positive number of mm per axis."
        )
    # NIfTI arrays are in Fortran order: reading along memory is several times faster and changes no metric.
    axes = sorted(range(truth.ndim), key=lambda axis: -abs(truth.strides[axis]))
    axes = [axis for axis in axes if truth.shape[axis] > 1] or [0]
    flat = [axis for axis in range(truth.ndim) if axis not in axes]
    order = (*flat, *axes)
    first = (0,) * len(flat)
    return truth.transpose(order)[first], predicted.transpose(order)[first], spacing[axes]


def _check_maps(truth: np.ndarray, predicted: np.ndarray) -> None:
    if truth.shape != predicted.shape or truth.ndim not in (2, 3) or truth.size == 0:
        raise DataError(
            f"Truth and prediction have shapes {truth.shape} and {predicted.shape}; "
            "expected one shape, 2D or 3D, with at least one voxel."
        )
    for values, what in ((truth, "truth"), (predicted, "prediction")):
        if values.dtype.kind not in "bui":
            raise DataError(
                f"The {what} holds values of type {values.dtype}; expected a label map of whole numbers. "
                "Take the argmax of scores first."
            )


def _foreground(truth: np.ndarray, predicted: np.ndarray) -> Box:
    """The bounding box of every labelled voxel of both; a box of one voxel if there is none."""
    sides = []
    for axis in range(truth.ndim):
        others = tuple(other for other in range(truth.ndim) if other != axis)
        filled = np.flatnonzero(truth.any(axis=others) | predicted.any(axis=others))
        sides.append(slice(int(filled[0]), int(filled[-1]) + 1) if len(filled) else slice(0, 1))
    return tuple(sides)


def _indices(values: np.ndarray, labels: Sequence[int], what: str) -> np.ndarray:
    """The map with each label replaced by its position in `labels`, counting from 1."""
    unknown, beyond = len(labels) + 1, max(labels) + 1
    lookup = np.full(beyond + 1, unknown, dtype=np.min_scalar_type(unknown))
    lookup[0] = 0
    lookup[np.asarray(labels)] = np.arange(1, unknown)
    indices = lookup[np.where((values < 0) | (values > beyond), beyond, values)]
    if (wrong := indices == unknown).any():
        values_found = np.unique(values[wrong]).tolist()
        raise DataError(
            f"The {what} has {counted(int(wrong.sum()), 'voxel')} of value {', '.join(map(str, values_found[:10]))}; "
            f"expected 0 for background or one of the labels {', '.join(map(str, labels))}. "
            "Add the label to mask_labels, or set these voxels to 0."
        )
    return indices
