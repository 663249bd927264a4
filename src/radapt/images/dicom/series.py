"""The frames of a DICOM file or series in the order of the slices, with the grid they make: headers, without pixels."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radapt.errors import DataError, suggest
from radapt.images.dicom.frames import FIX, DicomFrame, frames_of, is_image, read_header, series_key, sop_class
from radapt.images.dicom.slice_order import arrange, check_alike
from radapt.images.dicom.stack import stacked
from radapt.images.raster import no_named_parts
from radapt.images.reading import reading
from radapt.images.volume import Volume
from radapt.locations import Location


@dataclass(frozen=True, eq=False)
class DicomSeries:
    """The frames of one volume. `frames[k]` shows the voxels `[:, :, k]` of a volume on `grid`, columns first.

    `has_geometry` is False for images without position, whose grid has no orientation (`Volume.from_planes`).
    """

    frames: tuple[DicomFrame, ...]
    grid: Volume
    has_geometry: bool


def read_series(location: Location) -> DicomSeries:
    """The frames of the DICOM file or series folder at `location`, ordered as `read_dicom` orders them.

    Raises a DataError as `read_dicom` does.
    """
    path = location.path
    with reading(path, "DICOM", FIX):
        if path.is_dir():
            frames = _series(_frames_in(path), location)
        else:
            no_named_parts(location)
            frames = _frames_of_file(path)
        return _arranged(frames, str(location))


def _arranged(frames: list[DicomFrame], where: str) -> DicomSeries:
    if any(frame.is_mosaic for frame in frames):
        raise DataError(
            f"{where} is a Siemens mosaic: the slices of a volume are tiles of one image. Convert it with dcm2niix, or "
            "leave the series out."
        )
    check_alike(frames, where)
    rows, columns, _ = frames[0].size
    if frames[0].position_mm is not None and frames[0].orientation is not None:
        order, affine = arrange(frames, where)
        return DicomSeries(
            tuple(frames[index] for index in order), Volume.blank((columns, rows, len(frames)), affine), True
        )
    if len({frame.path for frame in frames}) > 1:
        raise DataError(
            f"{where}: {len(frames)} images without a position (ImagePositionPatient), so their order is unknown. "
            "Give each file as a case of its own."
        )
    planes = np.broadcast_to(np.zeros((), np.uint8), (len(frames), rows, columns))
    grid = Volume.from_planes(planes, (frames[0].thickness_mm, *frames[0].spacing_mm))
    return DicomSeries(tuple(frames), grid, False)


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
