"""Text tables of every dialect: separators, encodings, decimal commas, and what is said of them."""

from pathlib import Path

import pytest

from radapt.cohorts import load_cohort, read_cohort
from radapt.cohorts.sheets.numbers import has_decimal_commas
from radapt.cohorts.sheets.reading import read_sheet
from radapt.cohorts.sheets.sheet import Sheet
from radapt.cohorts.sheets.text import separator_of

GERMAN = 'Bild;Größe;Befund\r\na.png;1,5;"gut; klein"\r\nb.png;12;"zwei\r\nZeilen"\r\n'


def sheet_of(tmp_path: Path, content: bytes, name: str = "table.csv") -> Sheet:
    (tmp_path / name).write_bytes(content)
    sheet, problems = read_sheet(tmp_path / name)
    assert sheet is not None
    assert problems == []
    return sheet


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("cp1252", "cp1252"),
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
    ],
)
def test_german_excel_in_every_encoding(encoding: str, said: str, tmp_path: Path) -> None:
    sheet = sheet_of(tmp_path, GERMAN.encode(encoding))
    assert sheet.columns == {
        "Bild": ["a.png", "b.png"],
        "Größe": ["1.5", "12"],
        "Befund": ["gut; klein", "zwei\r\nZeilen"],
    }
    assert sheet.rows == [2, 3]
    notes = " ".join(sheet.notes)
    assert "';' between the columns" in notes
    assert "Decimal commas are read as points in 'Größe'." in notes
    assert ("Read as" in notes) == bool(said)
    assert said in notes


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_found_and_said(separator: str, tmp_path: Path) -> None:
    text = "case;image;note\na;a.png;'x, y'\nb;b.png;1|2\n\n;;\n".replace(";", separator)
    if separator in ",|":
        text = text.replace("'x, y'", '"x, y"').replace("1|2", '"1|2"')
    sheet = sheet_of(tmp_path, text.encode())
    assert list(sheet.columns) == ["case", "image", "note"]
    assert sheet.columns["image"] == ["a.png", "b.png"]
    assert bool(sheet.notes) == (separator != ",")


def test_a_tab_is_usual_in_tsv_and_a_hint_of_excel_is_no_header(tmp_path: Path) -> None:
    assert sheet_of(tmp_path, b"a\tb\n1\t2\n", "table.tsv").notes == ()
    assert sheet_of(tmp_path, b"a;b\n1;2\n", "table.tsv").columns == {"a": ["1"], "b": ["2"]}
    hinted = sheet_of(tmp_path, b"sep=;\r\na;b\r\n1;2\r\n")
    assert (hinted.columns, hinted.rows) == ({"a": ["1"], "b": ["2"]}, [3])
    assert separator_of("file\n0.png\n1;2.png\n") == ","
    assert separator_of("image,findings\n1.png,a|b\n2.png,a|b|c\n") == ","


def test_trailing_columns_rows_and_titles(tmp_path: Path) -> None:
    text = "Studie Nord;;;\nStand 2024;;;\nBild;Alter;;\na.png;61;;\nb.png;7;;;;\n;;;\n;;;\n"
    sheet = sheet_of(tmp_path, text.encode())
    assert sheet.columns == {"Bild": ["a.png", "b.png"], "Alter": ["61", "7"]}
    assert sheet.rows == [4, 5]
    assert "2 lines above the header left out, such as 'Studie Nord'." in sheet.notes


@pytest.mark.parametrize(
    ("cells", "quoted", "decimal"),
    [
        (["1,5", "2", ""], False, True),
        (["1,5", "NA"], False, True),
        (["1.234,5", "3,25"], False, True),
        (["1,5", "x"], False, False),
        (["1,5", "2.5"], False, False),
        (["1,2,3"], False, False),
        (["15", "2"], False, False),
        (["1,234", "15,000"], True, False),
        (["1,234"], False, True),
        (["1,234", "1,5"], True, True),
    ],
)
def test_decimal_commas(cells: list[str], quoted: bool, decimal: bool) -> None:
    assert has_decimal_commas(cells, commas_are_quoted=quoted) == decimal


def test_numbers_with_thousands_and_decimal_commas(tmp_path: Path) -> None:
    sheet = sheet_of(tmp_path, b"a;b;c\n1.234,5;x;1,5\n7;y;NA\n")
    assert sheet.columns == {"a": ["1234.5", "7"], "b": ["x", "y"], "c": ["1.5", "NA"]}


def test_traces_of_a_spreadsheet_are_named(tmp_path: Path) -> None:
    sheet = sheet_of(tmp_path, b"id,Geburtsdatum,n\n1.23457E+11,20123,20123\n1.23458E+11,30123,5\n")
    assert len(sheet.notes) == 2
    assert "'id' holds numbers such as '1.23457E+11'" in sheet.notes[0]
    assert "'Geburtsdatum'" in sheet.notes[1]


def test_a_cohort_that_excel_saved_again_is_read_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").touch()
    table = "case;image;split;site;volume\na;a.png;train;Köln;1,5\nb;b.png;test;Köln;2,0\n"
    (tmp_path / "cases.csv").write_bytes(table.encode("cp1252"))
    (tmp_path / "cohort.yaml").write_text("name: x\nkind: xray\n", encoding="utf-8")
    cohort = load_cohort(tmp_path / "cohort.yaml")
    assert [(case.site, case.metadata["volume"]) for case in cohort] == [("Köln", "1.5"), ("Köln", "2.0")]
    _, problems = read_cohort(tmp_path / "cohort.yaml")
    assert sum(problem.code == "table-format" for problem in problems) == 3


@pytest.mark.parametrize("content", [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and more", b"PK\x03\x04broken", b""])
def test_what_is_no_table_is_an_error(content: bytes, tmp_path: Path) -> None:
    for name in ("table.csv", "table.xlsx", "table.xls"):
        (tmp_path / name).write_bytes(content)
        sheet, problems = read_sheet(tmp_path / name)
        assert sheet is None
        assert problems[0].severity == "error"
    if content:
        assert problems[0].code == "unreadable-table"
        assert "CSV" in problems[0].fix


@pytest.mark.parametrize(
    ("content", "columns", "called"),
    [
        (b"a.png,ill\nb.PNG,well\n", {"image": ["a.png", "b.PNG"], "label": ["ill", "well"]}, "image, label"),
        (b"ill;x/a.nii.gz\nwell;x/b.nii.gz\n", {"label": ["ill", "well"], "image": ["x/a.nii.gz", "x/b.nii.gz"]}, ""),
        (b"a.jpe,ill\nb.nhdr,well\n", {"image": ["a.jpe", "b.nhdr"], "label": ["ill", "well"]}, "image, label"),
        (b"a.npz,1\nb.npz,2\n", {"a.npz": ["b.npz"], "1": ["2"]}, None),  # no image: a header like any other
        (b"scan.png,label\n1,ill\n2,well\n", {"scan.png": ["1", "2"], "label": ["ill", "well"]}, None),
        (b"1,a.dcm,m\n2,b.dcm,f\n", {"column 1": ["1", "2"], "image": ["a.dcm", "b.dcm"], "column 3": ["m", "f"]}, ""),
        (b"a.png,b.png\nc.png,d.png\n", {"column 1": ["a.png", "c.png"], "column 2": ["b.png", "d.png"]}, ""),
        (b"v.npz::a[0],1\nv.npz::a[1],2\n", {"v.npz::a[0]": ["v.npz::a[1]"], "1": ["2"]}, None),
    ],
    ids=[
        "image first",
        "label first",
        "rare endings",
        "no images",
        "a strange name",
        "three columns",
        "two images",
        "arrays",
    ],
)
def test_a_list_of_images_has_no_header(
    content: bytes, columns: dict[str, list[str]], called: str | None, tmp_path: Path
) -> None:
    sheet = sheet_of(tmp_path, content)
    assert sheet.columns == columns
    assert sheet.rows == list(range(1 if called is not None else 2, len(sheet) + (1 if called is not None else 2)))
    said = [note for note in sheet.notes if "there is no header" in note]
    assert bool(said) == (called is not None)
    assert not called or said[0].endswith(f"columns are called {called}.")


def test_blanks_separate_the_columns_of_text_files_alone(tmp_path: Path) -> None:
    content = b"a.png  0\nb.png 1\n"
    sheet = sheet_of(tmp_path, content, "list.txt")
    assert sheet.columns == {"image": ["a.png", "b.png"], "label": ["0", "1"]}
    assert "Read with blanks between the columns." in sheet.notes
    assert separator_of("one two\nthree four\n", ".csv") == ","
    assert separator_of("one two\nthree\n", ".txt") == ","  # prose
    assert separator_of("one two,3\nfour,5\n", ".txt") == ","
