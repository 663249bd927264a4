"""Sealed arrays: `.npy` files of a cache that end in a digest of their bytes, and one of this digest and of their key.

A damaged, foreign or truncated file is noticed before a number of it is used. NumPy maps the array and never reads the
seal, which stands behind it.
"""

import contextlib
import hashlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO

import numpy as np

from radapt.digests import stamp_of
from radapt.durable import atomic_path

_MARK = b"radapt-seal-1:"
_SIZE = 16
_CHUNK = 1 << 20
_REMEMBERED = 4096  # files verified by this process whose content need not be read again
_SAID = 5  # damaged entries that are named, of each process

_LOG = logging.getLogger("radapt")
PARSING = threading.Lock()
"""NumPy parses headers as Python code; in CPython 3.11 two threads doing so at once may fail (gh-106905)."""
_verified: OrderedDict[str, str] = OrderedDict()
_lock = threading.Lock()
_damaged = count(1)


class SealedFile:
    """A binary file that hashes what is written to it."""

    def __init__(self, file: IO[bytes], key: str) -> None:
        self._file, self._key, self._digest = file, key, _hash()

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def seal(self) -> None:
        """Append the digest; nothing may be written afterwards."""
        self._file.write(_seal(self._digest.digest(), self._key))


@contextlib.contextmanager
def sealing(path: Path, key: str | None = None) -> Iterator[SealedFile]:
    """A file for an array at `path`, sealed and renamed when the block ends. `key` is its name by default."""
    with atomic_path(path) as part, part.open("wb") as file:
        sealed = SealedFile(file, path.name if key is None else key)
        yield sealed
        sealed.seal()


def write_sealed(path: Path, array: np.ndarray, key: str | None = None) -> None:
    """Write `array` as a sealed `.npy` file."""
    with sealing(path, key) as file:
        np.save(file, array)


def open_sealed(path: Path, key: str | None = None) -> np.ndarray | None:
    """The array at `path`, memory-mapped and read-only; None if it is absent, or if its seal is not intact.

    A file is read once per process to verify it, and again when its size, times or inode change. Damage is noted in
    the log `radapt`.
    """
    try:
        if not _is_intact(path, path.name if key is None else key):
            note_damage(path)
            return None
        return mapped(path)
    except FileNotFoundError:
        return None
    except Exception as error:  # NumPy raises many types for headers that it cannot parse
        note_damage(path, f" ({type(error).__name__})")
        return None


def content_digest(path: Path, key: str | None = None) -> str | None:
    """32 hex digits of the array in a sealed file, whatever its key; only the seal is read. None without a seal."""
    try:
        with path.open("rb") as file:
            file.seek(-len(_MARK) - 2 * _SIZE, os.SEEK_END)
            seal = file.read()
    except OSError:
        return None
    content = seal[len(_MARK) : -_SIZE]
    return content.hex() if seal == _seal(content, path.name if key is None else key) else None


def mapped(path: Path) -> np.ndarray:
    """The array in a `.npy` file, memory-mapped and read-only. Raises OSError, ValueError or EOFError."""
    with PARSING:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def note_damage(path: Path, why: str = "") -> None:
    """Log that the cached file `path` is damaged and is made again; after a few files only that there are more."""
    number = next(_damaged)
    if number <= _SAID:
        _LOG.warning("%s is damaged%s and is made again.", path, why)
    elif number == _SAID + 1:
        _LOG.warning("More cached files are damaged and are made again; they are not listed.")


def _is_intact(path: Path, key: str) -> bool:
    stamp, name = stamp_of(path.stat()) + key, str(path)
    with _lock:
        if _verified.get(name) == stamp:
            return True
    if not _seal_fits(path, key):
        return False
    with _lock:
        _verified[name] = stamp
        while len(_verified) > _REMEMBERED:
            _verified.popitem(last=False)
    return True


def _seal_fits(path: Path, key: str) -> bool:
    digest, left = _hash(), path.stat().st_size - len(_MARK) - 2 * _SIZE
    if left < 0:
        return False
    with path.open("rb") as file:
        while left > 0 and (chunk := file.read(min(left, _CHUNK))):
            digest.update(chunk)
            left -= len(chunk)
        return file.read() == _seal(digest.digest(), key)


def _seal(content: bytes, key: str) -> bytes:
    return _MARK + content + _hash(content + key.encode()).digest()


def _hash(data: bytes = b"") -> "hashlib.blake2b":
    return hashlib.blake2b(data, digest_size=_SIZE)
