"""Masks: label maps in the grid of an image."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from radapt.errors import DataError
from radapt.images.dicom.outlines import read_outlines
from radapt.images.plausibility import Remark, distinct, mask_value_problems, read_as_one, same_grid, whole_numbers
from radapt.images.raster import read_label_map
from radapt.images.readers import read
from radapt.images.volume import Volume
from radapt.locations import Location
from radapt.remote.local_copies import local_copy


def read_mask(
    location: Location, like: Volume, labels: Collection[int] = (), *, array_cache: Path | None = None
) -> Volume:
    """Read the mask at `location` with the shape, affine and axis order of `like`: int32 or uint8, from 0.

    `labels` are the declared label values; without any, every whole number from 0 is a label. Floats that are whole
    numbers are accepted. If one label is declared and the mask holds 0 and 255 only, as PNG masks often do, 255 is read
    as that label. The mask may be stored with other axes than the image.

    Raises a DataError that names the file and a fix if the mask cannot be read, is in colour, holds fractions, negative
    or undeclared values, or lies in another grid than `like`, even by half a voxel.
    """
    return checked_mask(read_labels(location, array_cache), like, labels, location)


def read_labels(location: Location, array_cache: Path | None = None) -> Volume:
    """The values that a mask holds: those of its file (in a grey PNG of few bits the stored numbers), or of its parts
    the label of each wherever the file is not 0; where parts overlap, the last of them. A part that is XML outlines
    nodules in the DICOM series that is the folder.

    Raises DataError if it cannot be read, or if its parts do not lie in one grid.
    """
    with local_copy(location) as here:
        if here.parts:
            return _joined(here, array_cache)
        return read_label_map(here) or read(here, array_cache=array_cache)


def _joined(location: Location, array_cache: Path | None) -> Volume:
    first = _part(location, location.files[0], array_cache)
    labels = np.zeros(first.array.shape[:3], np.int32)
    for (label, _), file in zip(location.parts, location.files, strict=True):
        part = first if file == location.files[0] else _part(location, file, array_cache)
        if difference := same_grid(first, part):
            raise DataError(f"Mask {file} does not lie in the grid of {location.files[0]}: it has {difference}.")
        values = distinct(part.array)
        if part.array.ndim > 3 or len(values[values != 0]) > 1:
            raise DataError(f"Mask {file} is one structure of several, but holds more than 0 and one other value.")
        labels[part.array != 0] = label
    return Volume(labels, first.affine)


def _part(location: Location, file: Path, array_cache: Path | None) -> Volume:
    if file.suffix.lower() == ".xml":
        return read_outlines(file, location.path)
    return read_labels(Location(file), array_cache)


def checked_mask(mask: Volume, like: Volume, labels: Collection[int], location: Location) -> Volume:
    """As `read_mask`, for a `mask` that is already read from `location`."""
    if difference := same_grid(like, mask):
        fix = "Resample it to the image with nearest-neighbour interpolation."
        raise DataError(f"Mask {location} does not lie in the grid of its image: it has {difference}. {fix}")
    return Volume(named_values(mask, labels, location).stored_like(like).array, like.affine)


def named_values(mask: Volume, labels: Collection[int], location: Location) -> Volume:
    """The mask as whole numbers, all in `labels`. Raises DataError as `read_mask` does; the grid is not checked."""
    for remark in mask_value_problems(mask, labels):
        if remark.severity == "error":
            raise DataError(_said(remark, location))
    whole = whole_numbers(mask.array)
    if (label := read_as_one(whole, labels)) is not None:
        whole = np.where(whole == 0, whole.dtype.type(0), whole.dtype.type(label))
    return Volume(whole, mask.affine)


def _said(remark: Remark, location: Location) -> str:
    return f"Mask {location} cannot be used: {remark.message} {remark.fix}"
