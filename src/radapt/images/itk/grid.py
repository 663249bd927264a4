"""The geometry of MetaImage and NRRD files in RAS mm, and what their axes without a place in space mean."""

from collections.abc import Sequence

import numpy as np

AS_LPS = (-1.0, -1.0, 1.0)
"""Coordinates that grow to the left, the back and the head, as signs of those of RAS."""


def affine_of(steps: np.ndarray, origin: Sequence[float], signs: Sequence[float]) -> np.ndarray:
    """The matrix (4, 4) from voxel indices to RAS mm.

    `steps` has the step of each spatial axis in the space of the file, one row each, `origin` the place of the first
    voxel; of both the first three numbers count. An axis that is missing is at right angles to the others, 1 mm long.
    """
    count = min(len(steps), 3)
    across = np.eye(3)
    across[:count, : min(steps.shape[1], 3)] = steps[:count, :3]
    if count == 2:
        normal = np.cross(across[0], across[1])
        across[2] = normal / (np.linalg.norm(normal) or 1.0)
    affine = np.eye(4)
    affine[:3, :3] = across.T
    affine[: min(len(origin), 3), 3] = origin[:3]
    affine[:3] *= np.array(signs)[:, None]
    return affine


def colour_or_volumes(raw: np.ndarray, spatial: int) -> tuple[np.ndarray, bool]:
    """`raw`, whose last axis has channels and whose first `spatial` ones lie in space or count volumes, as colour
    (X, Y, Z, 3) and True, or as (X, Y, Z, volumes …) and False.

    Bytes in three or four channels are colour; of four the last is alpha.
    """
    *sizes, channels = raw.shape
    padded = raw.reshape(*sizes[:3], *[1] * (3 - min(spatial, 3)), *sizes[3:], channels, order="F")
    if channels in (3, 4) and raw.dtype == np.uint8 and padded.ndim == 4:
        return padded[..., :3], True
    return (padded[..., 0] if channels == 1 else padded), False
