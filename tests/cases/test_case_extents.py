"""What planes show is measured on the grid of the reference, once, and as one would measure it by hand."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from radapt.cases import CaseReader
from radapt.cases.case_extents import ExtentReader
from radapt.errors import DataError, UsageError
from radapt.images import Recipe, SliceCache
from toy_cases import oblique_cohort
from toy_images import image_cohort

RECIPE = Recipe.for_kind("mri", size=(28, 32))


def reader_of(tmp_path: Path, grid: str = "reference") -> CaseReader:
    cohort = oblique_cohort(tmp_path / "images")
    return CaseReader(cohort, SliceCache(tmp_path / "cache"), RECIPE, cohort.modalities, grid=grid)  # type: ignore[arg-type]


def box_of(inside: np.ndarray, share: float) -> tuple[int, list[int]]:
    """Area and box of a plane bool (H, W), line by line."""
    height, width = inside.shape
    rows = [y for y in range(height) if inside[y].sum() >= max(1, share * width)]
    columns = [x for x in range(width) if inside[:, x].sum() >= max(1, share * height)]
    if not rows or not columns:
        return 0, [0, 0, 0, 0]
    return int(inside.sum()), [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]


def test_foreground_is_that_of_all_images_together(tmp_path: Path) -> None:
    reader = reader_of(tmp_path)
    for row in range(4):
        planes = reader.stack(row)[:, :, 0]
        extents = ExtentReader(reader).extents(row)
        areas = []
        for number, modalities in enumerate(planes):
            found = [box_of(plane > 25, 0.02) for plane in modalities]
            areas.append(max(area for area, _ in found))
            boxes = np.array([box for area, box in found if area])
            if len(boxes):
                assert extents.boxes[number].tolist() == [*boxes[:, :2].min(0), *boxes[:, 2:].max(0)]
            else:
                assert extents.boxes[number].tolist() == [0, 0, 28, 32]
        assert [index.tolist() for index in extents.shown] == [
            np.flatnonzero(np.array(areas) >= 0.1 * max(areas)).tolist()
        ]
        assert extents.lesions is None
        assert extents.marked == ()


def test_lesions_are_those_of_the_mask_on_the_grid_of_the_reference(tmp_path: Path) -> None:
    reader = reader_of(tmp_path)
    for among in (None, ["t2"]):
        marked = reader.mask_planes(0, [], resample=True, among=among) > 0
        extents = ExtentReader(reader).extents(0, among, masked=True)
        expected = [box_of(plane, 0) for plane in marked]
        assert extents.lesions is not None
        assert extents.lesions.area.tolist() == [area for area, _ in expected]
        assert extents.lesions.boxes.tolist() == [box for _, box in expected]
        areas = extents.lesions.area
        assert [index.tolist() for index in extents.marked] == [np.flatnonzero(areas >= 0.1 * areas.max()).tolist()]
    assert ExtentReader(reader).extents(1, masked=True).lesions is None  # without a mask


def test_a_mask_is_read_only_where_it_is_asked_for(tmp_path: Path) -> None:
    reader = reader_of(tmp_path)
    (tmp_path / "images/0-mask.nii.gz").write_bytes(b"torn")
    ExtentReader(reader).extents(0)
    with pytest.raises(DataError, match=r"^Case c0: .*0-mask"):
        ExtentReader(reader).extents(0, masked=True)


def test_extents_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = reader_of(tmp_path)
    measured = ExtentReader(reader)
    first = measured.extents(0, masked=True)
    assert measured.extents(0, masked=True) is first
    assert len(measured.extents(0, ["t2"], masked=True).boxes) != len(first.boxes)
    monkeypatch.setattr("radapt.cases.case_extents.foreground", lambda *_: pytest.fail("measured again"))
    for other in (pickle.loads(pickle.dumps(measured)), ExtentReader(reader_of(tmp_path))):
        np.testing.assert_array_equal(other.extents(0, masked=True).boxes, first.boxes)


def test_planes_with_a_tenth_of_the_most_are_shown(tmp_path: Path) -> None:
    """Areas of 256, 26, 25 and 0 pixels."""
    volume = np.zeros((4, 32, 32), np.uint8)
    volume[0, 8:24, 8:24] = volume[1, 8:21, 8:10] = volume[2, 8:13, 8:13] = 200
    cohort = image_cohort(tmp_path / "images", [{"a": volume}], [0], ["train"])
    reader = CaseReader(
        cohort, SliceCache(tmp_path / "cache"), Recipe.for_kind("other", size=32), cohort.modalities, grid="own"
    )
    assert [planes.tolist() for planes in ExtentReader(reader).extents(0).shown] == [[0, 1]]


def test_on_own_grids_an_image_has_extents_of_its_own(tmp_path: Path) -> None:
    own, together = reader_of(tmp_path, "own"), reader_of(tmp_path)
    for name in ("t1", "t2"):
        extents = ExtentReader(own).extents(0, [name], masked=True)
        np.testing.assert_array_equal(extents.boxes, ExtentReader(together).extents(0, [name]).boxes)
        assert len(extents.boxes) == len(own.image(0, own.modalities.index(name)))
    with pytest.raises(UsageError, match="ask for one"):
        ExtentReader(own).extents(0)
