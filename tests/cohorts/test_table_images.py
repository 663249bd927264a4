"""Images that a table names: below its folder, by name, without ending; and the names of cases."""

from pathlib import Path

import pytest
from openpyxl import Workbook

from layout_builders import scanned, touch
from radapt.cohorts import ScanOptions, scan
from radapt.errors import DataError, UsageError


def test_images_anywhere_below_the_table(tmp_path: Path) -> None:
    lines = ["Bild;Patient;Diagnose"]
    for at in range(8):
        touch(tmp_path / "data" / ("nord" if at % 2 else "süd") / "2024" / f"IMG_{at}.JPG")
        lines.append(f"C:\\Bilder\\img_{at}.jpg;{at};{'krank' if at % 4 > 1 else 'gesund'}")
    lines.append("C:\\Bilder\\img_99.jpg;9;krank")
    (tmp_path / "data" / "Liste.csv").write_bytes("\n".join(lines).encode("cp1252"))
    cohort = scanned(tmp_path / "data", tmp_path)
    assert len(cohort) == 8
    assert cohort.classes == ("gesund", "krank")
    assert cohort.cases[1].images["image"].path == tmp_path.resolve() / "data" / "nord" / "2024" / "IMG_1.JPG"
    notes = " ".join(scan(tmp_path / "data").notes)
    assert "8 files of column 'Bild' found by name below data/." in notes
    assert "1 file of column 'Bild' left out: no such file, such as 'C:\\\\Bilder\\\\img_99.jpg' in row 10." in notes
    assert "1 row of Liste.csv without an image left out." in notes


def test_a_name_of_several_files_is_an_error_unless_its_folder_is_given(tmp_path: Path) -> None:
    touch(*(tmp_path / "data" / "in" / place / f"{at}.png" for place in ("a", "b") for at in range(3)))
    table = tmp_path / "data" / "table.csv"
    table.write_text("file\n0.png\n1.png\n2.png\n")
    with pytest.raises(
        DataError, match=r"3 cells of column 'file' fit several files below .* row 2: in/a/0.png, in/b/0"
    ):
        scan(table)
    table.write_text("file\nb/0.png\nB/1.png\na/2.png\n")
    images = scan(table).table["image"]
    assert [Path(text).parent.name for text in images] == ["b", "b", "a"]


def test_masks_of_the_same_name_are_no_ambiguity(tmp_path: Path) -> None:
    touch(*(tmp_path / "d" / "x" / place / f"{at}.png" for place in ("pictures", "masks") for at in range(3)))
    (tmp_path / "d" / "table.csv").write_text("file,seg\n0.png,0.png\n1.png,1.png\n2.png,\n")
    table = scan(tmp_path / "d").table
    assert [Path(text).parent.name for text in table["image"]] == ["pictures"] * 3
    assert [Path(text).parent.name for text in table["mask"]] == ["masks", "masks", ""]


def test_names_without_their_ending(tmp_path: Path) -> None:
    touch(*(tmp_path / "d" / "pictures" / f"{at:03d}.png" for at in range(4)))
    table = tmp_path / "d" / "table.csv"
    table.write_text("Pat.-Nr.,age,dx\n000,61,a\n001,7,b\n002,7,a\n003,50,b\n")
    cohort = scanned(tmp_path / "d", tmp_path)
    assert [(case.case, case.patient) for case in cohort] == [
        ("000", "000"),
        ("001", "001"),
        ("002", "002"),
        ("003", "003"),
    ]
    table.write_text("Pat.-Nr.,age,dx\n0,61,a\n1.0,7,b\n2,7,a\n3,50,b\n")
    draft = scan(table)
    assert list(draft.table["case"]) == ["000", "001", "002", "003"]
    assert "4 names in column 'Pat.-Nr.' written differently than the file's" in " ".join(draft.notes)
    assert list(scan(tmp_path / "d").table["case"]) == ["000", "001", "002", "003"]


def test_cases_are_named_by_the_first_image_that_is_there(tmp_path: Path) -> None:
    touch(*(tmp_path / f"{name}.nii.gz" for name in ("a_t1", "b_fl", "c_t1", "c_fl")))
    table = tmp_path / "table.csv"
    table.write_text("t1,flair,mri no\na_t1.nii.gz,,1\n,b_fl.nii.gz,2\nc_t1.nii.gz,c_fl.nii.gz,3\nn/a,-,4\n")
    assert list(scan(table).table["case"]) == ["a_t1", "b_fl", "c_t1"]
    assert list(scan(table, options=ScanOptions(case="mri no")).table["case"]) == ["1", "2", "3"]
    with pytest.raises(UsageError, match=r"--case mri: table.csv has no such column.*'mri no'"):
        scan(table, options=ScanOptions(case="mri"))
    table.write_text("t1,mri no\na_t1.nii.gz,1\nc_t1.nii.gz,\n")
    with pytest.raises(DataError, match=r"row 3: the case in column 'mri no' is empty"):
        scan(table, options=ScanOptions(case="mri no"))


def test_images_that_do_not_exist_at_all(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("image,label\na.png,x\nb.png,y\n")
    with pytest.raises(DataError, match=r"none of the images in its 2 rows exists.*'a.png' in row 2"):
        scan(tmp_path / "table.csv")


def test_the_sheet_that_names_images_is_read(tmp_path: Path) -> None:
    touch(*(tmp_path / "pictures" / f"{at}.png" for at in range(6)))
    book = Workbook()
    book.worksheets[0].append(["legend", "meaning"])
    book.worksheets[0].append(["A", "well"])
    sheet = book.create_sheet("Bilder")
    sheet.append(["Datei", "Diagnose", "patient"])
    for at in range(6):
        sheet.append([f"{at}.png", "AB"[at % 2], at])
    book.save(tmp_path / "liste.xlsx")
    (tmp_path / "~$liste.xlsx").write_bytes(b"lock")
    for source in (tmp_path, tmp_path / "liste.xlsx"):
        draft = scan(source)
        assert (len(draft.table), draft.classes) == (6, ("A", "B"))
        assert "Sheet 'Bilder' is read" in " ".join(draft.notes)
    assert len(scan(tmp_path / "liste.xlsx", options=ScanOptions(sheet="bilder")).table) == 6
    with pytest.raises(UsageError, match=r"--sheet Bidler: .*Its sheets: Sheet, Bilder"):
        scan(tmp_path / "liste.xlsx", options=ScanOptions(sheet="Bidler"))
    other = book.create_sheet("Kopie")
    other.append(["Datei"])
    other.append(["0.png"])
    book.save(tmp_path / "liste.xlsx")
    with pytest.raises(DataError, match=r"has the sheets 'Sheet', 'Bilder', 'Kopie'. Name one: --sheet NAME"):
        scan(tmp_path / "liste.xlsx")


def test_a_table_without_labels_adds_to_folders_of_classes(tmp_path: Path) -> None:
    touch(*(tmp_path / label / f"{label}{at}.png" for label in ("ill", "well") for at in range(6)))
    rows = "".join(f"{label}{at}.png,{60 + at},{at}.0\n" for label in ("ill", "well") for at in range(5))
    (tmp_path / "ages.csv").write_text("file,age,pid\n" + rows)
    draft = scan(tmp_path)
    assert (draft.layout, draft.classes) == ("folders", ("ill", "well"))
    assert list(draft.table["age"])[:6] == ["60", "61", "62", "63", "64", ""]
    assert list(draft.table["patient"])[:2] == ["0", "1"]
    assert "ages.csv, 'pid': ids such as '0.0' are read without the '.0'." in draft.notes
    with pytest.raises(UsageError, match=r"--label: the layout 'folders' has no table.* give --layout table"):
        scan(tmp_path, options=ScanOptions(label=("age",)))
    (tmp_path / "ages.csv").write_text("file,dx\nill0.png,a\nwell1.png,b\nill2.png,b\nwell0.png,a\n")
    assert scan(tmp_path).layout == "table"


def test_cases_named_by_floats(tmp_path: Path) -> None:
    touch(*(tmp_path / f"{at}.png" for at in range(3)))
    (tmp_path / "t.csv").write_text("case,file\n7.0,0.png\n8.0,1.png\n9.0,2.png\n")
    assert list(scan(tmp_path / "t.csv").table["case"]) == ["7", "8", "9"]


def test_a_header_that_names_an_image_is_none(tmp_path: Path) -> None:
    for at in range(4):
        touch(tmp_path / f"scan{at}.png")
    table = tmp_path / "list.csv"
    table.write_text("".join(f"scan{at},{'ab'[at % 2]}\n" for at in range(4)))
    with pytest.raises(DataError, match="names the image 'scan0', so the table has no header"):
        scan(table)
    table.write_text("".join(f"scan{at}.png,{'ab'[at % 2]}\n" for at in range(4)))
    assert list(scan(table).table["label"]) == ["a", "b", "a", "b"]
    touch(tmp_path / "T1.png", tmp_path / "p1" / "x.png", tmp_path / "p2" / "x.png")
    table.write_text("T1,label\np1/x.png,a\np2/x.png,b\n")  # a file of the column's name is no first line
    assert len(scan(table).table) == 2
