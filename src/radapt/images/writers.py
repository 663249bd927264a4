"""Writing label maps: NIfTI in the grid of the image, PNG for images without geometry."""

import gzip
from pathlib import Path

import numpy as np

from radapt.durable import atomic_path
from radapt.errors import DataError, UsageError, unwritable
from radapt.images.volume import IMAGE_AFFINE, Volume

ENDINGS = (".nii.gz", ".nii", ".png")

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".npy", ".npz")
"""Formats of images without geometry."""

GZIP_LEVEL = 4
"""Label maps shrink a hundredfold at any level; higher levels take three times as long to save a tenth."""

_SCANNER, _ALIGNED = 1, 2  # NIfTI codes of scanner coordinates and of aligned coordinates


def write_labels(path: Path, volume: Volume) -> None:
    """Write a label map, integers from 0, as NIfTI (`.nii.gz`, `.nii`) or as grey PNG of 8 or 16 bits (`.png`).

    Reading it back gives equal voxels, axis order and affine (float32 in NIfTI). A PNG holds one axial plane and no
    geometry. The same label map gives the same bytes. The file is written to a temporary path and renamed.

    Raises UsageError for another ending or an unwritable folder, DataError for values that are not labels and for a PNG
    of more than one plane.
    """
    if not path.name.endswith(ENDINGS):
        raise UsageError(f"Label maps are written as {', '.join(ENDINGS)}; got {path.name}.")
    content = volume.array
    if volume.is_colour or content.dtype.kind not in "iub" or content.min() < 0:
        raise DataError(f"{path.name} must be a label map, but its values are not whole numbers from 0.")
    _write(path, Volume(content.astype(_smallest(int(content.max()))), volume.affine))


def write_shares(path: Path, volume: Volume) -> None:
    """Write a map of shares from 0 to 1 as NIfTI of 8 bits whose header scales them back, or as PNG from 0 to 255.

    Reading the NIfTI back gives values that differ by 0.002 at most. Otherwise as `write_labels`.
    """
    shares = np.clip(np.asarray(volume.array, dtype=np.float32), 0, 1)
    _write(path, Volume(np.rint(shares * 255).astype(np.uint8), volume.affine), slope=1 / 255)


def _write(path: Path, volume: Volume, slope: float | None = None) -> None:
    try:
        with atomic_path(path) as part:
            if path.suffix == ".png":
                _write_png(part, volume)
            else:
                _write_nifti(part, volume, path.suffix == ".gz", slope)
    except OSError as error:
        raise unwritable(path, error) from error


def ending_for(image: Path, grid: Volume) -> str:
    """The ending of a label map: `.png` for an image without geometry and depth, else `.nii.gz`.

    `image` is the file or series folder from which the image with this `grid` was read.
    """
    is_flat = np.array_equal(grid.affine, IMAGE_AFFINE) and grid.array.shape[2] == 1
    return ".png" if is_flat and image.name.lower().endswith(PICTURES) else ".nii.gz"


def _smallest(highest: int) -> type[np.generic]:
    return np.uint8 if highest < 1 << 8 else np.uint16 if highest < 1 << 16 else np.int32


def _write_nifti(part: Path, labels: Volume, zipped: bool, slope: float | None = None) -> None:
    import nibabel

    image = nibabel.Nifti1Image(labels.array, labels.affine)
    if slope is not None:
        image.header.set_slope_inter(slope, 0)
    image.set_sform(labels.affine, _SCANNER)
    straight = _without_shear(labels)
    image.set_qform(straight, _SCANNER if np.allclose(straight, labels.affine, atol=1e-4) else _ALIGNED)
    image.header.set_xyzt_units("mm")
    content = image.to_bytes()
    part.write_bytes(gzip.compress(content, GZIP_LEVEL, mtime=0) if zipped else content)


def _without_shear(labels: Volume) -> np.ndarray:
    """The affine with the sheared axis of a tilted gantry made orthogonal to the other two.

    A qform has no shear, and programs built on ITK refuse files without an orthonormal one. They also read a tilted
    DICOM series as if it were orthogonal, so they see the image in the same position.
    """
    directions = labels.affine[:3, :3] / np.asarray(labels.spacing_mm)
    slant = np.abs(directions.T @ directions - np.eye(3))
    tilted = int(slant.sum(axis=0).argmax())
    first, second = (axis for axis in range(3) if axis != tilted)
    straight = directions.copy()
    straight[:, second] -= straight[:, first] * (straight[:, first] @ straight[:, second])
    straight[:, second] /= np.linalg.norm(straight[:, second])
    square = np.cross(straight[:, first], straight[:, second])
    straight[:, tilted] = square * np.sign(square @ directions[:, tilted])
    affine = labels.affine.copy()
    affine[:3, :3] = straight * labels.spacing_mm
    return affine


def _write_png(part: Path, labels: Volume) -> None:
    from PIL import Image

    planes = labels.planes("axial")
    if len(planes) != 1 or planes.dtype == np.int32:
        raise DataError(f"A PNG holds one plane of labels up to 65535; got {len(planes)} planes of {planes.dtype}.")
    Image.fromarray(np.ascontiguousarray(planes[0])).save(part, format="PNG", optimize=False)
