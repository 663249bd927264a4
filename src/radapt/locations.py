"""The location of an image: a file, a folder of DICOM files, an entry of an array in a `.npz` archive, or the files
that together are a mask; on this machine or behind an address such as s3://bucket/a.nii.gz."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from radapt.errors import DataError

_ARRAY = re.compile(r"^(?P<array>[^{\[\]:][^\[\]:]*?)(?:\[(?P<index>[0-9]{1,18})\])?$")
_PARTS = re.compile(r"^\{(?P<parts>[0-9]{1,9}=[^|{}]+(?:\|[0-9]{1,9}=[^|{}]+)*)\}$")
_ADDRESS = re.compile(r"^(?P<server>[a-zA-Z][a-zA-Z0-9+.-]+://(?:[^/@]*@)?(?P<host>[^/?#]*))(?P<rest>.*)$", re.DOTALL)


def is_remote(text: str) -> bool:
    """Whether `text` is an address with a protocol, as s3://bucket/a.png, and not a path of this machine."""
    return _ADDRESS.match(text) is not None


def shown(url: str) -> str:
    """`url` without what may be secret: user and password, and the query of a signed address."""
    address = _ADDRESS.match(url)
    if address is None:
        return url
    return f"{url.partition('://')[0]}://{address['host']}{re.split('[?#]', address['rest'], maxsplit=1)[0]}"


def is_file(path: Path) -> bool:
    """Whether `path` is a file; False for a name that no file can have, too long or with a NUL."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def expanded(path: Path | str) -> Path:
    """`path` with `~` as the user's home; `~name` of a user that does not exist stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111, which raises RuntimeError instead


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder; False for a name that no folder can have."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A location to read an image from.

    `path` is a file or a DICOM series folder. For `file.npz::train_images[17]`, `array` is `train_images` and
    `index` is 17; without an index the whole array is the image. A mask may be in several files of a folder, one per
    structure: `ManualMask::{1=left/a.png|2=right/a.png}` has the `parts` (1, "left/a.png") and (2, "right/a.png"), the
    label of each and its file relative to `path`.

    Of a remote location `url` is the address of the file or folder, and `path` the address in the form of a path, which
    exists nowhere. The copy of one that a reader is given has a `path` and, as `origin`, what it is a copy of.
    """

    path: Path
    array: str | None = None
    index: int | None = None
    parts: tuple[tuple[int, str], ...] = ()
    url: str = field(default="", repr=False)
    origin: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str, base: Path | None = None) -> "Location":
        """Parse `path`, `path::array[index]` or `folder::{1=a.png|2=b.png}`; a relative path starts at `base`.

        Each may begin with an address such as `s3://bucket/` instead of a path.
        """
        address = _ADDRESS.match(text)
        name, separator, inside = (text if address is None else address["rest"]).partition("::")
        url = "" if address is None else address["server"] + name
        path = Path(shown(url)) if url else Path(name) if base is None else base / name
        if not separator:
            return cls(path, url=url)
        if name and (listed := _PARTS.match(inside)):
            labelled = (part.partition("=") for part in listed["parts"].split("|"))
            return cls(path, parts=tuple((int(label), file) for label, _, file in labelled), url=url)
        match = _ARRAY.match(inside)
        if not name or match is None:
            raise DataError(
                f"Image location {text!r} is not valid; expected PATH, FILE.npz::ARRAY[INDEX] or, for a mask, "
                "FOLDER::{LABEL=FILE|LABEL=FILE}."
            )
        index = match["index"]
        return cls(path, match["array"], None if index is None else int(index), url=url)

    @property
    def files(self) -> tuple[Path, ...]:
        """What is read: every file of the parts, or `path`."""
        return tuple(self.path / file for _, file in self.parts) or (self.path,)

    @property
    def urls(self) -> tuple[str, ...]:
        """The address of every file of the parts, or `url`; none of a location on this machine."""
        if not self.url:
            return ()
        return tuple(f"{self.url.rstrip('/')}/{file}" for _, file in self.parts) or (self.url,)

    def __str__(self) -> str:
        where = shown(self.url) or str(self.path)
        if self.parts:
            return f"{where}::{{{'|'.join(f'{label}={file}' for label, file in self.parts)}}}"
        if self.array is None:
            return where
        index = "" if self.index is None else f"[{self.index}]"
        return f"{where}::{self.array}{index}"
