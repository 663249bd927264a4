"""The feature store: rows on disk, content-addressed, append-only, crash-safe and shareable between processes.

A store is a folder of shards. Each writing process has its own shards, so no process waits for a lock:

    config.json                 the values that decide the rows, and the width D of a row
    <shard>.f32                 rows of D little-endian float32, one after the other (.f16: of float16)
    <shard>.jsonl               a line per image, written and synced after its rows: key, start, rows, the CRC of the
                                rows, and the CRC of the line

Damaged index lines and missing rows are ignored: their images are not in the store and are computed again, and so are
those whose rows are not `is_intact`. A store does not see rows that others add after it was opened; of two copies of
the same rows one is used. `sharing` keeps processes from computing the same.
"""

import json
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from radapt.errors import DataError, unwritable
from radapt.sealed import note_damage

FLOAT32, FLOAT16 = np.dtype("<f4"), np.dtype("<f2")
_FLUSH_EVERY_S = 2.0  # the most work that a kill can lose
_FLUSH_EVERY_BYTES = 64 << 20


Place = tuple[str, int]
"""The name of a shard and the first row of an image in it."""


class Entry(NamedTuple):
    """Where the rows of one image lie: shard number, first row, number of rows; and their CRC."""

    shard: int
    start: int
    rows: int
    crc: int


class FeatureStore:
    """Rows of `width` numbers by key, in `folder`. Opening reads the index only, not the rows.

    Rows are verified when they are first asked for; stores of one folder may share what is `verified`.
    """

    def __init__(
        self, folder: Path, width: int, number: np.dtype = FLOAT32, verified: set[Place] | None = None
    ) -> None:
        self.folder, self.width, self.number = folder, width, number
        self._entries: dict[str, Entry] = {}
        self._shards: list[Path] = []
        self._maps: dict[int, np.ndarray] = {}
        self._copies: dict[str, list[Entry]] = {}
        self._verified = set[Place]() if verified is None else verified
        self._indices = _sizes(folder)
        for index in sorted(folder.glob("*.jsonl")):
            self._open_shard(index.with_suffix(_suffix(number)))

    def __getstate__(self) -> dict[str, Any]:
        """Another process maps the files again: a pickled map would be a copy of its rows."""
        return {**self.__dict__, "_maps": {}}

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def is_intact(self, key: str) -> bool:
        """Whether the store has rows of `key` with the right CRC, for which they are read once.

        Damaged rows are replaced by those of another process that computed the same, or forgotten.
        """
        while (entry := self._entries.get(key)) is not None:
            place = (self._shards[entry.shard].name, entry.start)
            if place in self._verified:
                return True
            if zlib.crc32(self.read(entry).data) == entry.crc:
                self._verified.add(place)
                return True
            note_damage(self._shards[entry.shard])
            if copies := self._copies.get(key):
                self._entries[key] = copies.pop()
            else:
                del self._entries[key]
        return False

    def entry(self, key: str) -> Entry:
        """Where the intact rows of `key` lie. Raises DataError if there are none."""
        if not self.is_intact(key):
            raise DataError(
                f"Features in {self.folder} are missing or damaged. Run the same command again: they are computed "
                "again."
            )
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

    def with_new_rows(self, own: "ShardWriter") -> "FeatureStore":
        """This store, or a newly opened one if processes other than that of the writer `own` have added rows."""
        sizes = _sizes(self.folder)
        sizes.pop(own.index.name, None)
        if sizes == {name: size for name, size in self._indices.items() if name != own.index.name}:
            return self
        return FeatureStore(self.folder, self.width, self.number, self._verified)

    def writer(self) -> "ShardWriter":
        """A writer of a new shard; open the store again to see its rows."""
        return ShardWriter(self.folder, self.width, self.number)

    def _open_shard(self, path: Path) -> None:
        if not path.exists():
            return
        rows = path.stat().st_size // (self.width * self.number.itemsize)
        for line in _index_lines(path.with_suffix(".jsonl")):
            if line.start + line.rows > rows:
                continue
            entry = Entry(len(self._shards), line.start, line.rows, line.crc)
            if self._entries.setdefault(line.key, entry) is not entry:
                self._copies.setdefault(line.key, []).append(entry)
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

    @property
    def index(self) -> Path:
        return self._path.with_suffix(".jsonl")

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, key: str, rows: np.ndarray) -> None:
        """Add the rows (n, D) of one image; n ≥ 1."""
        if rows.ndim != 2 or rows.shape[1] != self._width or not len(rows):
            raise ValueError(f"Expected at least one row of {self._width} numbers for {key}, got {rows.shape}.")
        data = np.ascontiguousarray(rows, self._number).tobytes()
        line = _Line(key, self._rows, len(rows), zlib.crc32(data))
        self._data.append(data)
        self._lines.append(line.text)
        self._rows, self._bytes = self._rows + len(rows), self._bytes + len(data)
        if self._bytes >= _FLUSH_EVERY_BYTES or time.monotonic() - self._last >= _FLUSH_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write all buffered rows to disk. Raises UsageError if they cannot be written."""
        if self._lines:
            try:
                _append(self._path, b"".join(self._data))
                _append(self.index, "".join(self._lines).encode())
            except OSError as error:
                raise unwritable(f"The folder of features {self._path.parent}", error) from error
            finally:
                self._data, self._lines, self._bytes = [], [], 0
        self._last = time.monotonic()

    def close(self) -> None:
        """Flush."""
        self.flush()


class _Line(NamedTuple):
    """A line of an index. The rows of a key start at `start`."""

    key: str
    start: int
    rows: int
    crc: int

    @property
    def text(self) -> str:
        """The line as stored: JSON, and the CRC of this text."""
        text = json.dumps(list(self), separators=(",", ":"))
        return f"{text}\t{zlib.crc32(text.encode()):08x}\n"


def _index_lines(path: Path) -> Iterator[_Line]:
    """The lines of an index that are as they were written."""
    damaged = False
    for stored in path.read_bytes().split(b"\n")[:-1]:
        text, _, check = stored.partition(b"\t")
        if check == b"%08x" % zlib.crc32(text):
            yield _Line(*json.loads(text))
        else:
            damaged = True
    if damaged:
        note_damage(path)


def _sizes(folder: Path) -> dict[str, int]:
    """The size of each index of a store."""
    return {path.name: path.stat().st_size for path in folder.glob("*.jsonl")}


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
