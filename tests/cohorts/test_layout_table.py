"""Plain tables, and folders of pairs with an index."""

from pathlib import Path

import pytest

from layout_builders import build_bids, build_table, scanned, touch
from radapt.cohorts import ScanOptions, scan
from radapt.errors import DataError, UsageError


def test_table_takes_columns_by_their_names_and_renames_traps(tmp_path: Path) -> None:
    cohort = scanned(build_table(tmp_path / "data"), tmp_path)
    assert cohort.classes[:3] == ("x0", "x1", "x10")  # `Label` comes before `dx`
    assert len(set(cohort.patients)) == 6


def test_table_with_chosen_columns(tmp_path: Path) -> None:
    cohort = scanned(build_table(tmp_path / "data"), tmp_path, label=("dx",), kind="xray")
    assert cohort.classes == ("ill", "well")
    assert cohort.kind == "xray"
    assert cohort.cases[3].metadata == {"original_Label": "x3"}
    with pytest.raises(UsageError, match="'dx'"):
        scan(tmp_path / "data", options=ScanOptions(label=("dxx",)))


def test_table_that_is_a_cohort_already(tmp_path: Path) -> None:
    first = scanned(build_bids(tmp_path / "data"), tmp_path / "one")
    again = scanned(tmp_path / "one", tmp_path / "two")
    assert again.splits.tolist() == first.splits.tolist()
    assert (again.name, again.kind, again.modalities) == (first.name, first.kind, first.modalities)
    assert again.cases[0].images["T1w"] == first.cases[0].images["T1w"]


def test_pairs_with_a_numbered_index(tmp_path: Path) -> None:
    for at in range(11):
        touch(tmp_path / "images" / f"{at:03d}.jpg", tmp_path / "masks" / f"{at:03d}_mask.png")
    rows = "".join(f"{at},name{at}\n" for at in range(11))
    (tmp_path / "index.csv").write_text("i,original\n" + rows)
    cohort = scanned(tmp_path, tmp_path / "out", kind="xray")
    assert cohort.task == "segmentation"
    assert cohort.cases[7].mask is not None
    assert cohort.cases[7].mask.path.name == "007_mask.png"
    assert cohort.cases[7].metadata == {"original": "name7"}


def test_errors_name_the_row_of_the_source(tmp_path: Path) -> None:
    build_table(tmp_path / "data")
    path = tmp_path / "data" / "data.csv"
    head, *rows = path.read_text().splitlines()
    path.write_text(
        "\n".join([f"{head},split", "", *(f"{row},{'train' if at else 'test'}" for at, row in enumerate(rows))])
    )
    with pytest.raises(DataError, match=r"data.csv, row 4, case '1': Patient '0' is in 'test' \(row 3\)"):
        scan(path)
    path.write_text("\n".join(["case,label:ill,file", *(f"c{at},{at % 3},pictures/{at}.png" for at in range(9))]))
    with pytest.raises(DataError, match=r"data.csv, row 4, case 'c2': Finding 'ill' is '2'"):
        scan(path)
    path.write_text("\n".join(["case,file", *(f"c,pictures/{at}.png" for at in range(9))]))
    with pytest.raises(DataError, match=r"data.csv, row 3, case 'c'"):
        scan(path)


def test_errors_name_the_row_of_an_index_beside_images(tmp_path: Path) -> None:
    touch(*(tmp_path / "images" / f"{at}.png" for at in range(4)))
    rows = ["file,patient,split", "3,p,test", "2,q,train", "1,p,train", "0,r,train"]
    (tmp_path / "index.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match=r"index.csv, row 2, case '3': Patient 'p' is in 'train' \(row 4\)"):
        scan(tmp_path)


def test_errors_name_the_row_of_participants(tmp_path: Path) -> None:
    path = build_bids(tmp_path) / "participants.tsv"
    path.write_text(path.read_text() + "\nsub-03\t1\tx\tA")
    with pytest.raises(DataError, match=r"participants.tsv, rows 5 and 12: 'sub-03' occurs twice"):
        scan(tmp_path)
    path.write_text(path.read_text().replace("\nsub-03\t1\tx\tA", "").replace("diagnosis", "mass"))
    with pytest.raises(DataError, match=r"participants.tsv, row 2, case 'sub-00': Finding 'mass' is 'none-seen'"):
        scan(tmp_path, options=ScanOptions(label=("mass", "age")))


def test_a_column_of_split_words_under_another_name_is_said(tmp_path: Path) -> None:
    touch(*(tmp_path / f"x{at}.png" for at in range(6)))
    rows = "".join(f"x{at}.png,{'ab'[at % 2]},{('Train', 'TEST')[at // 4]}\n" for at in range(6))
    (tmp_path / "t.csv").write_text("image,label,Set\n" + rows)
    draft = scan(tmp_path)
    assert any("'Set'" in note and "TEST, Train: add --split Set" in note for note in draft.notes)
    draft = scan(tmp_path, options=ScanOptions(split="Set"))
    assert not any("--split" in note for note in draft.notes)
