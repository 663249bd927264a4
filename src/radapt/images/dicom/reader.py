"""Reading DICOM: one file, or a folder that holds a series."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from radapt.errors import DataError, suggest
from radapt.images.dicom.frames import FIX, DicomFrame, frames_of, is_image, read_header, series_key, sop_class
from radapt.images.dicom.pixels import read_pixels
from radapt.images.dicom.slice_order import arrange, check_alike
from radapt.images.dicom.stack import stacked
from radapt.images.raster import no_named_parts, without_equal_channels
from radapt.images.reading import plain_voxels, reading
from radapt.images.volume import Volume
from radapt.images.window import Window
from radapt.locations import Location


def read_dicom(location: Location, modality: str | None = None) -> Volume:
    """Read a DICOM file, or the series in a folder; `folder::series-<12 hex digits>` chooses one of several.

    Frames are ordered by their position along the slice normal; if a file gives the position of its first frame only,
    the others are stacked on it (`dicom.stack`). A tilted gantry gives a sheared affine. Images without position become
    a volume without orientation: one X-ray, or the frames of one file in stored order, with PixelSpacing, else
    ImagerPixelSpacing, else 1 mm. Objects that are not images are skipped in folders and refused as single files.
    Raises a DataError that says what differs if the frames are not one volume.
    """
    path = location.path
    with reading(path, "DICOM", FIX):
        if path.is_dir():
            frames = _series(_frames_in(path), location)
        else:
            no_named_parts(location)
            frames = _frames_of_file(path)
        return _volume(frames, str(location), modality)


def _volume(frames: list[DicomFrame], where: str, modality: str | None) -> Volume:
    if any(frame.is_mosaic for frame in frames):
        raise DataError(
            f"{where} is a Siemens mosaic: the slices of a volume are tiles of one image. Convert it with dcm2niix, or "
            "leave the series out."
        )
    check_alike(frames, where)
    if frames[0].position_mm is not None and frames[0].orientation is not None:
        order, affine = arrange(frames, where)
        planes, window = _planes([frames[index] for index in order])
        return Volume(planes.transpose(2, 1, 0, *range(3, planes.ndim)), affine, modality, window)
    if len({frame.path for frame in frames}) > 1:
        raise DataError(
            f"{where}: {len(frames)} images without a position (ImagePositionPatient), so their order is unknown. "
            "Give each file as a case of its own."
        )
    planes, window = _planes(frames)
    rows, columns = frames[0].spacing_mm
    return Volume.from_planes(planes, (frames[0].thickness_mm, rows, columns), modality, window)


def _frames_of_file(path: Path) -> list[DicomFrame]:
    header = read_header(path)
    if header is None:
        raise DataError(f"{path} is not a DICOM file.")
    if not is_image(header, path):
        raise DataError(f"{path} is not an image but {sop_class(header) or 'another object'}. Name an image file.")
    return stacked(frames_of(header, path))


def _frames_in(folder: Path) -> list[DicomFrame]:
    frames: list[DicomFrame] = []
    files = sorted(item for item in folder.iterdir() if item.is_file() and not item.name.startswith("."))
    for path in files:
        with reading(path, "DICOM", FIX):
            header = read_header(path)
            if header is not None and is_image(header, path):
                frames.extend(stacked(frames_of(header, path)))
    if not frames:
        inside = ", ".join(sorted(item.name for item in folder.iterdir() if item.is_dir())[:5])
        hint = f"It has the folders {inside}: name one of them." if inside else "Name the folder of one series."
        raise DataError(f"{folder} holds no DICOM image among {len(files)} files. {hint}")
    return frames


def _series(frames: list[DicomFrame], location: Location) -> list[DicomFrame]:
    by_key: dict[str, list[DicomFrame]] = defaultdict(list)
    for frame in frames:
        by_key[series_key(frame.header.get("SeriesInstanceUID") or "")].append(frame)
    if location.array is None and len(by_key) == 1:
        return frames
    if location.array is None:
        listed = ", ".join(
            f"{key} ({len(items)} × {items[0].header.get('Modality') or 'image'})" for key, items in by_key.items()
        )
        raise DataError(
            f"{location.path} holds {len(by_key)} series: {listed}. "
            f"Choose one by writing {location.path}::{next(iter(by_key))}, or give each a folder of its own."
        )
    if location.index is not None or location.array not in by_key:
        raise DataError(f"{location} is not in the folder. {suggest(location.array, by_key)}")
    return by_key[location.array]


def _planes(ordered: list[DicomFrame]) -> tuple[np.ndarray, Window | None]:
    """The planes of `ordered`, each file decoded once, and the display window of the middle one."""
    files: dict[Path, list[DicomFrame]] = defaultdict(list)
    for frame in sorted(ordered, key=lambda frame: frame.index):
        files[frame.path].append(frame)
    decoded = {path: read_pixels(frames) for path, frames in files.items()}
    planes = np.stack([decoded[frame.path][0][frame.index] for frame in ordered])
    middle = ordered[len(ordered) // 2]
    window, total = middle.window, decoded[middle.path][1]
    if window is not None and total is not None:
        window = window.inverted(total)
    return plain_voxels(without_equal_channels(planes), middle.path), window
