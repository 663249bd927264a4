"""The voxels of a MetaImage or NRRD file, read to the last byte and checksum."""

import bz2
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Literal

import numpy as np

from radapt.errors import DataError
from radapt.images.claims import DEFLATE, OTHER, check_claim

FIX = "Was the copy or download interrupted? Copy or export it again."

Coding = Literal["raw", "zlib", "gzip", "bzip2"]

_RATIOS: dict[Coding, int] = {"raw": 1, "zlib": DEFLATE, "gzip": DEFLATE, "bzip2": OTHER}
_CHUNK = 4 << 20  # bytes read at a time
_TAIL = 1024  # bytes that may follow raw voxels, such as the end of a line
_ZLIB_OR_GZIP = 47  # zlib's window bits for either header


@dataclass(frozen=True)
class StoredVoxels:
    """Where and how the voxels of `image` are stored: in the file `path`, which may be another one.

    `shape` has the fastest axis first; a negative `offset` means the last bytes.
    """

    image: Path
    path: Path
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]
    coding: Coding


def read_voxels(stored: StoredVoxels) -> np.ndarray:
    """The array of `stored.shape`. Raises DataError if the file has fewer or other bytes than its header claims, and
    what zlib, gzip and bz2 raise for damage."""
    path = stored.path
    if not path.is_file():
        raise DataError(
            f"{stored.image} has its voxels in {path.name!r}, which does not exist beside it. Copy both files."
        )
    name = stored.image if path == stored.image else f"{path.name}, with the voxels of {stored.image},"
    expected = prod(stored.shape) * stored.dtype.itemsize
    size = path.stat().st_size
    offset = size - expected if stored.offset < 0 else stored.offset
    if offset < 0 or (stored.coding == "raw" and offset + expected > size):
        held = max(size - max(offset, 0), 0)
        raise DataError(
            f"{name} is truncated: size {stored.shape} of {stored.dtype} is {expected:,} bytes, it has {held:,}. {FIX}"
        )
    check_claim(stored.image, expected, size - offset, _RATIOS[stored.coding], FIX)
    buffer = bytearray()  # grows with what the file holds, whatever its header claims
    with path.open("rb") as file:
        file.seek(offset)
        for chunk in _chunks(file, stored.coding):
            buffer += chunk
            if len(buffer) > expected + _TAIL:
                break
    longest = expected + (_TAIL if stored.coding == "raw" else 0)
    if not expected <= len(buffer) <= longest:
        more = "more than " if len(buffer) > expected else ""
        raise DataError(
            f"{name} is damaged, or its header is wrong: size {stored.shape} of {stored.dtype} is {expected:,} bytes, "
            f"the file holds {more}{min(len(buffer), longest):,}. {FIX}"
        )
    return np.frombuffer(buffer, stored.dtype, prod(stored.shape)).reshape(stored.shape, order="F")


def _chunks(file: IO[bytes], coding: Coding) -> Iterator[bytes]:
    if coding == "zlib":
        yield from _inflated(file)
        return
    stream: IO[bytes] = file
    if coding == "gzip":
        stream = gzip.GzipFile(fileobj=file)  # type: ignore[assignment]
    elif coding == "bzip2":
        stream = bz2.BZ2File(file)
    while chunk := stream.read(_CHUNK):
        yield chunk


def _inflated(file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of one zlib or gzip stream, whose checksum is verified."""
    unpacking = zlib.decompressobj(_ZLIB_OR_GZIP)
    while not unpacking.eof and (packed := file.read(_CHUNK)):
        while packed and not unpacking.eof:
            yield unpacking.decompress(packed, _CHUNK)
            packed = unpacking.unconsumed_tail
    yield unpacking.flush()
    if not unpacking.eof:
        raise DataError(f"{file.name} is truncated: its compressed voxels end too early. {FIX}")
