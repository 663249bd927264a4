"""Several numbered masks of one image: joined where they are parts of one structure, else left out with a note."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from radapt.cohorts import load_cohort, scan, write_cohort
from radapt.images.masks import read_labels

SIDE = 12
LEFT, RIGHT = (slice(2, 5), slice(1, 4)), (slice(4, 9), slice(3, 8))
"""Two squares that share a pixel."""


def _draw(path: Path, *squares: tuple[slice, slice], value: int = 255, side: int = SIDE, mode: str = "L") -> None:
    plane = np.zeros((side, side), np.uint8)
    for square in squares:
        plane[square] = value
    Image.fromarray(plane).convert(mode).save(path)


def _breasts(root: Path, **second: object) -> Path:
    """Four lesions of which `b (1)` has two masks; `second` is how the second is drawn."""
    for label in ("a", "b"):
        (root / label).mkdir()
        for at in range(1, 3):
            noise = np.random.default_rng(at).integers(0, 256, (SIDE, SIDE), np.uint8)
            Image.fromarray(noise).save(root / label / f"{label} ({at}).png")
            _draw(root / label / f"{label} ({at})_mask.png", LEFT)
    _draw(root / "b" / "b (1)_mask_1.png", RIGHT, **second)  # type: ignore[arg-type]
    return root


def test_masks_of_two_lesions_become_their_union(tmp_path: Path) -> None:
    draft = scan(_breasts(tmp_path))
    joined = [note for note in draft.notes if "joined" in note]
    assert joined == [
        "1 image with several masks of 0 and one other value, such as b (1)_mask_1.png: their 2 masks are joined, as "
        "parts of one structure."
    ]
    path, _ = write_cohort(draft, tmp_path / "cohort.yaml")
    assert "their 2 masks are joined" in path.read_text()
    cohort = load_cohort(path)
    masks = {case.case: case.mask for case in cohort.cases}
    assert masks["b (1)"] is not None
    assert [file.name for file in masks["b (1)"].files] == ["b (1)_mask.png", "b (1)_mask_1.png"]
    expected = np.zeros((SIDE, SIDE), np.uint8)
    expected[LEFT] = expected[RIGHT] = 255  # 9 + 25 - 1 pixels
    found = read_labels(masks["b (1)"]).planes("axial")[0]
    assert np.count_nonzero(expected) == 33
    np.testing.assert_array_equal(found, expected)
    assert masks["a (1)"] is not None
    assert set(np.unique(read_labels(masks["a (1)"]).array)) == {0, 255}  # one value in joined and single masks


@pytest.mark.parametrize(
    "second",
    [
        pytest.param({"side": 2 * SIDE}, id="another size"),
        pytest.param({"value": 128}, id="another value"),
    ],
)
def test_masks_that_are_no_parts_are_left_out(tmp_path: Path, second: dict[str, int]) -> None:
    draft = scan(_breasts(tmp_path, **second))
    assert draft.table.set_index("case")["mask"].ne("").to_dict() == {
        "a (1)": True, "a (2)": True, "b (1)": False, "b (2)": True,
    }  # fmt: skip
    assert any(note.startswith("1 image with several masks that may be different") for note in draft.notes)


def test_a_mask_of_three_values_is_no_part(tmp_path: Path) -> None:
    root = _breasts(tmp_path)
    plane = np.asarray(Image.open(root / "b" / "b (1)_mask_1.png")).copy()
    plane[0, 0] = 7
    Image.fromarray(plane).save(root / "b" / "b (1)_mask_1.png")
    assert scan(root).table.set_index("case")["mask"]["b (1)"] == ""


def test_masks_of_one_bit_are_joined_with_the_stored_value(tmp_path: Path) -> None:
    for at in range(3):
        _draw(tmp_path / f"x{at}.png", LEFT, value=90)
        for end in ("", "_1", "_2")[: at + 1]:
            _draw(tmp_path / f"x{at}_mask{end}.png", LEFT if end else RIGHT, mode="1")
    path, _ = write_cohort(scan(tmp_path), tmp_path / "cohort.yaml")
    values = [np.unique(read_labels(case.mask).array).tolist() for case in load_cohort(path).cases if case.mask]
    assert values == [[0, 1]] * 3


def test_the_same_numbers_in_every_image_may_be_structures(tmp_path: Path) -> None:
    for at in range(4):
        _draw(tmp_path / f"x{at}.png", LEFT, value=90)
        _draw(tmp_path / f"x{at}_mask_1.png", LEFT)
        _draw(tmp_path / f"x{at}_mask_2.png", RIGHT)
    draft = scan(tmp_path)
    assert "mask" not in draft.table or not draft.table["mask"].any()
    assert any("may be different structures" in note for note in draft.notes)
