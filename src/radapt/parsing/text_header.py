"""Headers of MetaImage (.mha, .mhd) and NRRD (.nrrd, .nhdr) files: lines of text before the voxels, or beside them."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from radapt.errors import DataError

ENDINGS = (".mha", ".mhd", ".nrrd", ".nhdr")

_LONGEST = 4 << 20  # bytes of a header: the terms of a segmentation by 3D Slicer take kilobytes
_LAST = "elementdatafile"
_ELSEWHERE = ("datafile", "data file")


@dataclass(frozen=True)
class TextHeader:
    """A header: `fields` by name in lower case, and the `offset` in bytes at which it ends.

    `voxels` is the file that they are in; for voxels behind the header it is the file of the header.
    """

    path: Path
    format: Literal["MetaImage", "NRRD"]
    fields: dict[str, str]
    offset: int
    voxels: Path

    @property
    def is_detached(self) -> bool:
        """Whether the voxels are in a file of their own."""
        return self.voxels != self.path

    def numbers(self, name: str) -> list[float]:
        """The numbers of a field. Raises DataError without any, or for other text."""
        try:
            found = [float(word) for word in self.fields.get(name, "").split()]
        except ValueError:
            found = []
        if not found:
            given = self.fields.get(name)
            raise DataError(f"{self.path} is damaged: {name!r} in its header is {given!r}. Copy it again.")
        return found


def read_text_header(path: Path) -> TextHeader:
    """The header at the start of `path`. Raises OSError, and DataError for what is no such header, or is damaged."""
    fields: dict[str, str] = {}
    ended = False
    with path.open("rb") as file:
        nrrd = file.read(7) == b"NRRD000"
        file.seek(0)
        while not ended and file.tell() < _LONGEST and (line := file.readline(_LONGEST)):
            text = line.decode("utf-8", "replace").strip()
            name, separator, value = text.partition(":" if nrrd else "=")
            name = name.strip().lower()
            ended = not text if nrrd else name == _LAST
            if separator and not (nrrd and (text.startswith("#") or value.startswith("="))):
                _add(fields, name, value.strip(), path)
            elif text and not nrrd:
                raise DataError(f"{path} is not a MetaImage: {text[:40]!r} in its header is no 'name = value'.")
        at = file.tell()
    if not nrrd and _LAST not in fields:
        raise DataError(f"{path} is not a MetaImage, or is truncated: its header names no ElementDataFile.")
    named = fields[_LAST] if not nrrd else next((fields[name] for name in _ELSEWHERE if name in fields), "LOCAL")
    if nrrd and named == "LOCAL" and not ended:
        raise DataError(f"{path} is truncated: its NRRD header does not end. Copy it again.")
    voxels = path if named.upper() == "LOCAL" else _beside(path, named)
    return TextHeader(path, "NRRD" if nrrd else "MetaImage", fields, at, voxels)


def voxel_file(path: Path) -> Path | None:
    """The file with the voxels of the image `path` where that is another one, as for `.mhd` and `.nhdr`; else None.

    None too for a header that cannot be read: reading the image says why.
    """
    if not path.name.lower().endswith(ENDINGS):
        return None
    try:
        header = read_text_header(path)
    except DataError:
        return None
    return header.voxels if header.is_detached else None


def _add(fields: dict[str, str], name: str, value: str, path: Path) -> None:
    if fields.setdefault(name, value) != value:
        raise DataError(
            f"{path} is damaged: its header has {name!r} twice, as {fields[name][:40]!r} and {value[:40]!r}."
        )


def _beside(path: Path, named: str) -> Path:
    """The file `named` in the folder of the header, or below it."""
    inside = PurePosixPath(named.replace("\\", "/"))
    if named.upper().startswith("LIST") or "%" in named:
        raise DataError(f"{path} has its voxels in a list of files ({named[:60]}). Save it as one file, such as .nrrd.")
    if inside.is_absolute() or ".." in inside.parts or ":" in named or not inside.name or "\0" in named:
        raise DataError(
            f"{path} names a file with voxels outside its folder ({named[:60]}). Put both into one folder, and write "
            "its name alone into the header."
        )
    return path.parent / inside
