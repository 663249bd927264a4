"""NRRD files: `.nrrd`, and `.nhdr` with its file of voxels (the format of Teem and 3D Slicer)."""

import re

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
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        *("longlong", "long long", "long long int", "signed long long", "signed long long int"),
        *("int64", "int64_t"),
    ),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_KINDS = {name: kind for kind, names in _TYPES.items() for name in names}

_CODINGS: dict[str, Coding] = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}

_SIGNS = {
    "left-posterior-superior": AS_LPS,
    "lps": AS_LPS,
    "right-anterior-superior": (1.0, 1.0, 1.0),
    "ras": (1.0, 1.0, 1.0),
    "left-anterior-superior": (-1.0, 1.0, 1.0),
    "las": (-1.0, 1.0, 1.0),
}
"""Spaces, as the signs that their coordinates have in RAS. Others are taken for LPS, as ITK does."""

_IN_SPACE = ("domain", "space", "time", "???", "none")
_MILLIMETRES = {"m": 1000.0, "cm": 10.0, "um": 0.001, "µm": 0.001}
_VECTOR = re.compile(r"\(([^()]*)\)|none", re.IGNORECASE)
_QUOTED = re.compile(r'"([^"]*)"')


def read_nrrd(location: Location, modality: str | None = None) -> Volume:
    """Read an NRRD file of two or three axes in space; with `::channels[k]` the k-th volume of one with more axes.

    Axes without a direction in space count volumes or, with three or four bytes, are colour (alpha is dropped). Spaces
    are RAS, LAS or LPS. Raises DataError for voxels in text or in a list of files, and for anything damaged.
    """
    path = location.path
    check_channel(location, "NRRD")
    with reading(path, "NRRD", FIX):
        header = read_text_header(path)
        sizes = tuple(int(size) for size in header.numbers("sizes"))
        if len(sizes) != int(header.fields.get("dimension", 0)) or min(sizes) < 1:
            raise DataError(
                f"{path} has the sizes {header.fields['sizes']} in {header.fields.get('dimension')} dimensions. {FIX}"
            )
        offset = int(header.fields.get("byte skip", header.fields.get("byteskip", 0)))
        if header.fields.keys() & {"line skip", "lineskip"}:
            raise DataError(f"{path} asks for lines of its voxels to be skipped. Save it as one .nrrd file.")
        if offset >= 0 and not header.is_detached:
            offset += header.offset
        raw = read_voxels(StoredVoxels(header.path, header.voxels, offset, _dtype(header), sizes, _coding(header)))
        steps, others = _axes(header, len(sizes))
        spatial = [axis for axis in range(len(sizes)) if axis not in others]
        if not 1 <= len(spatial) <= 4:
            raise DataError(f"{path} has {len(spatial)} axes in space or time, expected two or three. {FIX}")
        raw = raw.transpose([*spatial, *others])
        raw = raw.reshape(*raw.shape[: len(spatial)], -1, order="F")
        raw, is_colour = colour_or_volumes(raw, len(spatial))
        array = plain_voxels(raw if is_colour else one_volume(raw, location), path)
        return Volume(array, affine_of(steps, _origin(header), _signs(header)), modality)


def _dtype(header: TextHeader) -> np.dtype:
    name = " ".join(header.fields.get("type", "").lower().split())
    if name not in _KINDS:
        raise DataError(f"{header.path} has voxels of the type {name!r}. {suggest(name, _KINDS)}")
    return np.dtype(_KINDS[name]).newbyteorder(">" if header.fields.get("endian", "").lower() == "big" else "<")


def _coding(header: TextHeader) -> Coding:
    name = header.fields.get("encoding", "").lower()
    if name not in _CODINGS:
        raise DataError(f"{header.path} has its voxels encoded as {name!r}; expected raw, gzip or bzip2. Save it so.")
    return _CODINGS[name]


def _axes(header: TextHeader, count: int) -> tuple[np.ndarray, list[int]]:
    """The steps in mm of the axes in space, one row each, and the axes that are not in space."""
    if "space directions" in header.fields:
        found = [match.group(1) for match in _VECTOR.finditer(header.fields["space directions"])]
        if len(found) != count:
            raise DataError(f"{header.path} has {len(found)} space directions for {count} axes. {FIX}")
        vectors = [[float(word) for word in text.split(",")] for text in found if text]
        if not vectors or len({len(vector) for vector in vectors}) != 1:
            raise DataError(f"{header.path} has no usable space directions. {FIX}")
        return np.array(vectors) * _unit(header), [axis for axis, text in enumerate(found) if not text]
    kinds = header.fields.get("kinds", "").lower().split()
    others = [axis for axis, kind in enumerate(kinds[:count]) if kind not in _IN_SPACE]
    spacings = header.numbers("spacings") if "spacings" in header.fields else [1.0] * count
    steps = [step if np.isfinite(step) else 1.0 for axis, step in enumerate(spacings[:count]) if axis not in others]
    return np.diag(steps), others


def _origin(header: TextHeader) -> list[float]:
    text = header.fields.get("space origin", "").strip("() ")
    return [float(word) * _unit(header) for word in text.split(",")] if text else [0.0, 0.0, 0.0]


def _signs(header: TextHeader) -> tuple[float, float, float]:
    space = header.fields.get("space", "").lower().removesuffix("-time").removesuffix("t")
    return _SIGNS.get(space, AS_LPS)


def _unit(header: TextHeader) -> float:
    """How many mm the unit of the space is; one for a unit that is not named."""
    units = _QUOTED.findall(header.fields.get("space units", ""))
    return _MILLIMETRES.get(units[0].strip().lower(), 1.0) if units else 1.0
