"""Folders as people have them: links in circles, pipes, odd names, masks and visits named in their own way."""

import os
from pathlib import Path

import pytest

from layout_builders import touch
from radapt.cohorts import ScanOptions, scan
from radapt.cohorts.fold_rule import FoldRule
from radapt.errors import DataError


def classes(root: Path) -> Path:
    touch(*(root / label / f"{label}{at}.png" for label in ("ill", "well") for at in range(4)))
    return root


def test_a_link_to_a_folder_above_is_not_followed(tmp_path: Path) -> None:
    (classes(tmp_path) / "ill" / "again").symlink_to(".")
    (tmp_path / "well" / "self").symlink_to("self")
    (tmp_path / "round").symlink_to("round")
    draft = scan(tmp_path)
    assert len(draft.table) == 8
    assert not any("inside the class folders" in note for note in draft.notes)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["pipe.png", "pipe", "pipe.dcm"])
def test_a_pipe_is_left_out_and_never_opened(name: str, tmp_path: Path) -> None:
    os.mkfifo(classes(tmp_path) / "ill" / name)
    assert len(scan(tmp_path).table) == 8


@pytest.mark.skipif(os.name != "posix", reason="names are always text on this system")
def test_a_name_that_is_not_text_is_counted(tmp_path: Path) -> None:
    path = os.fsencode(classes(tmp_path) / "ill") + b"/b\xff.png"
    try:
        Path(os.fsdecode(path)).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    draft = scan(tmp_path)
    assert len(draft.table) == 8
    assert "1 file left out: the name is not text" in draft.source["left out"]


def test_archives_inside_a_folder_are_counted(tmp_path: Path) -> None:
    touch(classes(tmp_path) / "more.zip")
    assert "1 .zip" in scan(tmp_path).source["left out"]


@pytest.mark.parametrize("folders", [("imgs", "segs"), ("Images", "Ground Truth"), ("img", "ROIs")])
def test_folders_of_images_and_masks_are_no_classes(folders: tuple[str, str], tmp_path: Path) -> None:
    images, masks = folders
    touch(*(tmp_path / images / f"c{at}.nii.gz" for at in range(4)))
    touch(*(tmp_path / masks / f"c{at}_seg.nii.gz" for at in range(4)))
    draft = scan(tmp_path)
    assert (len(draft.table), draft.classes) == (4, ())
    assert (draft.table["mask"] != "").all()


@pytest.mark.parametrize("word", ["Segmentierung", "Maske", "ROIs"])
def test_a_mask_with_a_word_of_its_language_is_no_sequence(word: str, tmp_path: Path) -> None:
    touch(*(tmp_path / f"P{at:02}" / f"{name}.nii.gz" for at in range(4) for name in ("T1", word)))
    draft = scan(tmp_path)
    assert draft.modalities == ["image"]
    assert (draft.table["mask"] != "").all()


@pytest.mark.parametrize("visits", [("_a", "_b"), ("_2020-01-31", "_2021-12-01"), (" 20200131", " 20211201")])
def test_folders_that_differ_in_the_visit_are_proposed_as_one_patient(visits: tuple[str, str], tmp_path: Path) -> None:
    touch(*(tmp_path / f"Fall{at}{end}" / f"{name}.nii" for at in range(4) for end in visits for name in ("T1", "T2")))
    draft = scan(tmp_path)
    assert any("probably of 4 patients, such as 'Fall0' with 2" in note for note in draft.notes)
    taken = scan(tmp_path, options=ScanOptions(patient_regex=draft.proposal))
    assert set(taken.table["patient"]) == {"Fall0", "Fall1", "Fall2", "Fall3"}
    assert not taken.proposal


def test_numbered_folders_are_not_proposed_as_visits(tmp_path: Path) -> None:
    names = [f"H{hospital}_{at:03}" for hospital in range(4) for at in range(3)]
    touch(*(tmp_path / name / f"{image}.nii" for name in names for image in ("T1", "T2")))
    assert not scan(tmp_path).proposal


def test_labels_that_may_say_not_known_are_named(tmp_path: Path) -> None:
    labels = ["a", "b", "unknown", "-9", "#REF!", "k.A."]
    touch(*(tmp_path / f"{at}.png" for at in range(12)))
    lines = ["image,patient,label", *(f"{at}.png,p{at},{labels[at % 6]}" for at in range(12))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    draft = scan(tmp_path)
    assert draft.classes == ("-9", "a", "b", "unknown")
    assert any("may say that the label is not known: '-9', 'unknown'" in note for note in draft.notes)


def test_volumes_that_are_numbered_after_their_class_are_no_patients(tmp_path: Path) -> None:
    touch(*(tmp_path / label / f"{label}_{at:02d}.nii.gz" for label in ("benign", "malignant") for at in range(4)))
    draft = scan(tmp_path)
    assert (draft.layout, len(draft.table), set(draft.table["label"])) == ("folders", 8, {"benign", "malignant"})


def test_dates_words_for_unknown_and_joined_findings_are_said_of_labels(tmp_path: Path) -> None:
    touch(*(tmp_path / "img" / f"{at}.png" for at in range(6)))
    for labels, words in (
        (["2020-01-01", "2020-05-06"] * 3, "are dates"),
        (["20.5", "31.0", "44.25", "52.5", "60.75", "71.5"], "are 6 different numbers, such as '20.5'"),
        (["ill", "nicht bekannt"] * 3, "not known"),
        (["edema", "effusion|edema"] * 3, "perhaps several findings in one cell: 'effusion|edema'"),
        (["edema", '"edema, effusion"'] * 3, "perhaps several findings in one cell: 'edema, effusion'"),
    ):
        rows = [f"{at}.png,{label}" for at, label in enumerate(labels)]
        (tmp_path / "t.csv").write_text("\n".join(["image,label", *rows]))
        assert any(words in note for note in scan(tmp_path / "t.csv").notes)


@pytest.mark.parametrize(
    ("labels", "measured"),
    [
        ([str(age) for age in range(30, 51)], True),
        ([str(grade) for grade in range(20)], False),
        (["1.5", "2", "2.5", "3", "3.5"], False),
        (["1.5", "2", "2.5", "3", "3.5", "4"], True),
        (["1.0", "2.0", "3.0", "4.0", "5.0", "6.0"], False),  # whole numbers that pandas has written
        ([*(f"{age}.5" for age in range(30)), "old"], False),
    ],
    ids=["21 ages", "20 grades", "5 half grades", "6 half grades", "whole", "words"],
)
def test_labels_that_are_measured_are_told_from_classes(labels: list[str], measured: bool, tmp_path: Path) -> None:
    touch(*(tmp_path / "img" / f"{at}.png" for at in range(len(labels))))
    rows = [f"{at}.png,{label}" for at, label in enumerate(labels)]
    (tmp_path / "t.csv").write_text("\n".join(["image,label", *rows]))
    said = [note for note in scan(tmp_path / "t.csv").notes if "radapt predicts classes, not numbers" in note]
    assert bool(said) == measured


def test_columns_that_could_be_folds_are_proposed_and_numbers_are_no_splits(tmp_path: Path) -> None:
    touch(*(tmp_path / "img" / f"{at}.png" for at in range(12)))
    for name, proposed in (("fold", True), ("CV_Fold", True), ("manifold", False)):
        rows = [f"{at}.png,{'ab'[at % 2]},{at % 3}" for at in range(12)]
        (tmp_path / "t.csv").write_text("\n".join([f"image,label,{name}", *rows]))
        notes = scan(tmp_path / "t.csv").notes
        assert any(note.endswith(f"--folds column:{name}.") for note in notes) == proposed
    folds = ScanOptions(folds=FoldRule(column="CV_Fold"))
    (tmp_path / "t.csv").write_text("\n".join(["image,label,CV_Fold", *rows]))
    assert not any("could hold folds" in note for note in scan(tmp_path / "t.csv", options=folds).notes)
    (tmp_path / "t.csv").write_text("\n".join(["image,label,split", *rows]))
    with pytest.raises(DataError, match=r"split of t is a number, 0, 1, 2; .*--folds column:split"):
        scan(tmp_path / "t.csv")
    drawn = scan(tmp_path / "t.csv", options=ScanOptions(redraw=True))
    assert {"train", "test"} <= set(drawn.table["split"])


def test_split_folders_may_be_in_german(tmp_path: Path) -> None:
    for split in ("Training", "Validierung", "Test"):
        touch(*(tmp_path / split / label / f"{split}{label}{at}.png" for label in ("gesund", "krank") for at in (1, 2)))
    assert scan(tmp_path).table["split"].value_counts().to_dict() == {"train": 4, "val": 4, "test": 4}


def test_what_a_folder_holds_instead_of_images_is_named(tmp_path: Path) -> None:
    touch(*(tmp_path / "a" / "images" / f"{at}.png" for at in range(3)))
    touch(*(tmp_path / "a" / "masks" / f"{at}.mnc" for at in range(3)))
    with pytest.raises(DataError, match=r"masks/ holds 3 files '\.mnc', which is no image here"):
        scan(tmp_path / "a")
    touch(tmp_path / "b" / "p1.zip", tmp_path / "b" / "p2.zip")
    with pytest.raises(DataError, match="Archives inside are not opened"):
        scan(tmp_path / "b")


@pytest.mark.parametrize("ending", ["_overlay", " thumb", "-CLAHE", "_mitBefund"])
def test_pictures_made_of_a_picture_beside_them_are_proposed_as_its_patient(ending: str, tmp_path: Path) -> None:
    touch(*(tmp_path / label / f"{label}{at}{end}.png" for label in "ab" for at in range(4) for end in ("", ending)))
    draft = scan(tmp_path)
    assert any("probably of 8 patients, such as 'a0' with 2" in note for note in draft.notes)
    taken = scan(tmp_path, options=ScanOptions(patient_regex=draft.proposal))
    assert set(taken.table["patient"]) == {f"{label}{at}" for label in "ab" for at in range(4)}


def test_the_last_word_of_a_name_alone_groups_no_patients(tmp_path: Path) -> None:
    touch(*(tmp_path / label / f"{label}{at}_overlay.png" for label in "ab" for at in range(4)))
    assert not scan(tmp_path).proposal


def test_columns_of_a_table_named_by_sequence_say_what_the_images_are(tmp_path: Path) -> None:
    touch(*(tmp_path / f"{at}_{name}.nii.gz" for name in ("t1", "flair") for at in range(4)))
    rows = [f"{at},{at}_t1.nii.gz,{at}_flair.nii.gz" for at in range(4)]
    (tmp_path / "patients.csv").write_text("\n".join(["id,T1,FLAIR", *rows]))
    assert (scan(tmp_path).kind, scan(tmp_path).modalities) == ("mri", ["image:T1", "image:FLAIR"])
