"""Resampling a volume to the grid of another, in patient coordinates."""

from collections.abc import Sequence

import numpy as np

from radapt.errors import DataError
from radapt.images.plausibility import Remark, same_grid
from radapt.images.volume import IMAGE_AFFINE, Volume


def resampled(volume: Volume, like: Volume, nearest: bool = False) -> Volume:
    """`volume` resampled to the shape and affine of `like`, whose voxels are not used.

    If both have the same voxels, only axes are reordered. Otherwise values are interpolated linearly, after a Gaussian
    filter along axes where the new voxels are larger (σ = (ratio - 1) / 2 voxels, as scikit-image's `resize`), or
    taken from the `nearest` voxel, for label maps. Integers stay integers. Outside the field of view of the volume the
    value is its minimum; for label maps 0.

    Raises DataError if the two do not overlap, and for images without geometry of different sizes, whose relative
    position is unknown.
    """
    if same_grid(like, volume) is None:
        return Volume(volume.stored_like(like).array, like.affine, volume.modality, volume.window)
    matrix, inside = _overlap(volume, like)
    outside = np.zeros((), volume.array.dtype) if nearest else volume.array.min()
    channels = np.moveaxis(volume.array, 3, 0) if volume.is_colour else volume.array[None]
    planes = [np.where(inside, _interpolated(channel, matrix, like, nearest), outside) for channel in channels]
    array = np.stack(planes, axis=-1) if volume.is_colour else planes[0]
    return Volume(array.astype(volume.array.dtype), like.affine, volume.modality, volume.window)


def grids_problem(volumes: Sequence[Volume]) -> Remark | None:
    """A remark on the images of one case, named by their modality, that do not all have the grid of the first.

    This is not an error, but models of several sequences see them resampled; images that cannot be resampled (see
    `resampled`) cannot be used together.
    """
    differences = {index: text for index, volume in enumerate(volumes) if (text := same_grid(volumes[0], volume))}
    for number in differences:
        try:
            _overlap(volumes[number], volumes[0])
        except DataError as error:
            names = f"{volumes[number].modality} and {volumes[0].modality}"
            fix = "Models that encode each sequence separately can use them."
            return Remark("warning", "grids_apart", f"{names} cannot be used together. {error}", fix)
    if not differences:
        return None
    first, *others = differences
    reference = str(volumes[0].modality)
    difference = differences[first].replace("the image", reference)
    message = f"{volumes[first].modality} has another grid than {reference}: {difference}."
    if others:
        message += f" Others that differ from {reference}: {', '.join(str(volumes[at].modality) for at in others)}."
    fix = "Nothing to do: models of several sequences resample them to the first."
    return Remark("warning", "grids_differ", message, fix)


def _overlap(volume: Volume, like: Volume) -> tuple[np.ndarray, np.ndarray]:
    """The (4, 4) map from voxels of `like` to those of `volume`, and (X, Y, Z) bool: the voxels inside `volume`.

    Raises DataError if there are none, or the relative position is unknown.
    """
    if np.array_equal(volume.affine, IMAGE_AFFINE) and np.array_equal(like.affine, IMAGE_AFFINE):
        raise DataError(
            f"Images of one case without geometry differ: one has {same_grid(like, volume)}. Resize "
            "them to the same pixels, or save them as NIfTI with their voxel size and position."
        )
    matrix = np.linalg.inv(volume.affine) @ like.affine
    inside = _inside(matrix, like.array.shape[:3], volume.array.shape[:3])
    if not inside.any():
        raise DataError("Images of one case do not overlap in space. Check the geometry in their headers.")
    return matrix, inside


def _interpolated(array: np.ndarray, matrix: np.ndarray, like: Volume, nearest: bool) -> np.ndarray:
    from scipy.ndimage import affine_transform, gaussian_filter

    source = array if nearest else array.astype(np.float32)
    ratio = np.abs(matrix[:3, :3]).max(axis=1)
    if not nearest and (ratio > 1).any():
        source = gaussian_filter(source, np.maximum(0, (ratio - 1) / 2), mode="nearest")
    resampled_array: np.ndarray = affine_transform(
        source, matrix[:3, :3], matrix[:3, 3], like.array.shape[:3], order=0 if nearest else 1, mode="nearest"
    )
    return np.rint(resampled_array) if array.dtype.kind in "iu" and not nearest else resampled_array


def _inside(matrix: np.ndarray, shape: tuple[int, ...], source: tuple[int, ...]) -> np.ndarray:
    """(X, Y, Z) bool: voxels whose centre lies in the field of view of a volume of shape `source`."""
    x, y, z = np.ogrid[: shape[0], : shape[1], : shape[2]]
    inside = np.ones(shape, dtype=bool)
    for axis, size in enumerate(source):
        index = matrix[axis, 0] * x + matrix[axis, 1] * y + matrix[axis, 2] * z + matrix[axis, 3]
        inside &= (index >= -0.5) & (index <= size - 0.5)
    return inside
