"""Tables in which more than one column names the cases, and rows that name one case or image twice."""

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from layout_builders import touch
from radapt.cohorts import ScanOptions, load_cohort, read_cohort, scan, write_cohort
from radapt.errors import DataError

ORDER = (3, 0, 5, 1, 4, 2)
"""Rows of a table that is sorted by something else than the ids."""


def _table(path: Path, number: str, ids: str) -> None:
    """A running number, the ids 001 … 006 in another order, and the label, 'ill' of ids above 3."""
    rows = [f"{row + 1},{at + 1:03d},{'ill' if at >= 3 else 'well'}" for row, at in enumerate(ORDER)]
    path.write_text("\n".join([f"{number},{ids},diagnosis", *rows]))


def _images(folder: Path) -> None:
    touch(*(folder / f"{at + 1}.png" for at in range(6)))


def _labels(table: pd.DataFrame) -> dict[str, str]:
    return dict(zip(table["case"], table["label"], strict=True))


RIGHT = {str(at + 1): "ill" if at >= 3 else "well" for at in range(6)}


@pytest.mark.parametrize(("number", "ids"), [("Nr", "PatID"), ("No.", "ID"), ("ID", "patient"), ("index", "File name")])
@pytest.mark.parametrize("folder", ["images", "scans"])
def test_the_ids_and_not_a_running_number_name_the_cases(number: str, ids: str, folder: str, tmp_path: Path) -> None:
    _images(tmp_path / folder)
    _table(tmp_path / "labels.csv", number, ids)
    draft = scan(tmp_path)
    assert _labels(draft.table) == RIGHT
    assert any(repr(ids) in note for note in draft.notes)


def test_a_table_beside_images_is_not_joined_if_two_columns_may_hold_the_ids(tmp_path: Path) -> None:
    _images(tmp_path / "images")
    _table(tmp_path / "labels.csv", "No.", "Code")
    draft = scan(tmp_path)
    assert "label" not in draft.table
    assert any("not joined: the columns 'Code' and 'No.' all name the cases" in note for note in draft.notes)
    options = ScanOptions(labels=tmp_path / "labels.csv")
    with pytest.raises(DataError, match=r"'Code' and 'No\.' all name the cases.*--on"):
        scan(tmp_path, options=options)
    named = scan(tmp_path, options=ScanOptions(labels=tmp_path / "labels.csv", on="Code"))
    assert _labels(named.table) == RIGHT


def test_a_table_of_images_is_refused_if_two_columns_may_name_them(tmp_path: Path) -> None:
    _images(tmp_path / "scans")
    _table(tmp_path / "labels.csv", "No.", "Code")
    with pytest.raises(DataError, match=r"'Code' and 'No\.' all name the images"):
        scan(tmp_path)


def test_the_column_of_patients_that_names_the_images_says_who_they_are(tmp_path: Path) -> None:
    _images(tmp_path / "images")
    (tmp_path / "labels.csv").write_text("\n".join(["patient_id,dx", *(f"{at:03d},{at % 2}" for at in range(1, 7))]))
    draft = scan(tmp_path)
    assert dict(zip(draft.table["case"], draft.table["patient"], strict=True)) == {
        str(n): f"00{n}" for n in range(1, 7)
    }


@pytest.mark.parametrize(
    ("last", "is_joined"), [("a2.png,yes", False), ("a2.png,no", True)], ids=["another label", "the same row"]
)
def test_a_case_in_two_rows_of_a_table_beside_images(last: str, is_joined: bool, tmp_path: Path) -> None:
    touch(*(tmp_path / "images" / f"a{at}.png" for at in range(6)))
    rows = [f"a{at}.png,{'yes' if at % 2 else 'no'}" for at in range(6)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,label", *rows, last]))
    draft = scan(tmp_path)
    assert ("label" in draft.table) == is_joined
    why = "labels.csv is not joined: 1 id in column 'image' with several rows that differ, such as rows 4, 8"
    assert any(note.startswith(why) for note in draft.notes) != is_joined


def test_an_image_in_two_rows_with_two_labels_is_said(tmp_path: Path) -> None:
    for at in range(4):
        Image.new("L", (12, 12), 40 * at).save(tmp_path / f"a{at}.png")
    rows = [f"a{at}.png,{'yes' if at % 2 else 'no'}" for at in range(4)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,label", *rows, "a2.png,yes", "a1.png,yes"]))
    draft = scan(tmp_path / "labels.csv")
    said = "2 images in several rows of labels.csv, 1 of them with labels that differ, such as rows"
    assert any(note.startswith(said) for note in draft.notes)
    path, _ = write_cohort(draft, tmp_path / "cohort.yaml")
    assert len(load_cohort(path)) == 6
    shared = [issue.message for issue in read_cohort(path)[1] if issue.code == "shared-image"]
    assert [("its label is 'yes' and that one's 'no'" in message) for message in shared] == [True, False]
