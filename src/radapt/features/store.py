"""The feature store: rows on disk, content-addressed, append-only, crash-safe and shareable between processes.

A store is a folder of shards. Each writing process has its own shards, so no process waits for a lock:

    config.json                 the values that decide the rows, and the width D of a row
    <shard>.f32                 rows of D little-endian float32, one after the other (.f16: of float16)
    <shard>.jsonl               a line per image, written and synced after its rows: key, start, rows, CRC
    <shard>.ok                  size and time of the .f32 file when its CRCs were last verified

Truncated index lines, missing rows, and rows with a wrong CRC are ignored: their images are not in the store and are
computed again. Processes that start together on the same images each compute them all, because a process does not see
rows stored after it opened the store; one of the copies is then used.
"""

import contextlib
import json
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from radapt.durable import write_text
from radapt.errors import DataError

FLOAT32, FLOAT16 = np.dtype("<f4"), np.dtype("<f2")
_FLUSH_EVERY_S = 2.0  # the most work that a kill can lose
_FLUSH_EVERY_BYTES = 64 << 20


class Entry(NamedTuple):
    """Where the rows of one image lie: shard number, first row, number of rows."""

    shard: int
    start: int
    rows: int


class FeatureStore:
    """Rows of `width` numbers by key, in `folder`. Opening reads the index only, not the rows.

    The rows of a shard that changed since its CRCs were last verified are read once on opening.
    """

    def __init__(self, folder: Path, width: int, number: np.dtype = FLOAT32) -> None:
        self.folder, self.width, self.number = folder, width, number
        self._entries: dict[str, Entry] = {}
        self._shards: list[Path] = []
        self._maps: dict[int, np.ndarray] = {}
        for index in sorted(folder.glob("*.jsonl")):
            self._open_shard(index.with_suffix(_suffix(number)))

    def __getstate__(self) -> dict[str, Any]:
        """Another process maps the files again: a pickled map would be a copy of its rows."""
        return {**self.__dict__, "_maps": {}}

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, key: str) -> Entry:
        return self._entries[key]

    def view(self, entry: Entry) -> np.ndarray:
        """Rows (n, D) as a read-only view of the memory-mapped file, read on access."""
        return self.shard(entry.shard)[entry.start : entry.start + entry.rows]

    def shard(self, number: int) -> np.ndarray:
        """All rows of shard `number`, as a read-only view of the memory-mapped file."""
        if number not in self._maps:
            self._maps[number] = _map(self._shards[number], self.width, self.number)
        return self._maps[number]

    def read(self, entry: Entry) -> np.ndarray:
        """Rows (n, D) as a copy, for passes over all rows, which would otherwise map the whole store."""
        offset = entry.start * self.width * self.number.itemsize
        rows = np.fromfile(self._shards[entry.shard], self.number, entry.rows * self.width, offset=offset)
        return rows.reshape(entry.rows, self.width)

    def writer(self) -> "ShardWriter":
        """A writer of a new shard; open the store again to see its rows."""
        return ShardWriter(self.folder, self.width, self.number)

    def _open_shard(self, path: Path) -> None:
        if not path.exists():
            return
        lines = list(_index_lines(path.with_suffix(".jsonl")))
        stamp, rows = _stamp(path), path.stat().st_size // (self.width * self.number.itemsize)
        lines = [line for line in lines if line.start + line.rows <= rows]
        if not _is_stamped(path, stamp):
            mapped = _map(path, self.width, self.number)
            valid = [line for line in lines if zlib.crc32(mapped[line.start : line.start + line.rows].data) == line.crc]
            if len(valid) == len(lines):
                _write_stamp(path, stamp)
            lines = valid
        for line in lines:
            self._entries.setdefault(line.key, Entry(len(self._shards), line.start, line.rows))
        self._shards.append(path)


class ShardWriter:
    """Appends the rows of complete images to its own shard; a context manager that flushes at the end.

    Rows are buffered and written about every two seconds: first the rows, synced, then their index lines, synced. Files
    appear with the first flush. After a failed flush the writer cannot be used.
    """

    def __init__(self, folder: Path, width: int, number: np.dtype = FLOAT32) -> None:
        self._path = folder / f"{os.getpid():x}-{os.urandom(6).hex()}{_suffix(number)}"
        self._width, self._number, self._rows = width, number, 0
        self._data: list[bytes] = []
        self._lines: list[str] = []
        self._bytes, self._last = 0, time.monotonic()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, key: str, rows: np.ndarray) -> None:
        """Add the rows (n, D) of one image; n ≥ 1."""
        if rows.ndim != 2 or rows.shape[1] != self._width or not len(rows):
            raise ValueError(f"Expected at least one row of {self._width} numbers for {key}, got {rows.shape}.")
        data = np.ascontiguousarray(rows, self._number).tobytes()
        line = {"key": key, "start": self._rows, "rows": len(rows), "crc": zlib.crc32(data)}
        self._data.append(data)
        self._lines.append(json.dumps(line, separators=(",", ":")) + "\n")
        self._rows, self._bytes = self._rows + len(rows), self._bytes + len(data)
        if self._bytes >= _FLUSH_EVERY_BYTES or time.monotonic() - self._last >= _FLUSH_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write all buffered rows to disk. Raises DataError if they cannot be written."""
        if self._lines:
            try:
                _append(self._path, b"".join(self._data))
                _append(self._path.with_suffix(".jsonl"), "".join(self._lines).encode())
            except OSError as error:
                self._rows = (
                    0  # the position of the next row is unknown now, and the shard must not be stamped as verified
                )
                reason = error.strerror or error
                raise DataError(f"Features cannot be written to {self._path.parent}: {reason}.") from error
            finally:
                self._data, self._lines, self._bytes = [], [], 0
        self._last = time.monotonic()

    def close(self) -> None:
        """Flush, and stamp the shard as verified so that the next opening does not read it."""
        self.flush()
        if self._rows:
            _write_stamp(self._path, _stamp(self._path))


class _Line(NamedTuple):
    key: str
    start: int
    rows: int
    crc: int


def _index_lines(path: Path) -> Iterator[_Line]:
    """The valid lines of an index, up to the first truncated or invalid one."""
    for text in path.read_bytes().splitlines(keepends=True):
        if not text.endswith(b"\n"):
            return
        try:
            line = _Line(**json.loads(text))
        except (ValueError, TypeError):
            return
        yield line


def _suffix(number: np.dtype) -> str:
    return f".f{8 * number.itemsize}"


def _map(path: Path, width: int, number: np.dtype) -> np.ndarray:
    rows = path.stat().st_size // (width * number.itemsize)
    return np.memmap(path, number, "r", shape=(rows, width)) if rows else np.empty((0, width), number)


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _stamp(path: Path) -> str:
    facts = path.stat()
    return f"{facts.st_size} {facts.st_mtime_ns} {facts.st_ino}\n"


def _is_stamped(path: Path, stamp: str) -> bool:
    mark = path.with_suffix(".ok")
    return mark.exists() and mark.read_text(encoding="utf-8") == stamp


def _write_stamp(path: Path, stamp: str) -> None:
    with contextlib.suppress(OSError):  # a read-only store is verified at every opening
        write_text(path.with_suffix(".ok"), stamp)
