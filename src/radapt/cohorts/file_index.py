"""Whether the files in a table exist, with one listing per folder so that 100,000 rows stay fast."""

import difflib
import os
import unicodedata
from dataclasses import replace
from pathlib import Path

from radapt.cohorts.issue import SHOWN
from radapt.locations import Location, is_remote

_CORRECT = "Correct the path, or leave it empty if it is missing."
_SEARCHED = 5000
_LONGEST = 4000  # characters of a path that some system can open
_LONGEST_PART = 255  # bytes of a name in it


class FileIndex:
    """Parses locations relative to `base` and checks that they exist."""

    def __init__(self, base: Path) -> None:
        # Links are resolved, so that `base/..` can be normalised and paths in messages are short.
        self._base = base.resolve()
        self._folders: dict[str, Path] = {}
        self._hints = 0
        self._listings: dict[str, frozenset[str]] = {}

    def parse(self, text: str) -> Location:
        """The location that `text` names. Raises DataError if it is not a location."""
        if is_remote(text.strip()):
            return Location.parse(text.strip())
        name, separator, _ = text.partition("::")
        head, tail = os.path.split(name)
        if head not in self._folders:
            self._folders[head] = Path(os.path.normpath(self._base / head))
        path = self._folders[head] / tail
        return replace(Location.parse(text), path=path) if separator else Location(path)

    def exists(self, location: Location) -> bool:
        """Whether every file is there. Remote ones count as there: what is not is said when it is read."""
        return bool(location.url) or all(map(self._is_there, location.files))

    def _is_there(self, path: Path) -> bool:
        folder, name = os.path.split(path)
        # A listing misses names that differ in letter case only, which some file systems accept.
        return name in self._names(folder) or _exists(path)

    def in_other_unicode(self, location: Location) -> Location | None:
        """The file or folder whose path differs in its Unicode form only: macOS decomposes umlauts, tables do not."""
        here = Path(location.path.anchor)
        for part in location.path.parts[1:]:
            if not _exists(here / part):
                wanted = unicodedata.normalize("NFC", part)
                same = [name for name in self._names(str(here)) if unicodedata.normalize("NFC", name) == wanted]
                if len(same) != 1:
                    return None
                part = same[0]
            here = here / part
        return replace(location, path=here)

    def hint(self, location: Location) -> str:
        """The nearest fix for a file that does not exist."""
        path = next((file for file in location.files if not self._is_there(file)), location.path)
        folder = path.parent
        if "\\" in path.name:
            return "Use '/' between folders."
        if _no_file_has(str(path)):
            return "No file has such a name; check the columns of the table."
        if not folder.is_dir():
            return f"The folder {folder} does not exist."
        if len(self._names(str(folder))) > _SEARCHED or self._hints >= SHOWN:
            return _CORRECT  # comparing thousands of names for thousands of rows would take hours
        self._hints += 1
        near = difflib.get_close_matches(path.name, self._names(str(folder)), n=1, cutoff=0.8)
        return f"Did you mean {near[0]!r}?" if near else _CORRECT

    def _names(self, folder: str) -> frozenset[str]:
        if folder not in self._listings:
            try:
                with os.scandir(folder) as entries:
                    names = frozenset(
                        entry.name for entry in entries if not entry.is_symlink() or _exists(Path(entry.path))
                    )
            except (OSError, ValueError):
                names = frozenset()
            self._listings[folder] = names
        return self._listings[folder]


def _no_file_has(path: str) -> bool:
    return (
        "\0" in path or len(path) > _LONGEST or any(len(os.fsencode(part)) > _LONGEST_PART for part in Path(path).parts)
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or with a NUL
        return False
