"""Copies of remote images on this machine for the readers, deleted soon after they were read."""

import re
import shutil
import tempfile
import threading
import urllib.parse
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from radapt.errors import DataError, counted
from radapt.locations import Location, shown
from radapt.remote.images import RemoteFile, RemoteImage, answering, file_system, image_at

_KEPT = 4
"""Copies that are kept for the next image, which may be another array or series of the same file."""

_SPARE_BYTES = 1 << 30
_THREADS = 8


@contextmanager
def local_copy(location: Location) -> Iterator[Location]:
    """`location` itself, or for a remote one a copy of its files on this machine while the block runs.

    A DataError of the block names the address, not the copy. Raises DataError and UsageError as `state_of` does, and
    DataError if the files change, are cut short, or do not fit on the disk.
    """
    if not location.url:
        yield location
        return
    images = [image_at(url, fresh=True) for url in location.urls]
    origin = repr([image.state for image in images])
    with _COPIES.taken(origin, images, location) as path:
        try:
            yield Location(path, location.array, location.index, location.parts, origin=origin)
        except DataError as error:
            raise DataError(str(error).replace(str(path), shown(location.url))) from error


@dataclass
class _Copy:
    """The files of an image on this machine; `path` is the file, or the folder of several."""

    folder: Path
    lock: threading.Lock = field(default_factory=threading.Lock)
    path: Path | None = None
    users: int = 0


class _Copies:
    """The copies in use, and the last few besides."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._copies: OrderedDict[str, _Copy] = OrderedDict()
        self._home: tempfile.TemporaryDirectory[str] | None = None

    @contextmanager
    def taken(self, key: str, images: list[RemoteImage], location: Location) -> Iterator[Path]:
        """The path of the copy of `images`, made now unless there is one."""
        with self._lock:
            if self._home is None:
                self._home = tempfile.TemporaryDirectory(prefix="radapt-", ignore_cleanup_errors=True)
            copy = self._copies.pop(key, None) or _Copy(Path(tempfile.mkdtemp(dir=self._home.name)))
            self._copies[key] = copy
            copy.users += 1
        try:
            with copy.lock:
                if copy.path is None:
                    copy.path = _fetched(images, location, copy.folder)
            yield copy.path
        finally:
            with self._lock:
                copy.users -= 1
                idle = [name for name, each in self._copies.items() if each.users == 0]
                for name in idle[: max(len(idle) - _KEPT, 0)]:
                    shutil.rmtree(self._copies.pop(name).folder, ignore_errors=True)


_COPIES = _Copies()


def _fetched(images: list[RemoteImage], location: Location, folder: Path) -> Path:
    if location.parts:
        for (_, name), image in zip(location.parts, images, strict=True):
            target = folder / name
            if not target.resolve().is_relative_to(folder.resolve()):
                raise DataError(f"{location}: the part {name} lies outside its folder.")
            target.parent.mkdir(parents=True, exist_ok=True)
            _fetch(image.files[0], target)
        return folder
    (image,) = images
    name = _name(location.url)
    if not image.is_folder:
        _fetch(image.files[0], folder / name)
    else:
        (folder / name).mkdir()
        with ThreadPoolExecutor(_THREADS, "radapt-remote") as pool:
            list(pool.map(lambda file: _fetch(file, folder / name / _name(file.url)), image.files))
    if image_at(location.url, fresh=True) != image:
        raise DataError(f"{location} changed while it was read. Run the same command again when nothing writes to it.")
    return folder / name


def _name(url: str) -> str:
    last = urllib.parse.unquote(re.split("[?#]", url, maxsplit=1)[0].rstrip("/").rpartition("/")[2])
    plain = re.sub(r"[/\\\x00-\x1f]", "_", last)[-200:]
    return plain if plain not in ("", ".", "..") else "image"


def _fetch(file: RemoteFile, target: Path) -> None:
    """Stream a file to `target`, at most as many bytes as the server claims, which have to fit on the disk."""
    from fsspec.callbacks import Callback

    room = shutil.disk_usage(target.parent).free - _SPARE_BYTES
    most = room if file.size is None else file.size
    if most > room:
        raise DataError(
            f"{shown(file.url)} has {most:,} bytes, for which {tempfile.gettempdir()} has no room. Free some space, or "
            "set TMPDIR to a folder of a larger disk."
        )

    class Bounded(Callback):
        def relative_update(self, inc: int = 1) -> None:
            super().relative_update(inc)
            if self.value > most:
                raise DataError(f"{shown(file.url)} is longer than the {counted(most, 'byte')} that it may have.")

    with answering(file.url):
        files, path = file_system(file.url)
        files.get_file(path, str(target), callback=Bounded())
    if file.size is not None and (arrived := target.stat().st_size) != file.size:
        raise DataError(
            f"{shown(file.url)}: {arrived:,} of {counted(file.size, 'byte')} arrived. Run the same command again."
        )
