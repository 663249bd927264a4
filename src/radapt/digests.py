"""Digests of plain values, of files, and of the bytes at an image's location.

File digests are cached by path, size, modification time and change time, so that a cohort of many gigabytes is read
for its digest once, not at every start.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from radapt.errors import DataError, UsageError
from radapt.locations import Location
from radapt.parsing.text_header import voxel_file
from radapt.remote.images import state_of

_SIZE = 16  # bytes: 128 bits, far beyond accidental collision
_NAME = "digests.sqlite"
_CLOCK_TICK_NS = 50_000_000
"""File systems advance their clock in ticks of up to some hundredths of a second. A digest that is taken so soon after
a change is not cached, because a second change in the same tick would leave the stamp as it is."""


def digest(value: Any) -> str:
    """32 hex digits of a JSON-like value (dicts, lists, strings, numbers, None)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=_SIZE).hexdigest()


def digest_file(path: Path) -> str:
    """32 hex digits of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_SIZE)).hexdigest()


class ByteDigests:
    """Digests of the bytes at locations, cached on disk in `folder`.

    Safe with several threads and processes: the cache is an SQLite file, and losing it costs time only.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / _NAME
        self._cache_folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                self._database = _open(path)
            except sqlite3.DatabaseError:
                path.unlink()  # corrupt; its digests can be computed again
                self._database = _open(path)
        except (OSError, sqlite3.Error) as error:
            raise UsageError(
                f"The cache folder {folder} cannot be written ({error}). Give another with --cache or $RADAPT_CACHE."
            ) from error
        self._lock = threading.Lock()

    def __reduce__(self) -> "tuple[type[ByteDigests], tuple[Path]]":
        """Another process opens the same cache."""
        return ByteDigests, (self._cache_folder,)

    def of(self, location: Location) -> str:
        """The digest of the bytes at `location`: a file, every file of a series folder, an entry of an array, the files
        of a mask with the label of each.

        Of a remote location, of what its server says of the bytes (see `radapt.remote.images.state_of`). Raises
        DataError if the location does not exist.
        """
        if location.url:
            return _digest_of_remote(location)
        path = location.path
        try:
            if location.parts:
                return digest([[label, self._image(path / file)] for label, file in location.parts])
            content = self._folder(path) if path.is_dir() else self._image(path)
        except OSError as error:
            raise DataError(
                f"Image file {error.filename or path} cannot be read: {error.strerror or error}."
            ) from error
        return content if location.array is None else digest([content, location.array, location.index])

    def _image(self, path: Path) -> str:
        """Of a header and the file with its voxels, of both."""
        voxels = voxel_file(path)
        return self._file(path) if voxels is None else digest([self._file(path), self._file(voxels)])

    def _file(self, path: Path) -> str:
        facts = path.stat()
        return self._cached(path, stamp_of(facts), lambda: digest_file(path), _just_changed(facts))

    def _folder(self, folder: Path) -> str:
        """Cached as a whole: an unchanged folder is one lookup, however many files it holds."""
        with os.scandir(folder) as entries:
            files = {item.name: item.stat() for item in entries if _counts(item)}
        stamp = digest([[name, stamp_of(files[name])] for name in sorted(files)])
        fresh = any(_just_changed(facts) for facts in files.values())
        return self._cached(folder, stamp, lambda: digest(sorted(self._file(folder / name) for name in files)), fresh)

    def _cached(self, path: Path, stamp: str, compute: Callable[[], str], fresh: bool) -> str:
        key = os.path.realpath(path)
        row = self._execute("SELECT stamp, digest FROM files WHERE path = ?", (key,))
        if row is not None and row[0] == stamp and isinstance(row[1], str):
            return row[1]
        computed = compute()
        if not fresh:
            self._execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (key, stamp, computed))
        return computed

    def _execute(self, command: str, values: tuple[str, ...]) -> Any:
        """The first row, or None. A full disk or a damaged database makes digests slower, not wrong."""
        with self._lock:
            try:
                return self._database.execute(command, values).fetchone()
            except sqlite3.OperationalError:
                return None
            except sqlite3.DatabaseError:  # a damaged page
                with contextlib.suppress(OSError, sqlite3.Error):
                    self._database.close()
                    (self._cache_folder / _NAME).unlink(missing_ok=True)
                    self._database = _open(self._cache_folder / _NAME)
                return None


def _digest_of_remote(location: Location) -> str:
    states = [state_of(url) for url in location.urls]
    if location.parts:
        return digest([[label, state] for (label, _), state in zip(location.parts, states, strict=True)])
    return digest(states if location.array is None else [states, location.array, location.index])


def stamp_of(facts: os.stat_result) -> str:
    """Size, times and inode of a file. The change time moves even if the modification time is set back."""
    return f"{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ctime_ns}:{facts.st_ino}"


def _just_changed(facts: os.stat_result) -> bool:
    return 0 <= time.time_ns() - facts.st_ctime_ns < _CLOCK_TICK_NS


def _counts(entry: "os.DirEntry[str]") -> bool:
    return entry.is_file() and not entry.name.startswith(".")


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    # No disk flush per image: after a crash digests are computed again.
    database.execute("PRAGMA synchronous = OFF")
    database.execute("CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, stamp TEXT, digest TEXT)")
    return database
