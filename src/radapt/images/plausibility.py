"""Checks of volumes and masks that can be read but may be wrong, for `radapt check`."""

from collections.abc import Collection, Sequence
from itertools import product
from typing import Literal, NamedTuple

import numpy as np

from radapt.images.smoothed_masks import smoothed_labels
from radapt.images.volume import Volume

GRID_TOLERANCE_MM = 0.1
"""A mask's voxels may be this far from the image's: more than header rounding, less than a voxel."""

GRID_TOLERANCE_VOXELS = 0.25
"""And this far in voxels, whichever is less: a shift by half a voxel is a common mistake, even in fine images."""

AIR_HU = -500
"""A CT in Hounsfield units with any air or lung has values below this."""

SMALLEST_PX = 8
"""A plane with fewer pixels along a side shows no anatomy."""

WHITE = 255
"""White in a black-and-white mask image, which usually stands for label 1."""

WHOLE = 1e-4
"""A value this close to a whole number counts as whole: a header's slope may turn 1 into 1.0000001."""

_LISTED = 10
_COUNTABLE = 1 << 16


class Remark(NamedTuple):
    """A finding about a file: severity, a code for programs, the message, and the nearest fix."""

    severity: Literal["error", "warning"]
    code: str
    message: str
    fix: str


def image_problems(volume: Volume, kind: str = "other") -> list[Remark]:
    """Remarks on a readable image: constant, tiny, or a CT that is not in Hounsfield units."""
    low, high = volume.array.min(), volume.array.max()
    remarks = []
    if low == high:
        remarks.append(
            Remark("warning", "constant_image", f"every voxel is {low}.", "Remove the image if it is empty.")
        )
    elif kind == "ct" and volume.array.dtype != np.uint8 and low > AIR_HU:
        remarks.append(
            Remark(
                "warning",
                "ct_units",
                f"values from {low} to {high} do not look like Hounsfield units: no air.",
                "Check slope and intercept of the conversion, or set kind: other.",
            )
        )
    rows, columns = volume.planes(volume.flat_axis or "axial").shape[1:3]
    if min(rows, columns) < SMALLEST_PX:
        message = f"its planes have only {rows} × {columns} pixels."
        remarks.append(Remark("warning", "tiny_image", message, "Choose another axis, or remove the image."))
    return remarks


def same_grid(volume: Volume, mask: Volume) -> str | None:
    """None if both have the same voxels in space, however they are stored; else the difference in words."""
    stored = mask.stored_like(volume)
    if stored.array.shape[:3] == volume.array.shape[:3] and _largest_shift_mm(volume, stored) <= _tolerance_mm(volume):
        return None
    image, other = volume.to_ras(), mask.to_ras()
    size, mask_size = image.array.shape[:3], other.array.shape[:3]
    if size != mask_size:
        return f"size {_times(mask_size)}, the image has {_times(size)} (right × front × head)"
    if not np.allclose(image.spacing_mm, other.spacing_mm, rtol=0, atol=GRID_TOLERANCE_MM / max(size)):
        return f"voxels of {_times(other.spacing_mm)} mm, the image has {_times(image.spacing_mm)} mm"
    apart = image.affine[:3, 3] - other.affine[:3, 3]
    shift = float(np.linalg.norm(apart))
    if np.allclose(image.affine[:3, :3], other.affine[:3, :3], rtol=0, atol=GRID_TOLERANCE_MM / max(size)):
        voxels = float(np.abs(np.linalg.solve(image.affine[:3, :3], apart)).max())
        away = f"{shift:.1f}" if shift >= GRID_TOLERANCE_MM else f"{shift:.2g}"
        return f"the same voxels {away} mm away from the image's, up to {voxels:.2g} of a voxel along an axis"
    return f"another orientation: voxels lie up to {_largest_shift_mm(image, other):.1f} mm from the image's"


def mask_problems(mask: Volume, images: Sequence[Volume], labels: Collection[int] = ()) -> list[Remark]:
    """Remarks on a mask: its grid against the case's images, whole numbers, declared labels, not empty.

    The mask should lie in the grid of at least one image; without readable images its grid is not checked. 0 is
    background. Without `labels` any whole number from 0 is a label. An empty mask is a warning: organs may be absent.
    """
    remarks = []
    differences = [same_grid(image, mask) for image in images]
    if differences and all(differences):
        fix = "Resample the mask to the image with nearest-neighbour interpolation."
        remarks.append(Remark("error", "mask_grid", f"the mask has {differences[0]}.", fix))
    return [*remarks, *mask_value_problems(mask, labels)]


def mask_value_problems(mask: Volume, labels: Collection[int] = ()) -> list[Remark]:
    """Remarks on the values of a mask alone: whole numbers from 0, declared labels, not empty.

    A mask of 0 and 255 with one other label declared is a black-and-white image: 255 is read as that label.
    """
    if mask.is_colour:
        fix = "Save one whole number per pixel: 0 for background, and for each colour the number of its label."
        return [Remark("error", "mask_values", f"the mask is a colour image{_colours(mask.array)}.", fix)]
    values = distinct(mask.array)
    odd = values[(np.abs(values - np.rint(values)) > WHOLE) | (values < 0)]
    if len(odd):
        message = f"the mask holds {_listed(odd)}, expected whole numbers from 0."
        return [Remark("error", "mask_values", message, "Was it smoothed or resampled? Use the original.")]
    if not values.any():
        return [Remark("warning", "mask_empty", "the mask is empty.", "Nothing to do if the structure is absent.")]
    remark = mask_labels_problem(np.rint(values), labels)
    if not labels or (remark and remark.severity == "error"):
        remark = _smoothed(mask.array, values) or remark
    return [remark] if remark else []


def _smoothed(array: np.ndarray, values: np.ndarray) -> Remark | None:
    """A remark on a mask whose values are traces of smoothing or lossy compression."""
    areas = smoothed_labels(array, values)
    if areas is None:
        return None
    message = (
        f"the mask holds {np.count_nonzero(values)} values besides 0, nearly all in lines one pixel wide"
        + (f" around areas of {_listed(areas)}" if areas else "")
        + ": traces of lossy compression such as JPEG, or of smoothing."
    )
    nearest = f"the nearest of {_listed(sorted({0, *areas}))}" if areas else "its label"
    return Remark("error", "mask_values", message, f"Use the original mask, or set each pixel to {nearest}.")


def _colours(array: np.ndarray) -> str:
    """The colours of a mask, if they are few: ` of 2 colours: #000000, #c80028`."""
    colours = np.unique(array.reshape(-1, 3), axis=0)
    if array.dtype != np.uint8 or len(colours) > _LISTED:
        return ""
    return f" of {len(colours)} colours: " + ", ".join("#" + bytes(colour).hex() for colour in colours)


def mask_labels_problem(values: np.ndarray, labels: Collection[int], known: str = "mask_labels has") -> Remark | None:
    """A remark if the distinct values of a mask are not 0 and `labels`; without labels, none.

    `known` names the source of the labels in the message.
    """
    if (label := read_as_one(values, labels)) is not None:
        fix = f"Nothing to do if the mask shows label {label}."
        return Remark("warning", "mask_255", f"the mask holds 0 and 255; 255 is read as label {label}.", fix)
    unknown = sorted({int(value) for value in values} - {0, *labels}) if labels else []
    if not unknown:
        return None
    message = f"the mask holds {_listed(unknown)}, {known} {_listed(sorted(labels))}."
    return Remark("error", "mask_labels", message, _fix_of(unknown))


def _fix_of(unknown: list[int]) -> str:
    if unknown == [255]:
        return "Save each label with its own number instead of 255, or add 255 to mask_labels."
    if len(unknown) > _LISTED:
        return "So many values indicate lossy compression, smoothing or a mix-up with the image; use the original mask."
    return "Add them to mask_labels, or correct the mask."


def read_as_one(values: np.ndarray, labels: Collection[int]) -> int | None:
    """The only label declared, if `values` are 0 and 255 and it is not 255 itself; 255 (`WHITE`) then stands for it."""
    named = set(labels) - {0}
    if named == {WHITE} and values.any() and np.isin(values, (0, 1)).all():
        return WHITE  # the same picture with one bit per pixel
    if len(named) != 1 or WHITE in named or not values.any() or not np.isin(values, (0, WHITE)).all():
        return None
    return int(named.pop())


def whole_numbers(array: np.ndarray) -> np.ndarray:
    """Values that are whole numbers from 0 up to rounding, as uint8 if they fit, else int32."""
    whole = np.rint(array) if array.dtype.kind == "f" else array
    return whole.astype(np.uint8 if whole.max() <= np.iinfo(np.uint8).max else np.int32)


def distinct(array: np.ndarray) -> np.ndarray:
    """The distinct values of an array, ascending. Integers of a small range are counted, which needs no sorting."""
    if array.dtype.kind not in "iu" or array.size == 0:
        return np.unique(array)
    low, high = int(array.min()), int(array.max())
    if high - low >= _COUNTABLE:
        return np.unique(array)
    counts = np.bincount(array.ravel(order="K").astype(np.int64) - low)
    return np.flatnonzero(counts) + low


def _tolerance_mm(image: Volume) -> float:
    return min(GRID_TOLERANCE_MM, GRID_TOLERANCE_VOXELS * min(image.spacing_mm))


def _largest_shift_mm(first: Volume, second: Volume) -> float:
    corners = np.asarray([(*corner, 1) for corner in product(*((0, size - 1) for size in first.array.shape[:3]))])
    return float(np.linalg.norm(corners @ (first.affine - second.affine).T, axis=1).max())


def _times(values: Sequence[float]) -> str:
    return " × ".join(f"{value:g}" for value in np.round(values, 4))


def _listed(values: Sequence[float] | np.ndarray) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:_LISTED])
    return f"{shown} and {len(values) - _LISTED} more" if len(values) > _LISTED else shown
