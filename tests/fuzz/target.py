"""What is fuzzed: valid files of one kind, the function that reads them, and what the format can detect."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fuzz.mutations import Field

_MEMORY = Path("/dev/shm")
_NAME = re.compile(r"radapt-fuzz-(\d+)-")
_scratch: Path | None = None


def use_scratch(folder: Path) -> None:
    """Make the memory folders of this process inside `folder`, which another process removes."""
    global _scratch
    _scratch = folder


def memory_folder() -> Path:
    """A new folder in memory where the system has such a place: what is synced there costs no time.

    Those of processes that were killed are removed first.
    """
    place = _scratch or (_MEMORY if _MEMORY.is_dir() else Path(tempfile.gettempdir()))
    for path in place.iterdir():
        if (named := _NAME.match(path.name)) and not _is_alive(int(named[1])):
            shutil.rmtree(path, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"radapt-fuzz-{os.getpid()}-", dir=place))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True


def no_fields(seed: bytes) -> Sequence[Field]:
    return ()


@dataclass(frozen=True)
class Target:
    """A reader under test.

    `read` gets the damaged bytes and an empty folder, and returns what it read; radapt's errors pass through. `checked`
    means that the format or radapt has checksums, so other values are a fault. `reseal` repairs the checksums after
    damage to what `unseal` gives, so that the parser behind them is reached; what it reads then is another valid file.
    `slow` readers take 10 ms or more.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    read: Callable[[bytes, Path], Any]
    checked: bool = False
    text: bool = False
    fields: Callable[[bytes], Sequence[Field]] = no_fields
    unseal: Callable[[bytes], bytes] | None = None
    reseal: Callable[[bytes], bytes] | None = None
    slow: bool = False
    setup: Callable[[Path], None] | None = field(default=None)


def fingerprint(value: Any) -> str:
    """A digest of what a reader returned."""
    digest = hashlib.blake2b(digest_size=12)
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).data if value.dtype != object else repr(value.tolist()).encode())
    elif isinstance(value, pd.DataFrame):
        _feed(digest, value.to_json(orient="split", double_precision=15))
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            digest.update(str(key).encode())
            _feed(digest, value[key])
    elif isinstance(value, list | tuple):
        for item in value:
            _feed(digest, item)
    elif hasattr(value, "numpy"):
        _feed(digest, value.detach().float().numpy())
    else:
        digest.update(repr(value).encode(errors="replace"))


def value_fields(start: int, count: int, size: int) -> list[Field]:
    return [Field(start + size * index, size) for index in range(count)]


def after(content: bytes, marks: Sequence[bytes], length: int, size: int = 2) -> list[Field]:
    """Fields of `size` bytes in the `length` bytes behind each occurrence of `marks`."""
    found: list[Field] = []
    for mark in marks:
        at = content.find(mark)
        while at >= 0 and len(found) < 200:
            found += value_fields(at + len(mark), length // size, size)
            at = content.find(mark, at + 1)
    return [item for item in found if item.at + item.size <= len(content)]
