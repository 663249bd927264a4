"""The location of an image: a file, a folder of DICOM files, or an entry of an array in a `.npz` archive."""

import re
from dataclasses import dataclass
from pathlib import Path

from radapt.errors import DataError

_ARRAY = re.compile(r"^(?P<array>[^\[\]:]+?)(?:\[(?P<index>[0-9]{1,18})\])?$")


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
    `index` is 17; without an index the whole array is the image.
    """

    path: Path
    array: str | None = None
    index: int | None = None

    @classmethod
    def parse(cls, text: str, base: Path | None = None) -> "Location":
        """Parse `path` or `path::array[index]`; a relative path starts at the folder `base`."""
        name, separator, inside = text.partition("::")
        path = Path(name) if base is None else base / name
        if not separator:
            return cls(path)
        match = _ARRAY.match(inside)
        if not name or match is None:
            raise DataError(f"Image location {text!r} is not valid; expected PATH or FILE.npz::ARRAY[INDEX].")
        index = match["index"]
        return cls(path, match["array"], None if index is None else int(index))

    def __str__(self) -> str:
        if self.array is None:
            return str(self.path)
        index = "" if self.index is None else f"[{self.index}]"
        return f"{self.path}::{self.array}{index}"
