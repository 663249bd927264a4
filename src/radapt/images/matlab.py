"""MATLAB 7.3 files: `file.mat::cjdata/image`, an array of numbers."""

from typing import Any

from radapt.errors import DataError
from radapt.images.reading import plain_voxels, reading
from radapt.images.volume import Volume
from radapt.locations import Location
from radapt.parsing.matlab import FIX, open_matlab, variable, variable_names


def read_matlab(location: Location, modality: str | None = None) -> Volume:
    """Read a variable of (rows, columns), or (rows, columns, n) as a stack of n planes, at 1 mm; the only one if the
    location names none.

    Needs `radapt[matlab]`. Raises DataError if the variable is no image.
    """
    path = location.path
    if location.index is not None:
        raise DataError(f"{location}: a variable of a MATLAB file has no entries. Write {path}::{location.array}.")
    with reading(path, "a MATLAB file", FIX), open_matlab(path) as file:
        array = variable(file, location.array or _only(file, location), path)
    if array.ndim not in (2, 3):
        raise DataError(f"{location} has shape {array.shape}, expected rows and columns, or a stack of these.")
    planes = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return Volume.from_planes(plain_voxels(planes, path), modality=modality)


def _only(file: Any, location: Location) -> str:
    names = variable_names(file)
    if len(names) != 1:
        listed = ", ".join(names[:12]) or "none"
        raise DataError(f"{location} holds {len(names)} variables ({listed}). Write {location}::NAME for one.")
    return names[0]
