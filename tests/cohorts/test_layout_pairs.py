"""Images with masks and no class folders: in one folder, in two, by split, by sequence, and with a table."""

from collections.abc import Iterable
from itertools import product
from pathlib import Path

import pytest

from layout_builders import touch
from radapt.cohorts import CohortDraft, ScanOptions, scan
from radapt.errors import DataError


def made(root: Path, *names: str, numbers: Iterable[int] = range(6)) -> CohortDraft:
    """A scan of files of these names; `#` stands for each number."""
    touch(*(root / name.replace("#", str(number)) for name, number in product(names, numbers)))
    return scan(root)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("x#.nii.gz", "x#-label.nii.gz"),
        ("x#.png", "x#_mask.png"),
        ("x#.jpg", "x#_label.png"),
        ("x#.nii.gz", "seg_x#.nii.gz"),
        ("Case#.nii.gz", "Case#.seg.nii.gz"),
        ("volume-#.nii", "segmentation-#.nii"),
        ("images/x#.png", "images/x#_mask.png"),
        ("photos/#.png", "masks/#.png"),
        ("CT/0#.nii.gz", "Segmentation/#.nii.gz"),
        ("CT/CT_#.nii.gz", "Liver Masks/liver_#.nii.gz"),
        ("volumes/v#.nii.gz", "masks/v#_mask.nii.gz"),
        ("x#.png", "masks/x#.png"),
    ],
)
def test_an_image_and_its_mask_are_one_case(image: str, mask: str, tmp_path: Path) -> None:
    draft = made(tmp_path, image, mask)
    assert (draft.layout, len(draft.table), draft.patients_unknown) == ("pairs", 6, 6)
    table = draft.table.sort_values("case")
    assert list(table["image"]) == [str(tmp_path / image.replace("#", str(at))) for at in range(6)]
    assert list(table["mask"]) == [str(tmp_path / mask.replace("#", str(at))) for at in range(6)]


@pytest.mark.parametrize(
    "names",
    [
        ("{0}/{0}_#.png", "{0}/{0}_#_seg.png"),
        ("{0}/photos/{0}_#.png", "{0}/masks/{0}_#.png"),
        ("images/{0}/{0}_#.png", "masks/{0}/{0}_#.png"),
    ],
)
def test_splits_are_not_classes(names: tuple[str, str], tmp_path: Path) -> None:
    draft = made(tmp_path, *(name.format(split) for split in ("train", "test") for name in names))
    assert "label" not in draft.table
    assert draft.table["split"].value_counts().to_dict() == {"train": 6, "test": 6}
    for row in draft.table.to_dict("records"):
        assert f"/{row['split']}/" in row["image"]
        assert f"/{row['split']}/" in row["mask"]


def test_images_of_splits_alone_are_refused_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="list the files in a table with the columns patient, image"):
        made(tmp_path, "train/x#.png", "test/y#.png")


@pytest.mark.parametrize(
    "names",
    [
        ("t1/#.nii.gz", "flair/#.nii.gz", "masks/#.nii.gz"),
        ("T1/P#_T1.nii.gz", "FLAIR/P#_FLAIR.nii.gz", "mask/P#_mask.nii.gz"),
        ("P#_t1.nii.gz", "P#_flair.nii.gz", "P#_seg.nii.gz"),
    ],
)
def test_files_of_one_case_are_its_sequences(names: tuple[str, ...], tmp_path: Path) -> None:
    draft = made(tmp_path, *names)
    assert (sorted(draft.modalities), draft.kind, len(draft.table)) == (["image:flair", "image:t1"], "mri", 6)
    assert (draft.table["mask"] != "").all()
    assert {name.removeprefix("P") for name in draft.table["case"]} == set("012345")


def test_folders_without_common_names_beside_masks_are_classes(tmp_path: Path) -> None:
    for label in ("ill", "well"):
        touch(*(tmp_path / folder / f"{label[0]}{at}.png" for folder in (label, "masks") for at in range(6)))
    draft = scan(tmp_path)
    assert (draft.classes, len(draft.table)) == (("ill", "well"), 12)
    assert (draft.table["mask"] != "").all()
    assert any("read as classes: ill, well" in note for note in draft.notes)


def test_folders_of_patients_beside_masks_are_not_sequences(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a layout"):
        made(tmp_path, "P1/#.png", "P2/#.png", "masks/#.png")


def test_masks_of_another_folder_are_left_out_and_counted(tmp_path: Path) -> None:
    draft = made(tmp_path, "images/#.png", "masks_liver/#.png", "masks_kidney/#.png")
    assert {Path(mask).parent.name for mask in draft.table["mask"]} == {"masks_kidney"}
    assert any("'masks_liver' of 6 cases" in note for note in draft.notes)


def test_a_table_beside_gives_labels_and_patients(tmp_path: Path) -> None:
    rows = "".join(f"{at}.png,q{at // 2},{'ill' if at % 4 < 2 else 'well'}\n" for at in range(6))
    (tmp_path / "clinical.csv").write_text("file,patient,diagnosis\n" + rows)
    draft = made(tmp_path, "scans/#.png", "masks/#.png")
    assert (draft.classes, draft.patients_unknown, draft.table["patient"].nunique()) == (("ill", "well"), 0, 3)


def test_unmatched_files_are_counted(tmp_path: Path) -> None:
    touch(tmp_path / "photos" / "8.png", tmp_path / "masks" / "9.png")
    notes = " ".join(made(tmp_path, "photos/#.png", "masks/#.png").notes)
    assert "1 image without a mask in masks/" in notes
    assert "1 mask in masks/ left out: no such image" in notes


def test_images_alone_are_read_when_a_table_labels_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="join a table with --layout pairs --labels TABLE --on COLUMN"):
        made(tmp_path / "data", "x#.png")
    table = tmp_path / "labels.csv"
    table.write_text("name,dx\n" + "".join(f"x{at},{'ab'[at % 2]}\n" for at in range(6)))
    draft = scan(tmp_path / "data", "pairs", ScanOptions(labels=table, on="name"))
    assert (draft.classes, len(draft.table)) == (("a", "b"), 6)


def test_images_and_masks_may_lie_in_folders_of_patients(tmp_path: Path) -> None:
    for patient in ("P1", "P2", "P3", "P4"):
        touch(*(tmp_path / "images" / patient / f"{at}.png" for at in range(3)))
        touch(*(tmp_path / "masks" / patient / f"{at}_mask.png" for at in range(3 - (patient == "P4"))))
    draft = scan(tmp_path)
    assert (draft.layout, len(draft.table), draft.table["patient"].nunique()) == ("pairs", 12, 4)
    for row in draft.table.to_dict("records"):
        image, mask = Path(row["image"]), Path(row["mask"])
        assert (row["case"], row["patient"]) == (f"{image.parent.name}-{image.stem}", image.parent.name)
        if row["case"] == "P4-2":
            assert row["mask"] == ""
        else:
            assert (mask.parent.name, mask.stem) == (image.parent.name, f"{image.stem}_mask")
    assert "Every folder inside images/, such as P1, counts as one patient." in draft.notes


def test_folders_of_sequences_are_known_by_any_word(tmp_path: Path) -> None:
    for at in range(4):
        touch(*(tmp_path / f"brain-{word}" / f"N{at:03d}-{word}.nii.gz" for word in ("T1", "PD", "MPRAGE")))
    draft = scan(tmp_path)
    assert (draft.layout, len(draft.table), draft.kind) == ("pairs", 4, "mri")
    assert draft.modalities == ["image:brain-mprage", "image:brain-pd", "image:brain-t1"]


@pytest.mark.parametrize("names", [("CT_COVID", "CT_NonCOVID"), ("MRI normal", "MRI tumour"), ("t2-lesion", "t2-none")])
@pytest.mark.parametrize("inside", ["", "P{0}/"])
def test_classes_of_one_kind_of_image_are_no_sequences(names: tuple[str, ...], inside: str, tmp_path: Path) -> None:
    touch(*(tmp_path / name / f"{inside.format(at)}{at}.png" for name in names for at in range(4)))
    draft = scan(tmp_path)
    assert (draft.layout, draft.classes, len(draft.table)) == ("folders", names, 8)


def test_the_same_sequence_with_and_without_contrast(tmp_path: Path) -> None:
    touch(*(tmp_path / name / f"{at}.nii.gz" for name in ("T1", "T1_post", "FLAIR") for at in range(4)))
    assert scan(tmp_path).modalities == ["image:flair", "image:t1", "image:t1_post"]
