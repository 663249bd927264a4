"""NIfTI-1 and NIfTI-2 files, plain or gzipped.

nibabel parses the header; the voxels are read here, so that a broken gzip stream is detected to its last byte and a
volume is in memory only once.
"""

import gzip
import io
from pathlib import Path
from typing import IO, Any

import numpy as np

from radapt.errors import DataError
from radapt.images.channels import check_channel, one_volume
from radapt.images.claims import DEFLATE
from radapt.images.reading import plain_voxels, reading
from radapt.images.volume import Volume
from radapt.locations import Location

_CHUNK = 4 << 20  # bytes read at a time
_LONGEST_TAIL = 64 << 20  # bytes that may follow the voxels, and as many as these are


def read_nifti(location: Location, modality: str | None = None) -> Volume:
    """Read a NIfTI volume; with `::channels[k]` the k-th volume of a 4D file.

    Orientation: the sform if its code is set, else the qform, else the voxel sizes (nibabel's rule). Values are
    scaled by scl_slope and scl_inter. RGB files give colour. Raises DataError for anything else.
    """
    path = location.path
    check_channel(location, "NIfTI")
    with reading(path, "NIfTI", "Was the copy or download interrupted? Copy or convert it again."), _open(path) as file:
        header = _header(file, path)
        shape = tuple(int(size) for size in header.get_data_shape())
        raw = _voxels(file, path, header, shape)
        array = _scaled(_colour_last(one_volume(raw, location)), header, path)
        affine = _affine_mm(header)
    if array.ndim not in (3, 4):
        raise DataError(f"{path} has shape {shape}, expected a 3D volume.")
    try:
        return Volume(array, affine, modality)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _open(path: Path) -> Any:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else path.open("rb")


def _header(file: IO[bytes], path: Path) -> Any:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    start = file.read(Nifti2Header.sizeof_hdr)
    if start[344:348] in (b"n+1\0", b"ni1\0"):
        kind: Any = Nifti1Header
    elif start[4:8] in (b"n+2\0", b"ni2\0"):
        kind = Nifti2Header
    else:
        raise DataError(f"{path} is not a NIfTI file: its header lacks the NIfTI magic. Convert it to NIfTI.")
    if start[344:347] == b"ni1" or start[4:7] == b"ni2":
        raise DataError(f"{path} is the header of a two-file NIfTI. Save it as one .nii.gz file.")
    header = kind.from_fileobj(io.BytesIO(start[: kind.sizeof_hdr]), check=False)
    shape = header.get_data_shape()
    if not shape or min(shape) < 1:
        raise DataError(f"{path} is empty: its header gives the size {tuple(int(size) for size in shape)}.")
    _repair(header, shape)
    return header


def _affine_mm(header: Any) -> np.ndarray:
    """Voxel indices → mm. Files in metres or micrometres are converted; an unknown unit is taken for mm."""
    scale = {"meter": 1000.0, "micron": 0.001}.get(header.get_xyzt_units()[0], 1.0)
    affine = np.array(header.get_best_affine(), dtype=np.float64)
    affine[:3] *= scale
    return affine


def _repair(header: Any, shape: tuple[int, ...]) -> None:
    """Fix what other readers fix, too: a missing sign of the qform, negative voxel sizes, no thickness of one slice."""
    pixdim = header["pixdim"]
    if pixdim[0] not in (-1, 1):
        pixdim[0] = 1
    pixdim[1:4] = np.abs(pixdim[1:4])
    for axis in range(3):
        if pixdim[axis + 1] == 0 and (axis >= len(shape) or shape[axis] == 1):
            pixdim[axis + 1] = 1
    slope, intercept = (header[name] if name in header else np.float32(np.nan) for name in ("scl_slope", "scl_inter"))
    if np.isfinite(slope) and slope != 0 and not np.isfinite(intercept):
        header["scl_inter"] = 0


def _voxels(file: IO[bytes], path: Path, header: Any, shape: tuple[int, ...]) -> np.ndarray:
    dtype = header.get_data_dtype()
    expected = int(np.prod([int(size) for size in shape], dtype=object)) * dtype.itemsize
    stored = path.stat().st_size * (DEFLATE if isinstance(file, gzip.GzipFile) else 1)
    if expected > stored:
        raise DataError(
            f"{path} is truncated: size {shape} of {dtype} needs {expected} bytes, the file can hold at most {stored}."
            " Was the copy or download interrupted? Copy it again."
        )
    file.seek(int(header.get_data_offset()))
    buffer = bytearray()  # grows with what the file holds, whatever its header claims
    while len(buffer) < expected and (chunk := file.read(min(_CHUNK, expected - len(buffer)))):
        buffer += chunk
    if len(buffer) < expected:
        raise DataError(f"{path} is truncated: it holds {len(buffer)} of {expected} bytes of voxels. Copy it again.")
    more = 0
    while chunk := file.read(_CHUNK):  # gzip verifies its checksum at the end of the stream
        if (more := more + len(chunk)) > expected + _LONGEST_TAIL:
            raise DataError(
                f"{path} is damaged: it holds more than twice the voxels of its size {shape}. Copy it again."
            )
    return np.frombuffer(buffer, dtype).reshape(shape, order="F")


def _colour_last(raw: np.ndarray) -> np.ndarray:
    if raw.dtype.names is None:
        return raw
    return np.stack([raw[name] for name in raw.dtype.names[:3]], axis=-1)  # without alpha


def _scaled(raw: np.ndarray, header: Any, path: Path) -> np.ndarray:
    slope, intercept = header.get_slope_inter()
    array = plain_voxels(raw, path)
    if slope is None or (slope == 1 and intercept == 0):
        return array
    scaled = array.astype(np.float32)
    scaled *= np.float32(slope)
    scaled += np.float32(intercept)
    return scaled
