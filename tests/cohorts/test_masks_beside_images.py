"""Masks beside their images: never a case of their own, whatever the words in their names."""

from pathlib import Path

import pytest

from layout_builders import touch
from radapt.cohorts import scan


@pytest.mark.parametrize(
    "mask",
    [
        "{0}_mask",
        "{0}_seg",
        "{0}_label",
        "{0}_gt",
        "{0}-Mask",
        "{0}.segmentation",
        "mask_{0}",
        "{0}_GroundTruth",
        "{0}Seg",
    ],
)
def test_a_mask_beside_its_image_is_no_case(mask: str, tmp_path: Path) -> None:
    for label in ("benign", "malignant"):
        for at in range(1, 5):
            name = f"{label} ({at})"
            touch(tmp_path / label / f"{name}.png", tmp_path / label / f"{mask.format(name)}.png")
    draft = scan(tmp_path)
    assert len(draft.table) == 8
    assert set(draft.table["case"]) == {f"{label} ({at})" for label in ("benign", "malignant") for at in range(1, 5)}
    for case, path in zip(draft.table["case"], draft.table["mask"], strict=True):
        assert Path(path).stem == mask.format(case)
    assert any(note.startswith("8 files named as the mask") for note in draft.notes)


def test_an_image_named_image_has_the_mask_of_its_number(tmp_path: Path) -> None:
    for label in ("a", "b"):
        touch(*(tmp_path / label / f"{label}{at}_{word}.png" for at in range(3) for word in ("image", "mask")))
    draft = scan(tmp_path)
    assert len(draft.table) == 6
    assert (draft.table["mask"] != "").all()


def test_several_masks_of_an_image_are_counted_and_not_chosen_from(tmp_path: Path) -> None:
    for label in ("a", "b"):
        touch(*(tmp_path / label / f"{label} ({at}){end}.png" for at in range(3) for end in ("", "_mask")))
    touch(tmp_path / "a" / "a (1)_mask_1.png")
    draft = scan(tmp_path)
    masks = draft.table.set_index("case")["mask"]
    assert masks["a (1)"] == ""
    assert (masks != "").sum() == 5
    assert any(note.startswith("1 image with several masks") for note in draft.notes)


def test_masks_of_another_kind_are_left_out(tmp_path: Path) -> None:
    for label in ("a", "b"):
        touch(*(tmp_path / label / f"{label}{at}{end}.png" for at in range(3) for end in ("", "_lesion_mask")))
        touch(tmp_path / label / f"{label}1_lung_mask.png")
    draft = scan(tmp_path)
    assert {Path(path).stem.partition("_")[2] for path in draft.table["mask"]} == {"lesion_mask"}
    assert any("'lung_mask' of 2 cases" in note for note in draft.notes)


def test_folders_of_images_and_masks_inside_classes(tmp_path: Path) -> None:
    for label in ("COVID", "Normal"):
        touch(*(tmp_path / label / word / f"{label}-{at}.png" for word in ("images", "masks") for at in range(3)))
    (tmp_path / "COVID" / "masks" / "COVID-2.png").rename(tmp_path / "COVID" / "masks" / "other.png")
    draft = scan(tmp_path)
    assert (draft.classes, len(draft.table)) == (("COVID", "Normal"), 6)
    assert (draft.table["mask"] != "").sum() == 5
    notes = " ".join(draft.notes)
    assert "1 image without a mask in COVID/masks/" in notes
    assert "1 mask in COVID/masks/ left out" in notes


def test_a_class_called_like_a_mask_word_stays_one(tmp_path: Path) -> None:
    """A file is a mask only if its image lies beside it."""
    touch(*(tmp_path / label / f"{label}_{at}.png" for label in ("no_mask", "with_mask") for at in range(3)))
    assert len(scan(tmp_path).table) == 6


def test_folders_of_masks_named_after_their_classes(tmp_path: Path) -> None:
    for label in ("ill", "well"):
        touch(*(tmp_path / folder / f"{label}{at}.png" for folder in (label, f"{label}_masks") for at in range(4)))
    draft = scan(tmp_path)
    assert (draft.classes, len(draft.table)) == (("ill", "well"), 8)
    assert all("_masks/" in mask for mask in draft.table["mask"])


@pytest.mark.parametrize("mask", ["lesion{0}Mask", "lesion{0}seg", "lesion{0}GT", "lesion{0}_Label"])
def test_a_word_for_masks_may_be_glued_to_the_name(mask: str, tmp_path: Path) -> None:
    for label in ("a", "b"):
        for at in range(3):
            touch(tmp_path / label / f"lesion{at}.png", tmp_path / label / f"{mask.format(at)}.png")
    draft = scan(tmp_path)
    assert len(draft.table) == 6
    assert (draft.table["mask"] != "").all()


def test_a_word_that_ends_as_one_for_masks_is_an_image(tmp_path: Path) -> None:
    touch(*(tmp_path / label / f"{word}.png" for label in ("a", "b") for word in ("unmask", "unmasked", "SEGA2", "x3")))
    draft = scan(tmp_path)
    assert len(draft.table) == 8
