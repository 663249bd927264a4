"""Masks in a folder per structure: `masks/heart/1.png` and `masks/lungs/1.png` of `images/1.png`."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from radapt.cohorts import load_cohort, scan, write_cohort
from radapt.images.masks import read_labels


def picture(path: Path, square: slice | None = None) -> None:
    """Noise, or a mask with a square of 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16), dtype=np.uint8)
    if square is not None:
        pixels[:] = 0
        pixels[square, square] = 255
    Image.fromarray(pixels).save(path)


def drawn(root: Path, structures: dict[str, slice], count: int = 6) -> Path:
    for at in range(count):
        picture(root / "images" / f"case{at}.png")
        for name, square in structures.items():
            picture(root / "masks" / name / f"case{at}.png", square)
    return root


def test_structures_are_joined_the_smaller_on_top(tmp_path: Path) -> None:
    root = drawn(tmp_path / "data", {"a nodule": slice(4, 6), "lung": slice(2, 12)})
    (root / "masks" / "a nodule" / "case0.png").unlink()
    (root / "masks" / "lung" / "case1.png").unlink()
    (root / "masks" / "a nodule" / "case1.png").unlink()
    picture(root / "masks" / "lung" / "another.png", slice(1, 2))
    draft = scan(root)
    assert draft.mask_labels == {1: "lung", 2: "a nodule"}
    said = " ".join(draft.notes)
    assert "joined from the folders of its structures: lung 1, a nodule 2. Later ones lie on top." in said
    assert "1 case without the file of some structure: it counts as absent there." in said
    assert "1 image without a mask in the folders of structures." in said
    assert "1 mask in lung/ left out: no such image." in said
    cohort = load_cohort(write_cohort(draft, tmp_path / "cohort.yaml")[0])
    masks = {case.case: read_labels(case.mask).array[..., 0] for case in cohort if case.mask is not None}
    expected = np.zeros((16, 16), int)
    expected[2:12, 2:12] = 1
    np.testing.assert_array_equal(masks["case0"].reshape(16, 16), expected)
    expected[4:6, 4:6] = 2
    np.testing.assert_array_equal(masks["case5"].reshape(16, 16), expected)
    assert "case1" not in masks


def test_volumes_are_measured_and_damaged_ones_are_not(tmp_path: Path) -> None:
    for name, end in (("aorta", 3), ("body", 6)):
        for at in range(3):
            mask = np.zeros((8, 8, 4), np.uint8)
            mask[1:end] = 1
            (tmp_path / "masks" / name).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), tmp_path / "masks" / name / f"{at}.nii.gz")
            (tmp_path / "images").mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(mask + at, np.eye(4)), tmp_path / "images" / f"{at}.nii.gz")
    (tmp_path / "masks" / "aorta" / "0.nii.gz").write_bytes(b"no volume")
    assert scan(tmp_path).mask_labels == {1: "body", 2: "aorta"}


@pytest.mark.parametrize(
    "names",
    [("rater1", "rater2"), ("R1", "R2"), ("1", "2"), ("observer_a", "observer_b"), ("manual", "auto_prediction")],
    ids=lambda names: " ".join(names),
)
def test_masks_of_several_raters_are_not_joined(names: tuple[str, str], tmp_path: Path) -> None:
    draft = scan(drawn(tmp_path, dict.fromkeys(names, slice(2, 12))))
    assert draft.mask_labels == {}
    first, second = (name.casefold() for name in sorted(names, key=lambda name: (name != "manual", name)))
    assert any(note.startswith("Masks of other kinds than") for note in draft.notes)
    kept = {Path(mask).parent.name for mask in draft.table["mask"]}
    assert len(kept) == 1
    assert {name.casefold() for name in kept} < {first, second}


def test_a_structure_drawn_twice_is_not_joined_but_a_core_in_its_tumour_is(tmp_path: Path) -> None:
    alike = scan(drawn(tmp_path / "alike", {"smith": slice(2, 12), "jones": slice(3, 13)}))
    assert alike.mask_labels == {}
    assert any("Masks of other kinds than" in note for note in alike.notes)
    copied = scan(drawn(tmp_path / "copied", {"smith": slice(2, 12), "jones": slice(2, 12)}))
    assert copied.mask_labels == {}
    nested = scan(drawn(tmp_path / "nested", {"core": slice(3, 12), "tumour": slice(2, 12)}))
    assert nested.mask_labels == {1: "tumour", 2: "core"}
    apart = scan(drawn(tmp_path / "apart", {"left": slice(0, 9), "right": slice(7, 16)}))
    assert apart.mask_labels == {1: "left", 2: "right"}


def test_folders_of_patients_in_a_folder_of_masks_are_no_structures(tmp_path: Path) -> None:
    for patient in ("p1", "p2", "p3"):
        for at in range(2):
            picture(tmp_path / "images" / patient / f"{at}.png")
            picture(tmp_path / "masks" / patient / f"{at}.png", slice(1, 5))
    draft = scan(tmp_path)
    assert draft.mask_labels == {}
    assert sorted(set(draft.table["patient"])) == ["p1", "p2", "p3"]


def test_one_folder_inside_the_masks_is_no_structure(tmp_path: Path) -> None:
    draft = scan(drawn(tmp_path, {"png": slice(2, 12)}))
    assert draft.mask_labels == {}
    assert (draft.table["mask"] != "").all()


def test_names_that_no_location_can_hold_are_not_joined(tmp_path: Path) -> None:
    draft = scan(drawn(tmp_path, {"left|lung": slice(2, 6), "right|lung": slice(8, 12)}))
    assert draft.mask_labels == {}
    assert any("Masks of other kinds than" in note for note in draft.notes)
