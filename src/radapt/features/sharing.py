"""Processes that extract the same images at the same time share the work, part by part.

A part belongs to the process that holds the lock of its file. The system releases the lock of a process that dies, so
that another one takes the part over, with what the dead one stored of it.
"""

import contextlib
import hashlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from radapt.features.batches import SliceSource

PART = 128
"""Images of a part: so few that no process waits long for another one at the end."""

LOCKS = "extracting"

Part = Sequence[SliceSource]


def parts_of(images: Sequence[SliceSource], devices: int = 1) -> list[Part]:
    """The images in parts, which are the same in every process that extracts the same images on as many devices: with
    several at least four for each, so that they end together."""
    size = PART if devices == 1 else max(1, min(PART, len(images) // (4 * devices)))
    return [images[first : first + size] for first in range(0, len(images), size)]


def in_turn(folder: Path, parts: Mapping[int, Part]) -> Generator[int, None, None]:
    """The number of each part while this process alone works on it: first of those that no other process has.

    A part that another process had may be complete when it comes. Where the disk knows no locks, nothing is shared.
    """
    taken: list[int] = []
    for number, part in parts.items():
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(_held(folder, part, wait=False))
            except Timeout:
                taken.append(number)
                continue
            yield number
    for number in taken:
        with _held(folder, parts[number], wait=True):
            yield number


@contextlib.contextmanager
def _held(folder: Path, part: Part, *, wait: bool) -> Iterator[None]:
    name = hashlib.blake2b(" ".join(image.key for image in part).encode(), digest_size=8).hexdigest()
    path = folder / LOCKS / f"{name}.lock"
    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        if isinstance(error, Timeout):
            raise
        yield
        return
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # who waits for the old file finds the part complete
        lock.release()
        with contextlib.suppress(OSError):
            path.parent.rmdir()
