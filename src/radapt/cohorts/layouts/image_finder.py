"""Images that a table names, found relative to the table or by their names anywhere below its folder."""

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from radapt.cohorts.image_names import is_image, stem
from radapt.cohorts.labels import is_missing
from radapt.cohorts.layouts.image_files import walk
from radapt.cohorts.layouts.mask_names import MASK_WORDS
from radapt.cohorts.patient_key import patient_key
from radapt.errors import DataError, counted
from radapt.locations import is_remote

_MOST_FILES = 2_000_000
_PEEKED = 50
_LISTED = 3


@dataclass(frozen=True)
class FoundImages:
    """The location of each cell of a column, '' where there is none; the rows whose file does not exist.

    `by_name` counts the images that were found by name below the folder, `by_key` those whose name is written
    differently in the table (leading zeros, letter case).
    """

    locations: list[str]
    absent: list[int]
    by_name: int = 0
    by_key: int = 0


class ImageFinder:
    """Finds what the cells of a table name: a path relative to the table, or the name of a file anywhere below it."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._folders = (base, base / "images", base.parent)
        self._names: dict[str, list[str]] | None = None
        self._stems: dict[str, list[str]] = {}
        self._keys: dict[str, list[str]] = {}

    def names_images(self, cells: Sequence[str]) -> bool:
        """Whether the first cells are paths or file names, at least half of which exist."""
        sample = _sample(cells)
        # A word such as `T1` may also name a folder; a path has an ending or a separator.
        if not sample or not all(_is_path(text) for text in sample):
            return False
        return any(self._share(folder, sample) >= 0.5 for folder in self._folders) or (
            sum(bool(self._by_name(text)) for text in sample) * 2 >= len(sample)
        )

    def are_stems(self, cells: Sequence[str], *, tolerant: bool = False) -> bool:
        """Whether all of the first cells are different names of images without their ending.

        `tolerant` accepts names that are written differently in letter case or leading zeros, as `7` and `007`.
        """
        sample = _sample(cells)
        found = [self._by_stem(text) for text in sample]
        return (
            bool(sample)
            and len(set(sample)) == len(sample)
            and all(names and tolerant >= other for names, other in found)
        )

    def find(self, cells: Sequence[str], column: str, lines: Sequence[int], *, masks: bool = False) -> FoundImages:
        """The image of every cell. Raises a DataError that counts the cells that several files fit."""
        texts = [cell.strip() for cell in cells]
        given = [text for text in texts if text]
        shares = {folder: self._share(folder, given[:_PEEKED]) for folder in self._folders}
        home = max(self._folders, key=lambda folder: shares[folder])
        locations, absent, several = [], list[int](), list[tuple[int, list[str]]]()
        by_name = by_key = 0
        for at, text in enumerate(texts):
            location = str(Path(home, text)) if text and not is_remote(text) else text
            if text and not _exists(location):
                names = _of_kind(self._by_name(text), masks=masks)
                other = False
                if not names:
                    names, other = self._by_stem(text)
                    names = _of_kind(names, masks=masks)
                if len(names) > 1:
                    several.append((lines[at], names))
                location = str(self._base / names[0]) + _inside(text) if names else ""
                by_name, by_key = by_name + bool(names), by_key + (bool(names) and other)
                if not names:
                    absent.append(at)
            locations.append(location)
        if several:
            self._refuse(column, several)
        return FoundImages(locations, absent, by_name, by_key)

    def _refuse(self, column: str, several: list[tuple[int, list[str]]]) -> None:
        line, names = several[0]
        listed = ", ".join(names[:_LISTED]) + (", …" if len(names) > _LISTED else "")
        raise DataError(
            f"{counted(len(several), 'cell')} of column {column!r} fit several files below {self._base}, such as that "
            f"of row {line}: {listed}. Write the folder into the table, or put the table beside its images."
        )

    def _share(self, folder: Path, texts: Sequence[str]) -> float:
        there = sum(is_remote(text) or _exists(str(folder / text)) for text in texts)
        return there / max(len(texts), 1)

    def _by_name(self, text: str) -> list[str]:
        """The files with the name in `text` that agree with most of the folders in it."""
        parts = [_plain(part) for part in _path(text).split("/") if part]
        if not parts:
            return []
        if self._names is None:
            self._index()
        found = (self._names or {}).get(parts[-1], [])
        if len(found) < 2:
            return found
        shared = {name: _shared_end([_plain(part) for part in name.split("/")], parts) for name in found}
        return [name for name in found if shared[name] == max(shared.values())]

    def _by_stem(self, text: str) -> tuple[list[str], bool]:
        """The files called `text` and an ending; and whether the name is written differently there."""
        if self._names is None:
            self._index()
        name = PurePosixPath(_path(text)).name
        if found := self._stems.get(_plain(name), []):
            return found, False
        return self._keys.get(patient_key(name), []), True

    def _index(self) -> None:
        names: dict[str, list[str]] = defaultdict(list)
        stems: dict[str, list[str]] = defaultdict(list)
        keys: dict[str, list[str]] = defaultdict(list)
        for count, path in enumerate(walk(self._base)):
            if count >= _MOST_FILES:
                raise DataError(f"{self._base} holds more than {_MOST_FILES:,} files. Scan a folder with fewer.")
            if is_image(path.name):
                name = path.relative_to(self._base).as_posix()
                names[_plain(path.name)].append(name)
                stems[_plain(stem(path.name))].append(name)
                keys[patient_key(stem(path.name))].append(name)
        self._names, self._stems, self._keys = names, stems, keys


def _sample(cells: Sequence[str]) -> list[str]:
    """The first cells that are not empty or a word for a missing value."""
    texts = (cell.strip() for cell in cells)
    return list(islice((text for text in texts if text and not is_missing(text)), _PEEKED))


def _is_path(text: str) -> bool:
    return "/" in text or "\\" in text or "::" in text or is_image(PurePosixPath(_path(text)).name)


def _path(text: str) -> str:
    """The path in a cell with `/`; tables from Windows separate folders by a backslash."""
    return text.partition("::")[0].strip().replace("\\", "/")


def _inside(text: str) -> str:
    _, mark, inside = text.partition("::")
    return mark + inside


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _shared_end(one: Sequence[str], other: Sequence[str]) -> int:
    ends = zip(reversed(one), reversed(other), strict=False)
    return next((at for at, (a, b) in enumerate(ends) if a != b), min(len(one), len(other)))


def _of_kind(names: list[str], *, masks: bool) -> list[str]:
    """Of several files, those in folders of masks, or outside of them."""
    chosen = [name for name in names if masks == any(part.casefold() in MASK_WORDS for part in name.split("/")[:-1])]
    return chosen if len(names) > 1 and chosen else names


def _exists(location: str) -> bool:
    try:
        return is_remote(location) or Path(location.partition("::")[0]).exists()
    except (OSError, ValueError):  # a name that is too long, or with a NUL
        return False
