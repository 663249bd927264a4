"""Outlines of nodules by several radiologists become a mask in the grid of the series, held against squares by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from radapt.errors import DataError
from radapt.images import read
from radapt.images.masks import read_mask
from radapt.locations import Location
from toy_dicom import ToySeries

Roi = tuple[int, int, int, int, int, bool]
"""The slice from the feet, the first and the last column and row of an outline, and whether it is an inclusion."""


@pytest.fixture
def series(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (4, 16, 20), dtype=np.uint8)
    return ToySeries(pixels).write(tmp_path / "series")


def slices(folder: Path) -> list[tuple[str, float]]:
    """UID and height of each slice, from the feet."""
    headers = [dcmread(path) for path in folder.iterdir() if path.suffix != ".xml"]
    found = [(str(each.SOPInstanceUID), float(each.ImagePositionPatient[2])) for each in headers]
    return sorted(found, key=lambda item: item[1])


def annotated(folder: Path, *sessions: Sequence[Roi], by: str = "uid") -> Location:
    """Write the XML of `sessions`, and the location of the mask."""
    at = slices(folder)

    def roi(item: Roi) -> str:
        number, left, right, top, bottom, included = item
        around = [(x, top) for x in range(left, right)] + [(right, y) for y in range(top, bottom)]
        around += [(x, bottom) for x in range(right, left, -1)] + [(left, y) for y in range(bottom, top, -1)]
        points = around or [(left, top)]
        edges = "".join(f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for x, y in points)
        uid = f"<imageSOP_UID>{at[number][0]}</imageSOP_UID>" if by == "uid" else ""
        height = at[number][1] + 50 * (by == "lost")
        shown = str(included).upper()
        return f"<roi><imageZposition>{height}</imageZposition>{uid}<inclusion>{shown}</inclusion>{edges}</roi>"

    nodules = ["".join(f"<unblindedReadNodule>{roi(item)}</unblindedReadNodule>" for item in rois) for rois in sessions]
    text = "".join(f"<readingSession>{each}</readingSession>" for each in nodules)
    (folder / "a.xml").write_text(f'<LidcReadMessage xmlns="http://www.nih.gov">{text}</LidcReadMessage>')
    return Location.parse(f"{folder}::{{1=a.xml}}")


def planes(mask: Location, folder: Path) -> np.ndarray:
    return read_mask(mask, read(Location(folder)), [1]).planes("axial")


BIG, SMALL = (2, 3, 9, 2, 8, True), (2, 3, 7, 2, 6, True)


@pytest.mark.parametrize("by", ["uid", "height"])
def test_half_of_the_radiologists_decide(series: Path, by: str) -> None:
    """Two of four see the larger square, whose outline is outside of it; one more sees something else alone."""
    found = planes(annotated(series, [BIG], [BIG, SMALL], [(0, 10, 15, 3, 9, True)], [], by=by), series)
    expected = np.zeros((4, 16, 20), np.uint8)
    expected[2, 3:8, 4:9] = 1
    np.testing.assert_array_equal(found, expected)


def test_a_minority_draws_nothing(series: Path) -> None:
    assert not planes(annotated(series, [BIG], [], []), series).any()


def test_exclusions_are_taken_off_and_points_enclose_nothing(series: Path) -> None:
    hole, point = (2, 4, 7, 3, 6, False), (1, 5, 5, 5, 5, True)
    found = planes(annotated(series, [BIG, hole, point]), series)
    expected = np.zeros((4, 16, 20), np.uint8)
    expected[2, 3:8, 4:9] = 1
    expected[2, 4:6, 5:7] = 0
    np.testing.assert_array_equal(found, expected)


def test_outlines_on_no_slice_are_counted(series: Path) -> None:
    mask = annotated(series, [BIG, SMALL], by="lost")
    with pytest.raises(DataError, match="2 of 2 outlines lie on no slice"):
        planes(mask, series)


def test_an_outline_without_a_slice_is_lost(series: Path) -> None:
    mask = annotated(series, [BIG, SMALL], by="height")
    text = (series / "a.xml").read_text()
    first = text.index("<imageZposition>"), text.index("</imageZposition>")
    (series / "a.xml").write_text(text[: first[0]] + text[first[1] + len("</imageZposition>") :])
    with pytest.raises(DataError, match="1 of 2 outlines lie on no slice"):
        planes(mask, series)


POINT = b"<edgeMap><xCoord>%d</xCoord><yCoord>1</yCoord></edgeMap>"
OUTLINE = b"<x><readingSession><unblindedReadNodule><roi>%s</roi></unblindedReadNodule></readingSession></x>"
DAMAGED = [
    "<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>".encode("utf-16"),
    b"<x>" * 100,
    *(OUTLINE % (3 * (POINT % column)) for column in (10**20, 20_000, -1)),
    b"<?xml version='1.0' encoding='none'?><x/>",
    b"",
]


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_outlines_are_refused(content: bytes, series: Path) -> None:
    (series / "a.xml").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.xml cannot be read as outlines"):
        planes(Location.parse(f"{series}::{{1=a.xml}}"), series)
