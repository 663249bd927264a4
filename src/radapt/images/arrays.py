"""NumPy files: `.npy`, and arrays or entries of arrays inside `.npz` archives. Pickled objects are never read."""

import shutil
import threading
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from radapt.digests import digest, stamp_of
from radapt.errors import DataError, suggest
from radapt.images.claims import DEFLATE, SLACK
from radapt.images.reading import plain_voxels, reading, writing_cache
from radapt.images.volume import Volume
from radapt.locations import Location
from radapt.sealed import PARSING, mapped, open_sealed, sealing

FIX = "Was the copy or download interrupted? Copy it again."
MIN_PICTURE = 8
"""From this many rows and columns on, a last axis of 2 or 4 is read as channels and refused, not as a width."""

_UNPACKING = threading.Lock()


def read_array(location: Location, modality: str | None = None, cache: Path | None = None) -> Volume:
    """Read an image from `.npy`, `.npz` with one array, `file.npz::name` or `file.npz::name[index]`.

    Shapes: (H, W), (H, W, 1), (H, W, 3) colour, (n, H, W) a stack of planes, (n, H, W, 3) a colour stack. With an
    index and a `cache` folder, the member is unpacked there once and memory-mapped, so that memory stays flat.
    """
    path = location.path
    with reading(path, "a NumPy file", FIX):
        with path.open("rb") as file:
            bare = file.read(6) == b"\x93NUMPY"
        array = _npy(path, location) if bare else _npz(path, location, cache)
        if location.index is not None:
            array = _entry(array, location)
        planes = plain_voxels(np.ascontiguousarray(_as_planes(array, location)), path)
    return Volume.from_planes(planes, modality=modality)


def array_names(path: Path) -> tuple[str, ...]:
    """The names of the arrays in an `.npz` archive. Raises DataError if it is not one."""
    with reading(path, "a NumPy archive", FIX), zipfile.ZipFile(path) as archive:
        return tuple(name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy"))


def _npy(path: Path, location: Location) -> np.ndarray:
    if location.array is not None and (location.array != "array" or location.index is None):
        raise DataError(f"{location}: a .npy file holds one array. Write {path}, or {path}::array[0] for one entry.")
    with path.open("rb") as file:
        _check_header(file, location)
    return mapped(path)


def _npz(path: Path, location: Location, cache: Path | None) -> np.ndarray:
    name = _member(path, location)
    if cache is not None and location.index is not None:
        return _unpacked(path, name, location, cache)
    with zipfile.ZipFile(path) as archive:
        _check_member(archive, name, location)
        with archive.open(f"{name}.npy") as file, PARSING:
            array = np.lib.format.read_array(file, allow_pickle=False)
            file.read()  # reaching the end makes zipfile verify the checksum
            return array


def _member(path: Path, location: Location) -> str:
    names = array_names(path)
    if location.array is None and len(names) == 1:
        return names[0]
    if location.array is None:
        raise DataError(f"{path} holds {len(names)} arrays ({', '.join(names[:12])}). Write {path}::NAME for one.")
    if location.array not in names:
        raise DataError(f"{path} has no array {location.array!r}. {suggest(location.array, names)}")
    return location.array


def _check_member(archive: zipfile.ZipFile, name: str, location: Location) -> None:
    with archive.open(f"{name}.npy") as file:
        size = _check_header(file, location)
    member = archive.getinfo(f"{name}.npy")
    if member.file_size < size or size > member.compress_size * DEFLATE + SLACK:
        raise DataError(f"{location} is truncated: its array needs {size} bytes. {FIX}")


def _check_header(file: IO[bytes], location: Location) -> int:
    """The size in bytes that the header declares. Raises DataError for pickled objects."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with PARSING:
        shape, _, dtype = read(file)
    if dtype.hasobject:
        raise DataError(
            f"{location} holds pickled Python objects, which could run code and are never read. "
            "Save it again as numbers, for example np.savez(file, images=np.stack(images))."
        )
    return int(np.prod(shape, dtype=object)) * dtype.itemsize


def _unpacked(path: Path, name: str, location: Location, cache: Path) -> np.ndarray:
    identity = [location.origin] if location.origin else [str(path.resolve()), stamp_of(path.stat())]
    target = cache / f"{digest([*identity, name])}.npy"
    # One thread unpacks and the others wait; two processes may both unpack, which is harmless.
    with _UNPACKING:
        if (stored := open_sealed(target)) is not None:
            return stored
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            _check_member(archive, name, location)
            with writing_cache(cache), sealing(target) as out:
                shutil.copyfileobj(file, out, 1 << 20)
        stored = open_sealed(target)
    if stored is None:
        raise DataError(f"{location} was unpacked to {target}, but cannot be read back.")
    return stored


def _entry(array: np.ndarray, location: Location) -> np.ndarray:
    index = location.index or 0
    if array.ndim == 0 or index >= array.shape[0]:
        count = array.shape[0] if array.ndim else 0
        raise DataError(f"{location} does not exist: the array has {count} entries, counted from 0.")
    return array[index]


def _as_planes(array: np.ndarray, location: Location) -> np.ndarray:
    """The array as planes, (n, H, W) or (n, H, W, 3)."""
    if array.ndim in (3, 4) and array.shape[-1] == 1:
        array = array[..., 0]
    rows = array.shape[-3:-1]
    if array.ndim in (3, 4) and array.shape[-1] in (2, 4) and len(rows) == 2 and min(rows) >= MIN_PICTURE:
        raise DataError(
            f"{location} has shape {array.shape}: are the last {array.shape[-1]} values channels? "
            "Save one array per modality, or colour as (H, W, 3)."
        )
    match array.ndim:
        case 2:
            return array[None]
        case 3:
            return array[None] if array.shape[-1] == 3 else array
        case 4 if array.shape[-1] == 3:
            return array
    raise DataError(
        f"{location} has shape {array.shape}, expected (H, W), (H, W, 3), (n, H, W) or (n, H, W, 3)."
        + (f" For one entry write {location.path}::{location.array or 'array'}[0]." if location.index is None else "")
    )
