"""A volume in the grid of another, through the patient's millimetres."""

import numpy as np

from radapt.errors import DataError
from radapt.images.checks import same_grid
from radapt.images.volume import IMAGE_AFFINE, Volume


def resampled(volume: Volume, like: Volume, nearest: bool = False) -> Volume:
    """`volume` with the shape and the affine of `like`, whose voxels are not looked at.

    Where both have the same voxels, only axes are reordered. Else values are interpolated linearly, after a Gaussian
    filter along axes where the new voxels are larger (σ = (ratio - 1) / 2 voxels, as scikit-image's `resize`), or
    taken from the `nearest` voxel, for label maps. Integers stay integers. Outside the volume's field of view lies
    its smallest value; for label maps 0.

    Raises DataError if the two do not overlap, and for pictures without geometry of different sizes, of which nobody
    knows how they lie.
    """
    difference = same_grid(like, volume)
    if difference is None:
        return Volume(volume.stored_like(like).array, like.affine, volume.modality, volume.window)
    if np.array_equal(volume.affine, IMAGE_AFFINE) and np.array_equal(like.affine, IMAGE_AFFINE):
        raise DataError(
            f"Images of one case without geometry do not fit each other: one has {difference}. Resize them to the same "
            "pixels, or save them as NIfTI with their voxel size and position."
        )
    matrix = np.linalg.inv(volume.affine) @ like.affine  # voxel of `like` → voxel of `volume`
    inside = _inside(matrix, like.array.shape[:3], volume.array.shape[:3])
    if not inside.any():
        raise DataError("Images of one case do not overlap in the patient. Check the geometry in their headers.")
    outside = np.zeros((), volume.array.dtype) if nearest else volume.array.min()
    channels = np.moveaxis(volume.array, 3, 0) if volume.is_colour else volume.array[None]
    planes = [np.where(inside, _interpolated(channel, matrix, like, nearest), outside) for channel in channels]
    array = np.stack(planes, axis=-1) if volume.is_colour else planes[0]
    return Volume(array.astype(volume.array.dtype), like.affine, volume.modality, volume.window)


def _interpolated(array: np.ndarray, matrix: np.ndarray, like: Volume, nearest: bool) -> np.ndarray:
    from scipy.ndimage import affine_transform, gaussian_filter

    source = array if nearest else array.astype(np.float32)
    ratio = np.abs(matrix[:3, :3]).max(axis=1)
    if not nearest and (ratio > 1).any():
        source = gaussian_filter(source, np.maximum(0, (ratio - 1) / 2), mode="nearest")
    found: np.ndarray = affine_transform(
        source, matrix[:3, :3], matrix[:3, 3], like.array.shape[:3], order=0 if nearest else 1, mode="nearest"
    )
    return np.rint(found) if array.dtype.kind in "iu" and not nearest else found


def _inside(matrix: np.ndarray, shape: tuple[int, ...], source: tuple[int, ...]) -> np.ndarray:
    """(X, Y, Z) bool: voxels whose centre lies in the field of view of a volume of the shape `source`."""
    x, y, z = np.ogrid[: shape[0], : shape[1], : shape[2]]
    inside = np.ones(shape, dtype=bool)
    for axis, size in enumerate(source):
        place = matrix[axis, 0] * x + matrix[axis, 1] * y + matrix[axis, 2] * z + matrix[axis, 3]
        inside &= (place >= -0.5) & (place <= size - 0.5)
    return inside
