"""Reading DICOM: one file, or a folder that holds a series."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from radapt.images.dicom.frames import FIX, DicomFrame
from radapt.images.dicom.pixels import read_pixels
from radapt.images.dicom.series import read_series
from radapt.images.raster import without_equal_channels
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
    series = read_series(location)
    with reading(location.path, "DICOM", FIX):
        planes, window = _planes(series.frames)
        return Volume(planes.transpose(2, 1, 0, *range(3, planes.ndim)), series.grid.affine, modality, window)


def _planes(ordered: Sequence[DicomFrame]) -> tuple[np.ndarray, Window | None]:
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
