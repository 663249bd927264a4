"""`x_lesion.png` beside `x.png`: a mask by its pixels, or a second picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from layout_builders import touch
from radapt.cohorts import scan

RNG = np.random.default_rng(0)


def photo(path: Path, mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 255, (24, 30), dtype=np.uint8)).convert(mode).save(path)


def drawing(path: Path, mode: str = "L") -> None:
    levels = np.zeros((64, 64), np.uint8)
    levels[5:40, 8:50] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(levels).convert(mode).save(path)


@pytest.mark.parametrize("ending", ["_lesion.png", "-Tumour.png", " tumor.jpg", "_nodule_1.bmp", ".polyp.tif"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_structure_with_few_values_is_the_mask_of_its_image(ending: str, mode: str, tmp_path: Path) -> None:
    for name in ("a/p1", "a/p2", "b/p3", "b/p4"):
        photo(tmp_path / f"{name}.png", mode)
        drawing(tmp_path / f"{name}{ending}", mode)
    draft = scan(tmp_path)
    assert list(draft.table["case"]) == ["p1", "p2", "p3", "p4"]
    assert [Path(mask).name for mask in draft.table["mask"]] == [f"p{at}{ending}" for at in (1, 2, 3, 4)]
    assert any("4 files" in note and "few values of a mask" in note for note in draft.notes)


def test_a_flat_folder_of_pictures_and_structures_is_pairs(tmp_path: Path) -> None:
    for at in range(4):
        photo(tmp_path / f"p{at}.png")
        drawing(tmp_path / f"p{at}_lesion.png")
    draft = scan(tmp_path)
    assert (draft.layout, len(draft.table), (draft.table["mask"] != "").sum()) == ("pairs", 4, 4)


def test_a_second_picture_stays_a_picture_and_is_said(tmp_path: Path) -> None:
    for name in ("a/p1", "a/p2", "b/p3", "b/p4"):
        photo(tmp_path / f"{name}.png")
        photo(tmp_path / f"{name}_lesion.png")
    draft = scan(tmp_path)
    assert len(draft.table) == 8
    assert "mask" not in draft.table
    (note,) = (note for note in draft.notes if "p1_lesion.png" in note)
    assert note.startswith("4 images named after a structure")
    assert "--patient-regex '(.+?)(?:_lesion)?$'" in note


def test_one_real_picture_among_the_structures_leaves_all_pictures(tmp_path: Path) -> None:
    for name in ("a/p1", "a/p2", "b/p3", "b/p4"):
        photo(tmp_path / f"{name}.png")
        (photo if name == "a/p2" else drawing)(tmp_path / f"{name}_lesion.png")
    draft = scan(tmp_path)
    masks = dict(zip(draft.table["case"], draft.table["mask"], strict=True))
    assert set(masks) == {"p1", "p1_lesion", "p2", "p2_lesion", "p3", "p4"}  # folder by folder
    assert [name for name, mask in masks.items() if mask] == ["p3", "p4"]
    assert any("2 images named after a structure" in note for note in draft.notes)


def test_few_structures_are_no_masks(tmp_path: Path) -> None:
    for label in "ab":
        for at in range(5):
            photo(tmp_path / label / f"{label}{at}.png")
    drawing(tmp_path / "a" / "a1_lesion.png")
    assert "mask" not in scan(tmp_path).table


def test_drawings_beside_drawings_are_no_masks(tmp_path: Path) -> None:
    for name in ("a/p1", "a/p2", "b/p3", "b/p4"):
        drawing(tmp_path / f"{name}.png")
        drawing(tmp_path / f"{name}_tumor.png")
    assert len(scan(tmp_path).table) == 8


def test_a_damaged_structure_is_no_mask(tmp_path: Path) -> None:
    for name in ("a/p1", "b/p2"):
        photo(tmp_path / f"{name}.png")
        (tmp_path / f"{name}_lesion.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    assert len(scan(tmp_path).table) == 4


def test_volumes_named_after_a_structure_are_said(tmp_path: Path) -> None:
    for at in range(6):
        touch(*(tmp_path / "ab"[at % 2] / f"case_{at}{end}.nii.gz" for end in ("", "_tumor")))
    assert any("6 images named after a structure" in note for note in scan(tmp_path).notes)
