"""`digests.json` of a run folder: the digests of everything in it but its cells, which have their own `done.json`."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from radapt.digests import digest, digest_file
from radapt.durable import is_partial_name, write_json

DIGESTS = "digests.json"
_FOLDERS = ("cohorts", "backbones", "pictures", "case_pictures")
_OPEN = (DIGESTS, ".lock")


def record_digests(folder: Path, since: float | None = None, only: Iterable[str] | None = None) -> None:
    """Write the digests of the files of the run folder as they are now.

    A file that had a digest keeps it unless it was written at or after `since` (seconds since the epoch), so that
    damage between two runs is not taken for what a run wrote. `only` names the files to record, others keep theirs.
    """
    old = recorded(folder) or {}
    names = None if only is None else set(only)
    found = {}
    for name, path in covered(folder):
        kept = old.get(name)
        fresh = since is None or path.stat().st_mtime >= since
        again = (name in names) if names is not None else fresh
        found[name] = digest_file(path) if kept is None or again else kept
    write_json(folder / DIGESTS, {"files": found, "digest": digest(found)})


def recorded(folder: Path) -> dict[str, str] | None:
    """The digests by path inside the run folder; None if there are none, or if they are damaged themselves."""
    try:
        stored = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
        files = {str(name): str(value) for name, value in stored["files"].items()}
        return files if digest(files) == stored["digest"] else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def covered(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file that has a digest there, with its path inside the folder."""
    places = [folder.iterdir(), *((folder / name).rglob("*") for name in _FOLDERS)]
    files = sorted(path for place in places for path in place if path.is_file())
    for path in files:
        name = path.relative_to(folder).as_posix()
        if name not in _OPEN and not is_partial_name(path.name):
            yield name, path
