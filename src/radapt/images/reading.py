"""Shared by all readers: errors that name the file, and voxels of a plain numeric type."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from radapt.errors import DataError, RadaptError, UsageError


@contextmanager
def reading(path: Path, what: str, fix: str = "Copy or export it again.") -> Iterator[None]:
    """Turn the exceptions of a format library into one DataError that names `path`.

    The libraries raise dozens of types on damaged files, without a complete list in their documentation.
    """
    try:
        yield
    except RadaptError:
        raise
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory as {what}.") from error
    except PermissionError as error:
        raise DataError(f"{path} may not be read: permission denied.") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise DataError(f"{path} cannot be read as {what}: {reason.rstrip('.')}. {fix}") from error


def plain_voxels(array: np.ndarray, path: Path) -> np.ndarray:
    """`array` in native byte order as integers of at most 32 bits, or float32; bool becomes uint8.

    Raises DataError for empty arrays, complex numbers, text and objects, and values float32 cannot hold.
    """
    if array.size == 0:
        raise DataError(f"{path} holds an empty image of shape {array.shape}. Remove the case or export it again.")
    kind = array.dtype.kind
    if kind not in "biuf":
        raise DataError(
            f"{path} holds values of type {array.dtype}, expected real numbers. "
            + ("Save the magnitude or the phase." if kind == "c" else "Save it as integers or floats.")
        )
    if kind == "b":
        return array.astype(np.uint8)
    if kind == "f":
        return _as_float32(array, path)
    if array.dtype.itemsize > 4 or array.dtype == np.uint32:
        # Labels and counts stay exact where 32 bits hold them.
        fits = array.min() >= np.iinfo(np.int32).min and array.max() <= np.iinfo(np.int32).max
        return array.astype(np.int32 if fits else np.float32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def check_voxels(array: np.ndarray, path: Path) -> None:
    """Raise a DataError that counts the NaN or infinite voxels and gives the first, if there are any."""
    # The extremes are NaN or infinite if any voxel is, and need no copy of the volume.
    if array.dtype.kind != "f" or (np.isfinite(array.min()) and np.isfinite(array.max())):
        return
    wrong = ~np.isfinite(array)
    first = tuple(int(index) for index in np.argwhere(wrong)[0])
    raise DataError(
        f"{path} has {int(wrong.sum())} of {array.size} voxels that are NaN or infinite, the first at {first}. "
        "Replace them by the background value, or remove the case."
    )


def _as_float32(array: np.ndarray, path: Path) -> np.ndarray:
    if array.dtype.itemsize <= 4:
        return array.astype(np.float32, copy=False)
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if np.isinf(single).any() and not np.isinf(array).any():
        raise DataError(
            f"{path} holds values up to {np.abs(array).max():.3g}, too large for 32-bit floats. Rescale it."
        )
    return single


@contextmanager
def writing_cache(folder: Path) -> Iterator[None]:
    """Turn a full disk or an unwritable cache folder into a UsageError, because every other case would fail too."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"The cache folder {folder} cannot be written: {error.strerror or error}. "
            "Free some space, or choose another folder with --cache or RADAPT_CACHE."
        ) from error
