"""Variables of MATLAB 7.3 files, which are HDF5: numbers only, never references or links to other files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from radapt.errors import DataError, UsageError, suggest

MAGIC = b"MATLAB 7.3 MAT-file"
HDF5 = b"\x89HDF\r\n\x1a\n"
"""How the files begin: with 512 bytes of MATLAB, or without where another program wrote them."""

_MOST_TIMES = 1032
"""A byte of DEFLATE, the compression of MATLAB, gives at most so many."""
_SLACK = 1 << 20
FIX = "Was the copy or download interrupted? Copy it again."


@contextmanager
def open_matlab(path: Path) -> Iterator[Any]:
    """The open file. Raises UsageError without h5py, DataError if the file cannot be read."""
    try:
        import h5py
    except ImportError as error:
        raise UsageError(f"{path} is a MATLAB 7.3 file, which needs h5py: pip install 'radapt[matlab]'.") from error
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path} cannot be read as a MATLAB 7.3 file: {reason}. {FIX}") from error


def variable(file: Any, name: str, path: Path) -> np.ndarray:
    """The array `name`, such as `cjdata/image`, with axes in the order of MATLAB: rows first.

    Raises DataError if it does not exist, is no array of numbers, or claims more than the file can hold.
    """
    item = file
    for part in name.split("/"):
        item = _inside(item, part, name, path)
    if not hasattr(item, "dtype") or item.dtype.kind not in "biuf":
        raise DataError(f"{path}::{name} is no array of numbers.")
    stored = item.id.get_storage_size()
    if item.is_virtual or item.external or item.nbytes > _SLACK + stored * _MOST_TIMES:
        raise DataError(f"{path}::{name} is damaged: it claims {item.nbytes:,} bytes, the file holds {stored:,}. {FIX}")
    return np.asarray(item[()]).T


def variable_names(file: Any) -> list[str]:
    """The names of the arrays directly in the file, and in the structures directly in it."""
    names = []
    for key in file:
        inner = list(file[key]) if hasattr(file[key], "keys") and not key.startswith("#") else []
        names += [f"{key}/{name}" for name in inner] or ([key] if hasattr(file[key], "dtype") else [])
    return names


def text_of(file: Any, name: str, path: Path) -> str:
    """The text, or the single number, that `name` holds."""
    array = variable(file, name, path)
    if array.size > 1000:
        raise DataError(f"{path}::{name} is no short text.")
    letters = array.ravel(order="F")
    if array.dtype == np.uint16 and array.size:  # the letters of a text
        return "".join(map(chr, letters)).strip()
    return " ".join(f"{value:g}" for value in letters.astype(np.float64))


def _inside(group: Any, part: str, name: str, path: Path) -> Any:
    """A member of a group that lies in the same file."""
    import h5py

    if not isinstance(group, h5py.Group) or part not in group:
        known = [key for key in group if not key.startswith("#")] if isinstance(group, h5py.Group) else []
        raise DataError(f"{path} has no variable {name!r}. {suggest(part, known)}")
    if not isinstance(group.get(part, getlink=True), h5py.HardLink):
        raise DataError(f"{path}::{name} is a link to another place, which is not followed.")
    return group[part]
