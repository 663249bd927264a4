"""train.csv beside test.csv: each table gives the split of its rows, by its name."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from radapt.cohorts import load_cohort, scan, write_cohort
from radapt.cohorts.draft import CohortDraft, ScanOptions
from radapt.errors import DataError


def pictures(folder: Path, count: int = 12) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for at in range(count):
        Image.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(folder / f"i{at}.png")


def table(path: Path, cases: Sequence[int], *, label: bool = True, more: str = "") -> None:
    rows = [f"i{at}.png{',' + 'ab'[at % 2] if label else ''}{more and ',' + more}\n" for at in cases]
    path.write_text(f"filename{',label' if label else ''}{',split' if more else ''}\n" + "".join(rows))


def splits(draft: CohortDraft, folder: Path) -> dict[str, str]:
    cohort = load_cohort(write_cohort(draft, folder / "cohort.yaml")[0])
    return {case.case: case.split for case in cohort}


def expected(train: Sequence[int], test: Sequence[int]) -> dict[str, str]:
    return {f"i{at}": "train" for at in train} | {f"i{at}": "test" for at in test}


@pytest.mark.parametrize("images", ["images", "."])
@pytest.mark.parametrize("names", [("train.csv", "test.csv"), ("labels_train.csv", "labels-Test.csv")])
def test_each_table_is_a_split(images: str, names: tuple[str, str], tmp_path: Path) -> None:
    data = tmp_path / "data"
    pictures(data / images)
    table(data / names[0], range(8))
    table(data / names[1], range(8, 12))
    draft = scan(data)
    assert splits(draft, tmp_path) == expected(range(8), range(8, 12))
    assert any("are read as one table, each of which gives the split of its rows" in note for note in draft.notes)
    assert draft.name == "data"
    assert not any("left out" in note for note in draft.notes)


def test_a_test_table_may_lack_labels(tmp_path: Path) -> None:
    pictures(tmp_path / "data")
    table(tmp_path / "data" / "train.csv", range(8))
    table(tmp_path / "data" / "test.csv", range(8, 12), label=False)
    draft = scan(tmp_path / "data")
    assert sorted(draft.table.loc[draft.table["label"] == "", "case"]) == ["i10", "i11", "i8", "i9"]
    assert splits(draft, tmp_path) == expected(range(8), range(8, 12))


def test_each_table_may_have_columns_of_its_own(tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    table(tmp_path / "train.csv", range(8))
    (tmp_path / "test.csv").write_text("filename,usage\n" + "".join(f"i{at}.png,public\n" for at in range(8, 12)))
    draft = scan(tmp_path)
    assert splits(draft, tmp_path / "out") == expected(range(8), range(8, 12))
    assert draft.table["usage"].tolist().count("public") == 4


@pytest.mark.parametrize("images", ["images", "."])
def test_a_table_beside_them_is_left_out_and_named(images: str, tmp_path: Path) -> None:
    """As the sample_submission.csv of a challenge, which names the images of test.csv again."""
    data = tmp_path / "data"
    pictures(data / images)
    table(data / "train.csv", range(8))
    table(data / "test.csv", range(8, 12), label=False)
    table(data / "sample_submission.csv", range(8, 12))
    draft = scan(data)
    assert "Other tables left out: sample_submission.csv." in draft.notes
    assert splits(draft, tmp_path) == expected(range(8), range(8, 12))
    assert (draft.table["label"] == "").sum() == 4


def test_a_column_of_splits_goes_before_the_names(tmp_path: Path) -> None:
    pictures(tmp_path / "data")
    table(tmp_path / "data" / "train.csv", range(8, 12), more="test")
    table(tmp_path / "data" / "test.csv", range(8), more="train")
    assert splits(scan(tmp_path / "data"), tmp_path) == expected(range(8), range(8, 12))


def test_one_of_them_alone_says_what_is_beside_it(tmp_path: Path) -> None:
    pictures(tmp_path)
    table(tmp_path / "train.csv", range(8))
    table(tmp_path / "test.csv", range(8, 12))
    assert "test.csv beside train.csv left out: scan the folder to read each as the split of its name." in (
        scan(tmp_path / "train.csv").notes
    )


@pytest.mark.parametrize("images", ["images", "."])
def test_a_damaged_one_is_named(images: str, tmp_path: Path) -> None:
    pictures(tmp_path / images)
    table(tmp_path / "train.csv", range(8))
    (tmp_path / "test.csv").write_bytes(b"filename,label\ni8.png,a\n\xff\x00\n")
    assert "Other tables left out: test.csv." in scan(tmp_path).notes


def test_one_without_its_images_is_named(tmp_path: Path) -> None:
    pictures(tmp_path, 8)
    table(tmp_path / "train.csv", range(8))
    table(tmp_path / "test.csv", range(8, 12))
    notes = scan(tmp_path).notes
    assert "Other tables left out: test.csv." in notes
    assert not any("scan the folder" in note for note in notes)


def test_a_case_in_two_tables_has_no_split(tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    table(tmp_path / "train.csv", range(8))
    table(tmp_path / "test.csv", range(7, 12))
    table(tmp_path / "val.csv", range(3))
    with pytest.raises(DataError, match=r"name the same cases, so their splits are not known.*--labels"):
        scan(tmp_path)


def test_an_absent_image_is_named_by_table_and_line(tmp_path: Path) -> None:
    pictures(tmp_path, 11)
    table(tmp_path / "train.csv", range(8))
    table(tmp_path / "test.csv", range(8, 12))
    said = " ".join(scan(tmp_path).notes)
    assert "'i11.png' in row test.csv:5" in said


@pytest.mark.parametrize("names", [("train.csv", "train_2.csv"), ("a.csv", "test.csv"), ("train_test.csv", "val.csv")])
def test_other_names_say_nothing_of_splits(names: tuple[str, str], tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    for name, rows in zip(names, (range(8), range(8, 12)), strict=True):
        table(tmp_path / name, rows)
    draft = scan(tmp_path, options=ScanOptions())
    assert any(note.startswith("Other tables left out: ") for note in draft.notes)


ROOMS = pytest.mark.parametrize("images", ["images", "."])


def headed(path: Path, header: str, cases: Sequence[int]) -> None:
    path.write_text(header + "\n" + "".join(f"i{at}.png,{'ab'[at % 2]}\n" for at in cases))


@ROOMS
def test_columns_that_differ_in_letter_case_are_one(images: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    pictures(data / images)
    headed(data / "train.csv", "filename,label", range(8))
    headed(data / "test.csv", "Filename,Label", range(8, 12))
    draft = scan(data)
    assert draft.table["label"].value_counts().to_dict() == {"a": 6, "b": 6}
    assert not {"original_label", "filename", "Filename"} & set(draft.table)
    assert splits(draft, tmp_path) == expected(range(8), range(8, 12))


def test_columns_of_one_table_that_differ_in_letter_case_stay_apart(tmp_path: Path) -> None:
    pictures(tmp_path)
    (tmp_path / "test.csv").write_text("filename,age\n" + "".join(f"i{at}.png,60\n" for at in range(8, 12)))
    (tmp_path / "train.csv").write_text("filename,Age,AGE\n" + "".join(f"i{at}.png,50,51\n" for at in range(8)))
    table = scan(tmp_path).table.set_index("case")
    assert table.loc["i3", ["age", "Age", "AGE"]].tolist() == ["", "50", "51"]


@ROOMS
@pytest.mark.parametrize("role", ["label", "patient"])
def test_tables_that_name_the_label_differently_are_refused(images: str, role: str, tmp_path: Path) -> None:
    other = {"label": "diagnosis", "patient": "subject_id"}[role]
    pictures(tmp_path / images)
    headed(tmp_path / "train.csv", f"filename,{role}", range(8))
    headed(tmp_path / "test.csv", f"filename,{other}", range(8, 12))
    with pytest.raises(DataError, match=f"test.csv names the {role} '{other}' and train.csv '{role}'; expected one"):
        scan(tmp_path)
    if role == "label":
        draft = scan(tmp_path, options=ScanOptions(label=("diagnosis",)))
        assert draft.table["label"].tolist().count("") == 8


def test_a_group_in_both_is_no_other_label(tmp_path: Path) -> None:
    pictures(tmp_path)
    rows = "".join(f"i{at}.png,{'cd'[at % 2]},a\n" for at in range(8))
    (tmp_path / "train.csv").write_text("filename,label,group\n" + rows)
    headed(tmp_path / "test.csv", "filename,group", range(8, 12))
    assert scan(tmp_path).table["label"].tolist() == [""] * 4 + ["c", "d"] * 4


@ROOMS
def test_tables_that_name_the_images_differently_are_refused(images: str, tmp_path: Path) -> None:
    pictures(tmp_path / images)
    headed(tmp_path / "train.csv", "filename,label", range(8))
    headed(tmp_path / "test.csv", "picture,label", range(8, 12))
    with pytest.raises(
        DataError, match=r"different columns: test.csv by .*, train.csv by 'filename'\. Give the column"
    ):
        scan(tmp_path)


@ROOMS
def test_a_column_of_splits_in_capitals_goes_before_the_names(images: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    pictures(data / images)
    for name, cases in (("train.csv", range(8, 12)), ("test.csv", range(8))):
        split = {"train.csv": "test", "test.csv": "train"}[name]
        rows = "".join(f"i{at}.png,{'ab'[at % 2]},{split}\n" for at in cases)
        (data / name).write_text("filename,label,Split\n" + rows)
    draft = scan(data)
    assert splits(draft, tmp_path) == expected(range(8), range(8, 12))
    assert "original_split" not in draft.table
    assert "test.csv and train.csv are read as one table." in draft.notes


@ROOMS
def test_findings_of_one_table_are_unknown_in_the_other(images: str, tmp_path: Path) -> None:
    pictures(tmp_path / images)
    (tmp_path / "train.csv").write_text("filename,label:x,label:y\n" + "".join(f"i{at}.png,1,0\n" for at in range(8)))
    (tmp_path / "test.csv").write_text("filename,label:x\n" + "".join(f"i{at}.png,0\n" for at in range(8, 12)))
    table = scan(tmp_path).table.set_index("case")
    assert table.loc["i3", ["label:x", "label:y"]].tolist() == ["1", "0"]
    assert table.loc["i9", ["label:x", "label:y"]].tolist() == ["0", ""]


@ROOMS
def test_a_column_that_the_user_names_goes_before_the_names(images: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    pictures(data / images)
    for name, cases, phase in (("train.csv", range(8, 12), "test"), ("test.csv", range(8), "train")):
        rows = "".join(f"i{at}.png,{'ab'[at % 2]},{phase}\n" for at in cases)
        (data / name).write_text("filename,label,phase\n" + rows)
    draft = scan(data, options=ScanOptions(split="phase"))
    assert splits(draft, tmp_path) == expected(range(8), range(8, 12))
    assert not {"original_split", "phase"} & set(draft.table)


@ROOMS
def test_a_patient_in_two_tables_is_named_without_a_line(images: str, tmp_path: Path) -> None:
    """The lines of two tables would say nothing."""
    pictures(tmp_path / images)
    for name, cases in (("train.csv", range(8)), ("test.csv", range(8, 12))):
        rows = "".join(f"i{at}.png,p{at if at < 8 else at - 4},{'ab'[at % 2]}\n" for at in cases)
        (tmp_path / name).write_text("filename,patient,label\n" + rows)
    with pytest.raises(DataError, match=r"Patient 'p[4-7]' is in ") as raised:
        write_cohort(scan(tmp_path), tmp_path / "out" / "cohort.yaml")
    assert " row " not in str(raised.value)
    assert "test.csv and train.csv" not in str(raised.value)


def test_a_table_with_splits_says_nothing_of_those_beside_it(tmp_path: Path) -> None:
    pictures(tmp_path)
    table(tmp_path / "train.csv", range(8), more="train")
    table(tmp_path / "test.csv", range(8, 12))
    assert not any("left out: scan the folder" in note for note in scan(tmp_path / "train.csv").notes)


def test_a_label_that_the_user_names_goes_before_findings(tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    rows = "".join(f"i{at}.png,{'ab'[at % 2]},1\n" for at in range(12))
    (tmp_path / "table.csv").write_text("filename,stage,label:x\n" + rows)
    draft = scan(tmp_path, options=ScanOptions(label=("stage",)))
    assert set(draft.table["label"]) == {"a", "b"}
    assert "label:x" not in draft.table
    assert "label:x" in scan(tmp_path).table


def test_lists_without_header_are_tables_of_splits(tmp_path: Path) -> None:
    pictures(tmp_path / "data" / "images")
    for name, cases in (("train.txt", range(8)), ("test.txt", range(8, 12))):
        (tmp_path / "data" / name).write_text("".join(f"i{at}.png {'ab'[at % 2]}\n" for at in cases))
    (tmp_path / "data" / "README.txt").write_text("Two lists of images\nand their labels.\n")
    draft = scan(tmp_path / "data")
    assert splits(draft, tmp_path) == expected(range(8), range(8, 12))
    assert sorted(draft.table["label"]) == ["a"] * 6 + ["b"] * 6


def test_lists_of_names_alone_do_not_make_pairs_a_table(tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    pictures(tmp_path / "masks")
    (tmp_path / "train.txt").write_text("".join(f"i{at}.png\n" for at in range(8)))
    (tmp_path / "both.txt").write_text("".join(f"images/i{at}.png masks/i{at}.png\n" for at in range(8)))
    assert scan(tmp_path).layout == "pairs"
