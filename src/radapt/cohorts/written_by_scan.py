"""The seal of `scan`: the last line of a cohort.yaml, which shows a later scan that its files are unedited."""

import os
import re
from hashlib import blake2b
from pathlib import Path

from radapt.errors import UsageError, counted

_HEX = "([0-9a-f]{16})"
_SEAL = re.compile(rf"# Written by radapt scan \(content {_HEX}, table {_HEX}, source {_HEX}\)\.\n")


def sealed(text: str, cases: str, source: Path | None, folder: Path) -> str:
    """The text of a cohort.yaml with the seal of itself, its table `cases` and the source that was scanned."""
    if source is None:
        return text
    facts = f"content {_digest(text)}, table {_digest(cases)}, source {_source(source, folder)}"
    return f"{text}# Written by radapt scan ({facts}).\n"


def why_protected(out: Path, cases: Path, source: Path | None, new_table: str) -> str:
    """Why the cohort at `out` must not be overwritten by a scan of `source`; '' if a scan of it wrote both files.

    A table that is `new_table` already comes from this scan, which was stopped before it wrote `out`.
    """
    try:
        text = out.read_bytes().decode()
        table = cases.read_bytes().decode()
    except FileNotFoundError as error:
        return f"{error.filename} is not there, so that {out.name} and {cases.name} are not of one scan"
    except (OSError, UnicodeDecodeError):
        return "they cannot be read"
    found = _SEAL.search(text)
    if found is None or source is None:
        return f"{out.name} was not written by a scan"
    as_written = found[1] == _digest(text[: found.start()] + text[found.end() :])
    if not as_written or (found[2] != _digest(table) and table != new_table):
        return f"{out.name} or {cases.name} was edited since they were scanned"
    if found[3] != _source(source, out.parent):
        return "they were scanned from another source"
    return ""


def refuse_to_overwrite(out: Path, cases: Path, source: Path | None, new_table: str) -> None:
    """Raise UsageError unless a scan of the same source wrote both files, and both are unedited."""
    if reason := why_protected(out, cases, source, new_table):
        there = out if out.exists() else cases
        raise UsageError(
            f"{there} already exists with other content, and {reason}. Choose another --out, or give --force."
        )


def overwritten(out: Path, cases: Path) -> str:
    """The note that names the files which are overwritten."""
    try:
        rows = max(cases.read_bytes().count(b"\n") - 1, 0)
    except OSError:
        rows = 0
    return f"Overwritten: {out.name} and {cases.name} of an earlier scan ({counted(rows, 'case')})."


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _source(source: Path, folder: Path) -> str:
    """A digest of the path of the source as seen from the folder of the cohort, which may be moved with it."""
    try:
        path = os.path.relpath(os.path.realpath(source), os.path.realpath(folder))
    except ValueError:  # another drive
        path = os.path.realpath(source)
    return blake2b(path.encode(), digest_size=8).hexdigest()
