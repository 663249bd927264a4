"""MetaImage files: `.mha`, and `.mhd` with its `.raw` or `.zraw` (the format of ITK; LUNA16, PI-CAI)."""

import numpy as np

from radapt.errors import DataError, suggest
from radapt.images.channels import check_channel, one_volume
from radapt.images.itk.grid import AS_LPS, affine_of, colour_or_volumes
from radapt.images.itk.voxels import FIX, Coding, StoredVoxels, read_voxels
from radapt.images.reading import plain_voxels, reading
from radapt.images.volume import Volume
from radapt.locations import Location
from radapt.parsing.text_header import TextHeader, read_text_header

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "long": "i4", "ulong": "u4",
    "long_long": "i8", "ulong_long": "u8", "float": "f4", "double": "f8",
}  # fmt: skip
"""MetaIO's names after MET_; its `long` has four bytes on every machine."""

_ORIGIN = ("offset", "position", "origin")
_DIRECTION = ("transformmatrix", "rotation", "orientation")
_SPACING = ("elementspacing", "elementsize")


def read_metaimage(location: Location, modality: str | None = None) -> Volume:
    """Read a MetaImage of two, three or four dimensions; with `::channels[k]` the k-th volume of a 4D file or of one
    with several channels.

    Offset, TransformMatrix and ElementSpacing are in LPS mm, as ITK takes them. Three or four channels of bytes are
    colour (alpha is dropped). Raises DataError for voxels in text or in a list of files, and for anything damaged.
    """
    path = location.path
    check_channel(location, "MetaImage")
    with reading(path, "MetaImage", FIX):
        header = read_text_header(path)
        fields = header.fields
        sizes = tuple(int(size) for size in header.numbers("dimsize"))
        if len(sizes) != int(fields.get("ndims", len(sizes))) or not 2 <= len(sizes) <= 4 or min(sizes) < 1:
            raise DataError(f"{path} has the size {fields['dimsize']} in {fields.get('ndims')} dimensions. {FIX}")
        _refuse_other_values(header)
        channels = int(fields.get("elementnumberofchannels", 1))
        stored = StoredVoxels(
            header.path, header.voxels, _offset(header), _dtype(header), (channels, *sizes), _coding(header)
        )
        raw = np.moveaxis(read_voxels(stored), 0, -1)
        raw, is_colour = colour_or_volumes(raw, len(sizes))
        array = plain_voxels(raw if is_colour else one_volume(raw, location), path)
        affine = affine_of(_directions(header, len(sizes)), _first(header, _ORIGIN, [0.0] * len(sizes)), AS_LPS)
        return Volume(array, affine, modality)


def _dtype(header: TextHeader) -> np.dtype:
    name = header.fields.get("elementtype", "").lower()
    kind = _TYPES.get(name.removeprefix("met_").removesuffix("_array"))
    if kind is None:
        raise DataError(f"{header.path} has voxels of the type {name.upper()!r}. {suggest(name, _TYPES)}")
    swapped = any(_is_true(header, name) for name in ("binarydatabyteordermsb", "elementbyteordermsb"))
    return np.dtype(kind).newbyteorder(">" if swapped else "<")


def _coding(header: TextHeader) -> Coding:
    if header.fields.get("binarydata", "True").lower() == "false":
        raise DataError(f"{header.path} has its voxels as text. Save it with binary data.")
    return "zlib" if _is_true(header, "compresseddata") else "raw"


def _offset(header: TextHeader) -> int:
    skipped = int(header.fields.get("headersize", 0))
    return skipped if skipped < 0 else skipped + (0 if header.is_detached else header.offset)


def _refuse_other_values(header: TextHeader) -> None:
    scale = float(header.fields.get("elementtointensityfunctionslope", 1))
    shift = float(header.fields.get("elementtointensityfunctionoffset", 0))
    if (scale, shift) != (1, 0):
        raise DataError(
            f"{header.path} asks for values times {scale:g} plus {shift:g}, which most programs do not apply. Save it "
            "with the values that are meant."
        )


def _directions(header: TextHeader, count: int) -> np.ndarray:
    """The step of each axis in mm, one row each."""
    cosines = np.array(_first(header, _DIRECTION, list(np.eye(count).ravel()))).reshape(count, count)
    return cosines * np.array(_first(header, _SPACING, [1.0] * count))[:count, None]


def _first(header: TextHeader, names: tuple[str, ...], default: list[float]) -> list[float]:
    name = next((name for name in names if name in header.fields), None)
    return default if name is None else header.numbers(name)


def _is_true(header: TextHeader, name: str) -> bool:
    return header.fields.get(name, "").lower() in ("true", "1")
