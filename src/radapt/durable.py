"""Crash-safe writing: every file is written to a temporary path beside it and renamed when it is complete."""

import errno
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from radapt.errors import FULL

_PARTIAL = re.compile(r"\..+\.[0-9a-f]{8}\.part")

_SHORT_WRITE = re.compile(r"No space left on device|inline_container|PytorchStreamWriter|requested and \d+ written")
"""A full disk in the words of safetensors, torch.save (the next two) and NumPy, which raise errors of their own."""


@contextmanager
def atomic_path(path: Path, *, folder: bool = False, private: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds, remove it otherwise.

    The rename is atomic: a reader sees the old or the new file, never a partial one. With `folder=True` the temporary
    path is an existing empty folder; an older folder at `path` is removed first, so for a moment there may be none.
    Only the owner can read a `private` file, from its first byte on. A full disk raises OSError that names
    `path`, whatever the library raised that wrote.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Created with the default permissions: reading the umask would change it for all threads.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    temporary.mkdir() if folder else temporary.touch(0o600 if private else 0o666, exist_ok=False)
    permissions = stat.S_IMODE(temporary.stat().st_mode)
    try:
        yield temporary
        if stat.S_IMODE(temporary.stat().st_mode) != permissions:  # safetensors writes files only their owner can read
            temporary.chmod(permissions)
        if folder and path.is_dir():
            shutil.rmtree(path)
        elif not folder:
            _flush(temporary)
        temporary.replace(path)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True) if folder else temporary.unlink(missing_ok=True)
        _name_full_disk(error, path, temporary)
        raise


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Raise OSError with `path` as its file if the disk is full; Python names none where writing fails."""
    try:
        yield
    except Exception as error:
        _name_full_disk(error, path, path)
        raise


def _name_full_disk(error: BaseException, path: Path, temporary: Path) -> None:
    """Raise OSError for `path`, or the file in it that stands for the one in `temporary`, if the disk is full."""
    if isinstance(error, OSError) and error.errno in FULL:
        number, file = error.errno, error.filename2 or error.filename  # of a copy the second is what is written
    elif isinstance(error, Exception) and _SHORT_WRITE.search(str(error)):
        number, file = errno.ENOSPC, None
    else:
        return
    named = str(path) if file is None else str(file).replace(str(temporary), str(path))
    raise OSError(number, os.strerror(number), named) from error


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_private_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 into a file that only its owner can read (mode 600)."""
    with atomic_path(path, private=True) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON; NaN is written as null."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """`value` as `write_json` writes it."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write `table` without its index."""
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False)


def plain(value: Any) -> Any:
    """`value` as JSON has it: NaN and infinity become None, tuples lists, NumPy scalars numbers, paths strings."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return str(value) if isinstance(value, Path) else value


def is_partial_name(name: str) -> bool:
    """Whether `atomic_path` gives its temporary files such names."""
    return _PARTIAL.fullmatch(name) is not None


def remove_partial_files(folder: Path, *rooms: str) -> None:
    """Remove what a killed `atomic_path` left in `folder` itself and anywhere in its folders `rooms`; nothing else."""
    found = [*folder.glob(".*.part"), *(path for room in rooms for path in (folder / room).rglob(".*.part"))]
    for path in found:
        if not is_partial_name(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
