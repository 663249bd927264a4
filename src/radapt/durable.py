"""Writing that survives being killed: every file is written beside its place and renamed when it is whole."""

import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd


@contextmanager
def atomic_path(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block ends well, remove it otherwise.

    The rename is atomic, so a reader sees the old file, or the new one, never a part. With `folder=True` the
    temporary path is an existing empty folder; an older folder at `path` is removed first, so that for a moment
    there may be none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Made with the rights any new file gets: asking for the umask would change it for all threads.
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    part.mkdir() if folder else part.touch(exist_ok=False)
    rights = stat.S_IMODE(part.stat().st_mode)
    try:
        yield part
        if stat.S_IMODE(part.stat().st_mode) != rights:  # safetensors puts a file of its own there, for nobody else
            part.chmod(rights)
        if folder and path.is_dir():
            shutil.rmtree(path)
        elif not folder:
            _flush(part)
        part.replace(path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True) if folder else part.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON; NaN is written as null, which is what JSON has for it."""
    write_text(path, json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    with atomic_path(path) as part:
        table.to_parquet(part, index=False)


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


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
