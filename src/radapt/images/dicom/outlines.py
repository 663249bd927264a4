"""Outlines of lung nodules by several radiologists, in the XML of LIDC-IDRI, as a mask in the grid of the CT series."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from PIL import Image, ImageDraw

from radapt.errors import DataError, counted
from radapt.images.dicom.frames import DicomFrame
from radapt.images.dicom.series import read_series
from radapt.images.volume import Volume
from radapt.locations import Location
from radapt.parsing.xml import read_xml

_FEWEST_POINTS = 3
"""Nodules below 3 mm are a single point, which encloses nothing."""

_MOST_PX = 1 << 14

_SAME_MM = 0.1
"""An outline without the UID of its slice belongs to the one whose position differs by less."""


def read_outlines(xml: Path, series: Path) -> Volume:
    """1 where at least half of the radiologists who read the scan outline a nodule of 3 mm or more, else 0.

    An outline runs through the first pixels outside of a nodule, so that only the pixels inside it count; those inside
    an exclusion, `inclusion` FALSE, are taken off. Raises DataError if the XML cannot be read, and with the number of
    outlines that lie on no slice of the series.
    """
    try:
        sessions = list(read_xml(xml).iter("readingSession"))
        outlines = [list(_outlines(session)) for session in sessions]
    except (OSError, ValueError, OverflowError) as error:
        raise DataError(f"{xml} cannot be read as outlines of nodules: {error}. Download it again.") from error
    found = read_series(Location(series))
    slices = [_slice_of(roi, found.frames) for drawn in outlines for roi, _ in drawn]
    if lost := slices.count(None):
        raise DataError(
            f"{xml}: {lost} of {counted(len(slices), 'outline')} lie on no slice of {series}. Is the series complete, "
            "and of the same scan?"
        )
    columns, rows, depth = found.grid.array.shape
    votes = np.zeros((depth, rows, columns), np.uint8)
    for drawn in outlines:
        votes += _region(drawn, found.frames, votes.shape)
    mask = (votes > 0) & (2 * votes.astype(np.int32) >= len(sessions))
    return Volume(mask.astype(np.uint8).transpose(2, 1, 0), found.grid.affine)


def _outlines(session: Element) -> Iterator[tuple[Element, np.ndarray]]:
    """The regions of interest of one radiologist, each with its points (n, 2) as columns and rows."""
    for roi in session.iterfind("unblindedReadNodule/roi"):
        points = [(edge.findtext("xCoord") or "", edge.findtext("yCoord") or "") for edge in roi.iterfind("edgeMap")]
        if len(points) >= _FEWEST_POINTS:
            corners = np.array(points).astype(np.int64)
            if corners.min() < 0 or corners.max() > _MOST_PX:
                raise ValueError(f"an outline runs from {corners.min()} to {corners.max()} pixels")
            yield roi, corners


def _slice_of(roi: Element, frames: Sequence[DicomFrame]) -> int | None:
    uid = (roi.findtext("imageSOP_UID") or "").strip()
    for at, frame in enumerate(frames):
        if uid and uid == str(frame.header.get("SOPInstanceUID") or ""):
            return at
    heights = [frame.position_mm[2] if frame.position_mm is not None else np.inf for frame in frames]
    away = np.abs(np.array(heights) - float(roi.findtext("imageZposition") or "nan"))
    nearest = int(away.argmin())
    return nearest if not uid and away[nearest] < _SAME_MM else None


def _region(
    drawn: Sequence[tuple[Element, np.ndarray]], frames: Sequence[DicomFrame], shape: tuple[int, ...]
) -> np.ndarray:
    """bool (slices, rows, columns): inside the inclusions of one radiologist and outside the exclusions."""
    kept, taken_off = np.zeros(shape, bool), np.zeros(shape, bool)
    for roi, points in drawn:
        at = _slice_of(roi, frames)
        excluded = (roi.findtext("inclusion") or "").strip().upper() == "FALSE"
        (taken_off if excluded else kept)[at] |= _inside(points, shape[1:])
    return kept & ~taken_off


def _inside(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """bool (rows, columns): the pixels inside a closed outline, without those that it runs through."""
    image = Image.new("1", (shape[1], shape[0]))
    corners = [(int(column), int(row)) for column, row in points]
    draw = ImageDraw.Draw(image)
    draw.polygon(corners, fill=1)
    draw.line([*corners, corners[0]], fill=0)
    return np.asarray(image)
