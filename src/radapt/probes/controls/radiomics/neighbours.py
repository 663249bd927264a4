"""Directions to neighbouring voxels, and the voxels that have one."""

from itertools import product

import numpy as np

Offset = tuple[int, int, int]


def _directions(depth: int) -> tuple[Offset, ...]:
    """Of each pair of opposite directions the one that comes later."""
    around = product(range(-depth, depth + 1), (-1, 0, 1), (-1, 0, 1))
    return tuple(step for step in around if step > (0, 0, 0))


IN_PLANE: tuple[Offset, ...] = _directions(0)
"""4 directions to the 8 neighbours in the same plane."""
IN_VOLUME: tuple[Offset, ...] = _directions(1)
"""13 directions to the 26 neighbours."""


def pair(levels: np.ndarray, step: Offset) -> tuple[np.ndarray, np.ndarray]:
    """Views of a volume (Z, Y, X) in which each voxel stands beside its neighbour one `step` on."""
    first = tuple(slice(max(0, -by), size - max(0, by)) for by, size in zip(step, levels.shape, strict=True))
    second = tuple(slice(max(0, by), size - max(0, -by)) for by, size in zip(step, levels.shape, strict=True))
    return levels[first], levels[second]
