"""Masks that lossy compression or smoothing filled with grey levels: lines one pixel wide around few labels."""

import numpy as np

MANY = 8
"""From this many values on, a mask without declared labels is examined for lines."""

LINES_PER_STRUCTURE = 3
"""So many values that only form lines or dots, for each one that fills an area, are no structures."""

WHITE = 255
NEARLY_WHITE = range(247, WHITE)
"""Values that JPEG of high quality leaves beside white."""

_COMMON = 5
_SHARE = 0.05  # of the marked voxels lie inside areas of a value that is offered as a label


def smoothed_labels(array: np.ndarray, values: np.ndarray) -> tuple[int, ...] | None:
    """The values above 0 that fill areas, the most frequent first, if the other `values` are traces of smoothing or
    lossy compression; None for a mask that looks like a label map.

    `array` (X, Y, Z) holds whole numbers, `values` its distinct ones. Edges that were smoothed, or coded by JPEG, hold
    many values in lines one pixel wide. A label map has few such values, even if its structures are small.
    """
    labels = values[values > 0]
    many = len(labels) >= MANY
    if not many and not (WHITE in labels and np.isin(labels, NEARLY_WHITE).any()):
        return None
    inside, counts = np.unique(array[_inside(array) & (array > 0)], return_counts=True)
    lines = np.setdiff1d(labels, inside)
    beside_white = WHITE in inside and np.isin(lines, NEARLY_WHITE).any()
    if not (len(lines) >= LINES_PER_STRUCTURE * (len(inside) + 1) if many else beside_white):
        return None
    enough = counts >= _SHARE * np.count_nonzero(array)
    order = np.argsort(-counts[enough], kind="stable")
    return tuple(int(value) for value in inside[enough][order][:_COMMON])


def _inside(array: np.ndarray) -> np.ndarray:
    """Voxels with equal neighbours on both sides along two axes or more."""
    axes = np.zeros(array.shape, np.uint8)
    for axis in range(3):
        along, found = np.moveaxis(array, axis, 0), np.moveaxis(axes, axis, 0)
        found[1:-1] += (along[1:-1] == along[:-2]) & (along[1:-1] == along[2:])
    return axes >= 2
