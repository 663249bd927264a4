"""Zip and tar archives, unpacked so that nothing is written outside the folder and nothing fills the disk.

Names are checked before a byte is written, and sizes also while writing, because an archive may lie about them.
"""

import lzma
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple

from radapt.digests import digest_file
from radapt.durable import atomic_path
from radapt.errors import DataError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MOST_ENTRIES = 5_000_000
MOST_BYTES = 2 * 2**40
MOST_TIMES = 100
"""How much larger than the archive its content may be, above `SMALL_BYTES`. Volumes compress 2 to 20 times."""
SMALL_BYTES = 64 * 2**20

_CHUNK = 1 << 20
_DEEPEST = 64
_LONGEST_END = 65_557  # bytes of a zip's end record with the longest comment
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError,
    ValueError, struct.error, RecursionError, IndexError,
)  # fmt: skip


def is_archive(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(SUFFIXES)


class Unpacked(NamedTuple):
    """The folder with an archive's content, and the folders created for it, innermost first; none if it existed."""

    folder: Path
    made: tuple[Path, ...]


@contextmanager
def remove_on_failure(made: Sequence[Path]) -> Iterator[None]:
    """If the block fails, remove the innermost of `made` with all that is in it, and the outer ones if empty."""
    try:
        yield
    except BaseException:
        for number, folder in enumerate(made):
            if number == 0:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                with suppress(OSError):
                    folder.rmdir()
        raise


def unpack(archive: Path, beside: Path) -> Unpacked:
    """Unpack into a folder in `beside` named after the archive and its digest.

    The folder appears complete or not at all; one that exists already from the same archive is reused. Raises DataError
    for an archive that is broken or encrypted, reaches outside its folder, holds links or devices, or expands far
    beyond its size.
    """
    suffix = next(suffix for suffix in SUFFIXES if archive.name.lower().endswith(suffix))
    target = beside / f"{archive.name[: -len(suffix)]}-{digest_file(archive)[:8]}"
    if target.is_dir():
        return Unpacked(target, ())
    made = (target, *(folder for folder in target.parents if not folder.exists()))
    with remove_on_failure(made), _readable_errors(archive), atomic_path(target, folder=True) as part:
        budget = _Budget(archive, beside)
        if suffix == ".zip":
            _unzip(archive, part, budget)
        else:
            _untar(archive, part, budget)
    return Unpacked(target, made)


class _Budget:
    """Counts bytes and entries against the limits and the free disk space."""

    def __init__(self, archive: Path, beside: Path) -> None:
        self._archive = archive
        self._free = shutil.disk_usage(beside).free
        self._most = min(MOST_BYTES, max(SMALL_BYTES, MOST_TIMES * archive.stat().st_size))
        self._bytes = self._entries = 0

    def check(self, size: int) -> None:
        """Raise DataError if `size` bytes in total are too many."""
        if size > self._most:
            raise DataError(
                f"Archive {self._archive} would unpack to more than {self._most / 2**20:,.0f} MB, over "
                f"{MOST_TIMES} times its own size. It may be a zip bomb; unpack it yourself if you trust it."
            )
        if size > self._free:
            raise DataError(
                f"Archive {self._archive} needs {size / 2**30:,.1f} GB, but {self._free / 2**30:,.1f} GB are free. "
                "Choose an --out on a larger disk."
            )

    def spend(self, size: int) -> None:
        self._bytes += size
        self.check(self._bytes)

    def count(self) -> None:
        self._entries += 1
        if self._entries > MOST_ENTRIES:
            raise DataError(f"Archive {self._archive} holds more than {MOST_ENTRIES:,} entries. Unpack it yourself.")


@contextmanager
def _readable_errors(archive: Path) -> Iterator[None]:
    """Turn the exceptions of a broken archive into a DataError of one sentence."""
    try:
        yield
    except DataError:
        raise
    except _BROKEN as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(":")
        raise DataError(f"Archive {archive} is broken or cannot be unpacked: {reason}. Download it again.") from error


def _unzip(archive: Path, into: Path, budget: _Budget) -> None:
    with zipfile.ZipFile(archive) as source:
        entries = source.infolist()
        _refuse_lost_entries(archive, len(entries))
        for entry in entries:
            budget.count()
            _safe(archive, entry.filename)
            kind = entry.external_attr >> 28  # the file type of a Unix mode: 0 unknown, 4 folder, 8 file
            if kind not in (0, 4, 8):
                raise DataError(f"Archive {archive} holds a link or a device, {entry.filename!r}; expected files only.")
            if entry.is_dir() and entry.file_size:  # a name ends at a NUL, so that a file may look like its folder
                raise zipfile.BadZipFile(f"{entry.orig_filename!r} is called a folder, but has content")
            if entry.flag_bits & 1:
                raise DataError(f"Archive {archive} is encrypted ({entry.filename!r}). Decrypt it first.")
        budget.check(sum(entry.file_size for entry in entries))
        for entry in entries:
            target = into / _safe(archive, entry.filename)
            if entry.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                with source.open(entry) as stream:
                    _write(stream, target, budget)


def _untar(archive: Path, into: Path, budget: _Budget) -> None:
    with tarfile.open(archive, "r:*") as source:
        entry = None
        for entry in source:
            budget.count()
            target = into / _safe(archive, entry.name)
            if not (entry.isreg() or entry.isdir()):
                raise DataError(f"Archive {archive} holds a link or a device, {entry.name!r}; expected files only.")
            if entry.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            stream = source.extractfile(entry)
            if stream is not None:
                _write(stream, target, budget)
        if entry is None:
            raise tarfile.ReadError("no file can be found in it")
        _refuse_broken_end(source, budget)


def _refuse_broken_end(source: tarfile.TarFile, budget: _Budget) -> None:
    """Raise ReadError unless the archive ends properly.

    tarfile takes a damaged header for the end: without this check, the cases behind it would be missing silently.
    Reading to the last byte lets gzip, bzip2 and xz verify their checksums.
    """
    rest = source.fileobj
    if rest is None:
        return
    rest.seek(source.offset)
    if (end := rest.read(tarfile.BLOCKSIZE)) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it is truncated" if len(end) < tarfile.BLOCKSIZE else "a header in it is damaged")
    while chunk := rest.read(_CHUNK):
        budget.spend(len(chunk))
        if chunk.count(0) != len(chunk):  # a header of zeros looks like the end
            raise tarfile.ReadError("there is more behind its end")


def _refuse_lost_entries(archive: Path, found: int) -> None:
    """Raise BadZipFile if the end record counts other entries than were `found`.

    zipfile trusts the size of the directory: where it is damaged, the first entries would be missing silently.
    """
    with archive.open("rb") as file:
        file.seek(max(0, archive.stat().st_size - _LONGEST_END))
        end = file.read()
    at = end.rfind(b"PK\5\6")
    (stated,) = struct.unpack("<H", end[at + 10 : at + 12])
    if not found:
        raise zipfile.BadZipFile("no file can be found in it")
    if stated not in (found & 0xFFFF, 0xFFFF):  # 0xFFFF: the number stands in the ZIP64 record
        raise zipfile.BadZipFile(f"its end record counts {stated} entries, but {found} can be found")


def _safe(archive: Path, name: str) -> PurePosixPath:
    """The entry's name as a path inside the folder. Raises DataError for a path that leaves it."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not name or (not path.parts and name.strip("./")):
        raise DataError(f"Archive {archive} holds an entry without a name.")
    if len(path.parts) > _DEEPEST:
        raise DataError(f"Archive {archive} holds an entry in more than {_DEEPEST} folders. Do not trust it.")
    if path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts or "\0" in name:
        raise DataError(
            f"Archive {archive} holds {name!r}, which would be written outside its folder. Do not trust it."
        )
    return path


def _write(stream: IO[bytes], target: Path, budget: _Budget) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        while chunk := stream.read(_CHUNK):
            budget.spend(len(chunk))
            file.write(chunk)
