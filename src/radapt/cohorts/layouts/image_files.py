"""Image files in folders: listings, and files that are pictures by their content."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from radapt.cohorts.image_names import IMAGES, is_image

_PROSE = ("", ".txt", ".md", ".rst", ".pdf", ".html")
_PICTURES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def holds_picture(path: Path) -> bool:
    """Whether a file begins as PNG, JPEG or TIFF does, whatever its name."""
    try:
        if not path.is_file():  # a pipe would wait for a writer
            return False
        with path.open("rb") as file:
            return file.read(6).startswith(_PICTURES)
    except OSError:
        return False


def images_in(folder: Path, suffixes: tuple[str, ...] = IMAGES) -> list[Path]:
    """The image files directly in `folder`, by name; none if the folder does not exist."""
    return _listed(folder, lambda entry: is_image(entry.name, suffixes) and not _is_special(entry))


def folders_in(folder: Path) -> list[Path]:
    """The visible folders directly in `folder`, by name, without links back up; none if the folder does not exist."""
    return _listed(folder, lambda entry: not _hidden(entry.name) and _is_folder(entry))


def files_in(folder: Path) -> list[Path]:
    """The visible files directly in `folder`, by name; none if the folder does not exist."""
    return _listed(folder, lambda entry: not _hidden(entry.name) and _is_file(entry))


def only_folder(folder: Path) -> Path | None:
    """The only folder inside `folder`, if it holds nothing else but prose such as a readme or a licence."""
    inner = folders_in(folder)
    others = [path for path in files_in(folder) if path.suffix.lower() not in _PROSE]
    return inner[0] if len(inner) == 1 and not others else None


def is_text(path: Path) -> bool:
    """Whether the path is text in the encoding of the file system; a table of cases cannot hold another."""
    return str(path).isascii() or not any("\ud800" <= letter <= "\udfff" for letter in str(path))


def walk(folder: Path, *, undecodable: bool = False) -> Iterator[Path]:
    """Every visible file below `folder`, folder by folder, by name; on request also those whose path is not text.

    Links to folders elsewhere are followed once; those to folders that are walked anyway are not.
    """
    walked = [os.path.realpath(folder)]
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not _hidden(name) and _is_new(Path(parent, name), walked))
        for name in sorted(files):
            if not _hidden(name) and (undecodable or is_text(Path(parent, name))):
                yield Path(parent, name)


def _is_new(folder: Path, walked: list[str]) -> bool:
    """Whether this is no link, or one to a folder apart from all in `walked`, which gains it."""
    if not folder.is_symlink():
        return True
    target = os.path.realpath(folder)
    if any(os.path.commonpath([target, other]) in (target, other) for other in walked):
        return False
    walked.append(target)
    return True


def unique(names: Iterable[str]) -> list[str]:
    """The names with repeats numbered: the second `a` becomes `a-2`, the third `a-3`."""
    taken: set[str] = set()
    last: dict[str, int] = {}
    result = []
    for name in names:
        free, number = name, last.get(name, 1)
        while free in taken:
            number += 1
            free = f"{name}-{number}"
        last[name] = number
        taken.add(free)
        result.append(free)
    return result


def _listed(folder: Path, wanted: Callable[["os.DirEntry[str]"], bool]) -> list[Path]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if wanted(entry))
    return [path for name in names if is_text(path := folder / name)]


def _is_special(entry: "os.DirEntry[str]") -> bool:
    """Whether this is a pipe, a socket or a device. A link to nothing is not: its image is missing."""
    if entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False):
        return False
    try:
        mode = entry.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        if not entry.is_dir():
            return False
    except OSError:  # a link to itself
        return False
    if not entry.is_symlink():
        return True
    target, here = os.path.realpath(entry.path), os.path.realpath(Path(entry.path).parent)
    return os.path.commonpath([target, here]) != target


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
