"""`read`: one function for images of every format."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from radapt.errors import DataError
from radapt.images.arrays import read_array
from radapt.images.dicom.reader import read_dicom
from radapt.images.itk.metaimage import read_metaimage
from radapt.images.itk.nrrd import read_nrrd
from radapt.images.matlab import read_matlab
from radapt.images.nifti import read_nifti
from radapt.images.raster import read_raster
from radapt.images.reading import check_voxels, reading
from radapt.images.tiff import read_tiff
from radapt.images.volume import Volume
from radapt.locations import Location
from radapt.parsing.matlab import HDF5, MAGIC
from radapt.remote.local_copies import local_copy

ReadFunction = Callable[[Location, str | None], Volume]


@dataclass(frozen=True)
class Reader:
    """A format: its file endings, its magic bytes (offset, bytes), and the function that reads it."""

    name: str
    endings: tuple[str, ...]
    magic: tuple[tuple[int, bytes], ...]
    read: ReadFunction


READERS: tuple[Reader, ...] = (
    Reader("NIfTI", (".nii", ".nii.gz"), ((344, b"n+1\0"), (4, b"n+2\0"), (0, b"\x1f\x8b")), read_nifti),
    Reader("DICOM", (".dcm", ".dicom", ".ima"), ((128, b"DICM"), (0, b"\x08\0"), (0, b"\x02\0")), read_dicom),
    Reader(
        "picture",
        (".png", ".jpg", ".jpeg", ".bmp"),
        ((0, b"\x89PNG"), (0, b"\xff\xd8\xff"), (0, b"BM")),
        read_raster,
    ),
    Reader("TIFF", (".tif", ".tiff"), ((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")), read_tiff),
    Reader("MetaImage", (".mha", ".mhd"), ((0, b"ObjectType ="), (0, b"NDims =")), read_metaimage),
    Reader("NRRD", (".nrrd", ".nhdr"), ((0, b"NRRD000"),), read_nrrd),
    Reader("MATLAB", (".mat",), ((0, MAGIC), (0, HDF5)), read_matlab),
    Reader("NumPy", (".npy", ".npz"), ((0, b"\x93NUMPY"), (0, b"PK\x03\x04")), read_array),
)


_UNSURE = (b"\x1f\x8b", b"PK\x03\x04", b"BM", b"\x08\0", b"\x02\0")
"""Magic bytes that other files begin with, too: they do not overrule the ending of a name."""


def read(location: Location, modality: str | None = None, *, array_cache: Path | None = None) -> Volume:
    """Read the image at `location`: a NIfTI, DICOM, MetaImage, NRRD, PNG, JPEG, BMP, TIFF, MATLAB or NumPy file, or a
    folder with a DICOM series.

    The first bytes decide the format, whatever the ending: public data sets hold TIFF and PNG named `.jpg`. Where they
    leave it open, the ending does. `modality` is stored in the volume. `array_cache` is a folder for arrays unpacked
    from `.npz` archives. A remote image is copied to this machine first. Raises a DataError that names the file and a
    fix if it is missing, damaged, not an image, empty, or has NaN or infinite voxels.
    """
    with local_copy(location) as here:
        if here.path.is_dir():
            volume = read_dicom(here, modality)
        else:
            reader = _reader_of(here.path)
            if reader.read is read_array:
                volume = read_array(here, modality, array_cache)
            else:
                volume = reader.read(here, modality)
        check_voxels(volume.array, here.path)
    return volume


def _reader_of(path: Path) -> Reader:
    with reading(path, "an image"):
        if not path.is_file():
            raise DataError(f"{path} does not exist.{_nearest(path)}")
        with path.open("rb") as file:
            start = file.read(512)
    if not start:
        raise DataError(f"{path} is an empty file. Copy or export it again.")
    name = path.name.lower()
    named = next((reader for reader in READERS if name.endswith(reader.endings)), None)
    recognised = next((reader for reader in READERS if _matches(start, reader)), None)
    if named and recognised and not _matches(start, named):
        if _matches(start, recognised, certain=True):
            return recognised
        raise DataError(f"{path} is named as {named.name} but holds {recognised.name}. Rename it or replace it.")
    if reader := named or recognised:
        return reader
    endings = ", ".join(ending for reader in READERS for ending in reader.endings)
    raise DataError(f"{path} is not an image radapt can read. Known endings: {endings}; DICOM needs none.")


def _matches(start: bytes, reader: Reader, *, certain: bool = False) -> bool:
    magics = [(offset, magic) for offset, magic in reader.magic if not certain or magic not in _UNSURE]
    return any(start[offset : offset + len(magic)] == magic for offset, magic in magics)


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return f" The folder {path.parent} does not exist either."
    near = difflib.get_close_matches(path.name, [item.name for item in path.parent.iterdir()], n=1)
    return f" Did you mean {near[0]}?" if near else ""
