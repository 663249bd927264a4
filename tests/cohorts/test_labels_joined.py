"""--labels TABLE --on COLUMN for every layout, --id-table, and what is said of rows without a partner."""

import stat
from pathlib import Path

import pytest
from openpyxl import Workbook
from pydicom.uid import generate_uid

from layout_builders import build_bids, build_dicom, build_folders, build_patients, scanned, touch, write_dicom
from radapt.cohorts import CohortDraft, ScanOptions, scan
from radapt.cohorts.id_table import id_table, write_id_table
from radapt.cohorts.layouts.joining import join_key
from radapt.errors import DataError, UsageError


def table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def labelled(root: Path, labels: Path, **options: object) -> CohortDraft:
    return scan(root, options=ScanOptions(labels=labels, **options))  # type: ignore[arg-type]


def test_patients_are_matched_however_their_ids_are_written(tmp_path: Path) -> None:
    build_patients(tmp_path / "data")
    labels = table(
        tmp_path / "t.csv",
        "who;Diagnose;age;site",
        *(f"patient_{at};{'krank' if at % 2 else 'gesund'};5{at},5;{at % 2}" for at in (1, 2, 3, 4, 5)),
        "Patient_099;krank;1,5;0",
    )
    draft = labelled(tmp_path / "data", labels, on="who")
    assert list(draft.table["label"]) == ["krank", "gesund", "krank", "gesund", "krank", ""]
    assert list(draft.table["age"]) == ["51.5", "52.5", "53.5", "54.5", "55.5", ""]
    assert list(draft.table["site"]) == ["1", "0", "1", "0", "1", ""]
    notes = " ".join(draft.notes)
    assert "1 case without a row in t.csv: Patient_006." in notes
    assert "1 row of t.csv left out: no such patient or case (rows 7)." in notes
    assert "5 ids of t.csv matched although written differently, such as 'Patient_001' and 'patient_1'" in notes
    assert "';' between the columns" in notes
    assert draft.source["labels"] == "t.csv, joined on 'who' to 5 of 6 cases"
    assert "is joined on column 'who'; name another" in " ".join(labelled(tmp_path / "data", labels).notes)


@pytest.mark.parametrize("build", [build_folders, build_bids])
def test_every_layout_can_be_joined(build: object, tmp_path: Path) -> None:
    build(tmp_path / "data")  # type: ignore[operator]
    cases = list(scan(tmp_path / "data").table["case"])
    labels = table(tmp_path / "t.csv", "file,grade", *(f"{case}.png,{at % 2}" for at, case in enumerate(cases)))
    draft = labelled(tmp_path / "data", labels, on="file", label=("grade",))
    assert list(draft.table["label"]) == [str(at % 2) for at in range(len(cases))]
    assert draft.classes == ("0", "1")
    assert "Labels come from t.csv; those that the data had" in " ".join(draft.notes)
    assert "No label" not in " ".join(draft.notes)


def test_labels_of_folders_stay_if_the_table_has_none(tmp_path: Path) -> None:
    build_folders(tmp_path / "data")
    labels = table(tmp_path / "t.csv", "file,age", "person0_0,61")
    draft = labelled(tmp_path / "data", labels, on="file")
    assert draft.classes == ("healthy", "ill")
    assert list(draft.table["age"])[:2] == ["61", ""]


def test_the_patient_of_a_regex_is_a_key(tmp_path: Path) -> None:
    build_folders(tmp_path / "data")
    labels = table(tmp_path / "t.csv", "id,dx", *(f"{at},{at % 2}" for at in (0, 1, 2, 9, 10, 11)))
    draft = labelled(tmp_path / "data", labels, on="id", patient_regex="person([0-9]+)_")
    assert draft.classes == ("0", "1")
    assert len(draft.table["patient"].unique()) == 6


def test_what_does_not_fit_is_an_error(tmp_path: Path) -> None:
    build_patients(tmp_path / "data")
    labels = table(tmp_path / "t.csv", "id,dx", "X1,a", "X2,b")
    with pytest.raises(DataError, match=r"Column 'id' of .*t.csv, such as 'X1', names no patient.*'Patient_001'"):
        labelled(tmp_path / "data", labels, on="id")
    table(labels, "id,dx", "Patient_1,a", "patient_001,b", "Patient_2,a")
    with pytest.raises(DataError, match=r"1 id in column 'id' with several rows that differ, such as rows 2, 3"):
        labelled(tmp_path / "data", labels, on="id")
    table(labels, "id,dx", "Patient_1,a", "patient_001,a", "Patient_2,b")
    assert labelled(tmp_path / "data", labels, on="id").classes == ("a", "b")
    with pytest.raises(UsageError, match=r"--on ID: t.csv has no such column. Did you mean 'id'"):
        labelled(tmp_path / "data", labels, on="ID")
    with pytest.raises(UsageError, match="give the table with --labels"):
        scan(tmp_path / "data", options=ScanOptions(on="id"))
    with pytest.raises(UsageError, match="does not exist"):
        labelled(tmp_path / "data", tmp_path / "none.csv")


def hospital(root: Path) -> Path:
    for patient in range(4):
        write_dicom(root / f"f{patient}" / "IM0", patient, generate_uid(), generate_uid(), "MR", "T1", 1)
    return root


def test_dicom_is_joined_on_the_original_id_which_is_not_kept(tmp_path: Path) -> None:
    hospital(tmp_path / "data")
    book = Workbook()
    sheet = book.worksheets[0]
    sheet.append(["Fallnummer", "Name", "geb.", "Diagnose", "also the id", "OP-Datum"])
    for at in range(5):
        sheet.append([f"mrn-{at} ", f"Smith {at}", "1950-02-01", ["GBM", "MET"][at % 2], f"MRN-{at}", 45000 + at])
    book.create_sheet("legend").append(["Diagnose"])
    book.save(tmp_path / "t.xlsx")
    cohort = scanned(tmp_path / "data", tmp_path, labels=tmp_path / "t.xlsx", on="Fallnummer")
    assert cohort.classes == ("GBM", "MET")
    assert (cohort.labels >= 0).all()
    draft = labelled(tmp_path / "data", tmp_path / "t.xlsx", on="Fallnummer", label=("Diagnose",))
    written = (tmp_path / "cases.csv").read_text() + (tmp_path / "cohort.yaml").read_text() + " ".join(draft.notes)
    for word in ("MRN", "mrn", "Smith"):
        assert word not in written
        assert word not in repr(draft)
    notes = " ".join(draft.notes)
    assert "Columns of t.xlsx that may identify patients left out: Name, geb., also the id, OP-Datum." in notes
    assert "1 row of t.xlsx left out" in notes
    assert "No label" not in notes
    with pytest.raises(UsageError, match="named by pseudonyms"):
        labelled(tmp_path / "data", tmp_path / "t.xlsx", on="Fallnummer", patient="Name")
    book["legend"].append(["GBM"])
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(DataError) as raised:
        labelled(tmp_path / "data", tmp_path / "t.xlsx", on="Diagnose", sheet="Sheet")
    assert "of the form AAA, names no patient" in str(raised.value)
    assert "of the form AAA-9" in str(raised.value)


def test_the_site_of_dicom_comes_from_the_table_or_the_header(tmp_path: Path) -> None:
    hospital(tmp_path / "data")
    labels = table(tmp_path / "t.csv", "id,dx,clinic", *(f"MRN-{at},{at % 2},{'NS'[at % 2]}" for at in range(4)))
    assert set(labelled(tmp_path / "data", labels, on="id", site="clinic").table["site"]) == {"N", "S"}
    assert "site" not in labelled(tmp_path / "data", labels, on="id", site="StationName").table
    with pytest.raises(UsageError, match="--site klinik"):
        labelled(tmp_path / "data", labels, on="id", site="klinik")
    with pytest.raises(UsageError, match=r"--split x: .*|--split: the table of --labels has no such column"):
        labelled(tmp_path / "data", labels, on="id", split="x")


def test_the_table_of_ids_is_private(tmp_path: Path) -> None:
    draft = scan(build_dicom(tmp_path / "data"))
    path, out = tmp_path / "private" / "ids.csv", tmp_path / "cohort" / "cohort.yaml"
    text = id_table(draft, path)
    assert write_id_table(text, path, out) == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    header, *rows = path.read_text().splitlines()
    assert header == "patient,original"
    assert {row.split(",")[0] for row in rows} == set(draft.table["patient"])
    assert sorted(row.split(",")[1] for row in rows) == ["MRN-0", "MRN-1"]
    assert id_table(draft, path) == text  # again
    assert "lies in the folder of the cohort" in write_id_table(text, out.parent / "ids.csv", out)[0]
    path.write_text("mine\n")
    with pytest.raises(UsageError, match="--force"):
        id_table(draft, path)
    assert id_table(draft, path, force=True) == text
    with pytest.raises(UsageError, match="no ids that became pseudonyms"):
        id_table(scan(build_patients(tmp_path / "named")), path)


def test_ids_that_a_table_writes_in_other_ways() -> None:
    assert {join_key(text) for text in ("007", "7", "7.0", " 7 ", "sub-07", "7.png", "C:\\x\\007.JPG")} == {"7"}
    assert join_key("P01") == join_key("p1") == join_key("P_1") == join_key("p 001") != join_key("p10")
    assert join_key("1-2") != join_key("12")
    assert join_key("0") == join_key("000")


def test_a_table_beside_patients_in_excel(tmp_path: Path) -> None:
    build_patients(tmp_path / "data")
    book = Workbook()
    sheet = book.worksheets[0]
    sheet.append(["Patient", "Diagnose"])
    for at in range(1, 7):
        sheet.append([f"Patient_{at:03d}", "AB"[at % 2]])
    book.create_sheet("Legende").append(["A", "gut"])
    book.save(tmp_path / "data" / "klinik.xlsx")
    touch(tmp_path / "data" / "readme.txt")
    draft = scan(tmp_path / "data")
    assert draft.classes == ("A", "B")
    assert "Sheet 'Sheet' is read; left out: 'Legende'" in " ".join(draft.notes)


def test_a_file_name_of_several_images_is_an_error(tmp_path: Path) -> None:
    touch(*(tmp_path / "d" / label / f"{at}.png" for label in ("ill", "well") for at in range(4)))
    labels = table(tmp_path / "t.csv", "file,dx", "0.png,a", "1.png,b")
    with pytest.raises(DataError, match=r"column 'file': 2 names fit several images, such as '0', which fits 2"):
        labelled(tmp_path / "d", labels, on="file")


def test_without_on_the_column_of_ids_goes_before_one_of_equal_hits(tmp_path: Path) -> None:
    build_patients(tmp_path / "d")
    lines = [f"{at % 3 + 1},Patient_{at:03d},{at % 2}" for at in range(1, 7)]
    draft = labelled(tmp_path / "d", table(tmp_path / "t.csv", "visit,who,dx", *lines))
    assert list(draft.table["label"]) == ["1", "0"] * 3


def test_numbers_alone_are_matched_if_nothing_else_fits(tmp_path: Path) -> None:
    build_patients(tmp_path / "d")
    labels = table(tmp_path / "t.csv", "nr;dx", *(f"{at};{at % 2}" for at in range(1, 6)), "99;1")
    draft = labelled(tmp_path / "d", labels, on="nr")
    assert list(draft.table["label"]) == ["1", "0", "1", "0", "1", ""]
    notes = " ".join(draft.notes)
    assert "Ids are matched by their number alone: column 'nr' of t.csv has no other." in notes
    assert "1 row of t.csv left out: no such patient or case (rows 7)." in notes
    table(labels, "nr;dx", "1;a", "x;b")
    with pytest.raises(DataError, match="names no patient"):
        labelled(tmp_path / "d", labels, on="nr")


def test_a_column_that_the_user_names_is_kept_for_dicom(tmp_path: Path) -> None:
    hospital(tmp_path / "data")
    rows = [f"MRN-{at},{'xy'[at % 2]},2024-01-0{at + 1}" for at in range(4)]
    labels = table(tmp_path / "t.csv", "id,name of the tumour,seen", *rows)
    draft = labelled(tmp_path / "data", labels, on="id", label=("name of the tumour",))
    assert draft.classes == ("x", "y")
    assert "seen" not in draft.table
