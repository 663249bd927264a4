"""The location of an image: a file, a folder of DICOM files, an entry of an array in a `.npz` archive, or the files
that together are a mask."""

import re
from dataclasses import dataclass
from pathlib import Path

from radapt.errors import DataError

_ARRAY = re.compile(r"^(?P<array>[^{\[\]:][^\[\]:]*?)(?:\[(?P<index>[0-9]{1,18})\])?$")
_PARTS = re.compile(r"^\{(?P<parts>[0-9]{1,9}=[^|{}]+(?:\|[0-9]{1,9}=[^|{}]+)*)\}$")


def is_file(path: Path) -> bool:
    """Whether `path` is a file; False for a name that no file can have, too long or with a NUL."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A location to read an image from.

    `path` is a file or a DICOM series folder. For `file.npz::train_images[17]`, `array` is `train_images` and
    `index` is 17; without an index the whole array is the image. A mask may be in several files of a folder, one per
    structure: `ManualMask::{1=left/a.png|2=right/a.png}` has the `parts` (1, "left/a.png") and (2, "right/a.png"), the
    label of each and its file relative to `path`.
    """

    path: Path
    array: str | None = None
    index: int | None = None
    parts: tuple[tuple[int, str], ...] = ()

    @classmethod
    def parse(cls, text: str, base: Path | None = None) -> "Location":
        """Parse `path`, `path::array[index]` or `folder::{1=a.png|2=b.png}`; a relative path starts at `base`."""
        name, separator, inside = text.partition("::")
        path = Path(name) if base is None else base / name
        if not separator:
            return cls(path)
        if name and (listed := _PARTS.match(inside)):
            labelled = (part.partition("=") for part in listed["parts"].split("|"))
            return cls(path, parts=tuple((int(label), file) for label, _, file in labelled))
        match = _ARRAY.match(inside)
        if not name or match is None:
            raise DataError(
                f"Image location {text!r} is not valid; expected PATH, FILE.npz::ARRAY[INDEX] or, for a mask, "
                "FOLDER::{LABEL=FILE|LABEL=FILE}."
            )
        index = match["index"]
        return cls(path, match["array"], None if index is None else int(index))

    @property
    def files(self) -> tuple[Path, ...]:
        """What is read: every file of the parts, or `path`."""
        return tuple(self.path / file for _, file in self.parts) or (self.path,)

    def __str__(self) -> str:
        if self.parts:
            return f"{self.path}::{{{'|'.join(f'{label}={file}' for label, file in self.parts)}}}"
        if self.array is None:
            return str(self.path)
        index = "" if self.index is None else f"[{self.index}]"
        return f"{self.path}::{self.array}{index}"
