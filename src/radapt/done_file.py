"""`done.json`: the last file of a finished folder, with the digests of its other files and of itself.

A folder whose files are not those that were digested is unfinished: its numbers are computed again, never shown.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from radapt.digests import digest, digest_file
from radapt.durable import plain
from radapt.parsing.json import read_json

DONE = "done.json"


def done_facts(
    folder: Path, facts: Mapping[str, Any], names: Iterable[str], others: Iterable[str] = ()
) -> dict[str, Any]:
    """What `done.json` holds: the `facts`, the digests of the files `names` under `folder` that exist, and its own.

    `others` are files, such as models, whose digests are kept too, but which `damage` does not read.
    """
    kept = {"files": _digests(folder, names), "others": _digests(folder, others)}
    stored = plain({**facts, **kept})
    return {**stored, "digest": digest(stored)}


def _digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: digest_file(folder / name) for name in sorted(names) if (folder / name).is_file()}


def damage(folder: Path) -> str | None:
    """Which file of a finished folder is not as it was written; None if all are."""
    try:
        stored = read_json(folder / DONE)
        own, files = stored.pop("digest"), stored["files"]
        if own != digest(stored):
            return DONE
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return DONE
    for name, expected in files.items():
        try:
            if digest_file(folder / name) != expected:
                return str(name)
        except OSError:
            return str(name)
    return None
