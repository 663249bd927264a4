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
