"""Excel workbooks: values as text, sheets, formulas, and what a spreadsheet does to ids and dates."""

import datetime
import random
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from openpyxl import Workbook
from openpyxl.worksheet.worksheet import Worksheet

from radapt.cohorts.sheets.reading import read_sheet
from radapt.cohorts.sheets.sheet import Sheet


def workbook(path: Path, rows: Sequence[Sequence[object]], change: Callable[[Worksheet], None] | None = None) -> Path:
    book = Workbook()
    sheet = book.worksheets[0]
    for row in rows:
        sheet.append(list(row))
    if change:
        change(sheet)
    book.save(path)
    return path


def read(path: Path, sheet: str | None = None) -> Sheet:
    found, problems = read_sheet(path, sheet)
    assert problems == []
    assert found is not None
    return found


def test_cells_become_text(tmp_path: Path) -> None:
    rows = [
        ("id", "float", "flag", "day", "time", "text", "comma", None),
        (1.0, 2.5, True, datetime.date(2024, 3, 1), datetime.datetime(2024, 3, 1, 8, 30), " x ", "1,5", None),
        (2, None, False, None, None, "=1", "2", None),
        (None, None, None, None, None, None, None, None),
    ]

    def make_text(sheet: Worksheet) -> None:
        sheet["F3"].data_type = "s"

    sheet = read(workbook(tmp_path / "x.xlsx", rows, make_text))
    assert sheet.columns == {
        "id": ["1", "2"],
        "float": ["2.5", ""],
        "flag": ["1", "0"],
        "day": ["2024-03-01", ""],
        "time": ["2024-03-01 08:30:00", ""],
        "text": [" x ", "=1"],
        "comma": ["1.5", "2"],
    }
    assert sheet.rows == [2, 3]
    assert sheet.notes == ("Decimal commas are read as points in 'comma'.",)


def test_the_content_decides_and_not_the_ending(tmp_path: Path) -> None:
    workbook(tmp_path / "x.xlsx", [("a", "b"), (1, 2)]).rename(tmp_path / "x.csv")
    assert read(tmp_path / "x.csv").columns == {"a": ["1"], "b": ["2"]}
    (tmp_path / "y.xlsx").write_text("a\tb\n1\t2\n")
    assert read(tmp_path / "y.xlsx").columns == {"a": ["1"], "b": ["2"]}


def test_leading_zeros_of_a_number_format_are_kept(tmp_path: Path) -> None:
    def show_zeros(sheet: Worksheet) -> None:
        sheet["A2"].number_format = "00000"

    path = workbook(tmp_path / "x.xlsx", [("id", "other"), (123, "007"), ("00456", 8)], show_zeros)
    sheet = read(path)
    assert sheet.columns == {"id": ["00123", "00456"], "other": ["007", "8"]}
    assert len(sheet.notes) == 1
    assert "'other' mixes texts with leading zeros, such as '007', and 1 number, such as 8" in sheet.notes[0]


def test_texts_that_became_dates_and_long_numbers_are_named(tmp_path: Path) -> None:
    rows = [("grade", "id"), (datetime.date(2024, 2, 1), 1234567890123456), ("2-3", 5), (None, 6)]
    notes = read(workbook(tmp_path / "x.xlsx", rows)).notes
    assert "'grade' mixes 1 date, such as 2024-02-01" in notes[0]
    assert "'id' holds numbers of more than 15 digits" in notes[1]


def test_formulas_are_not_evaluated(tmp_path: Path) -> None:
    sheet = read(workbook(tmp_path / "x.xlsx", [("a", "b"), (1, "=A2+1"), (2, '=HYPERLINK("http://x","y")')]))
    assert sheet.columns["b"] == ["", ""]
    assert sheet.notes[0] == "2 formulas not evaluated; the stored values are read."
    assert "2 formulas without a stored value read as empty, such as B2" in sheet.notes[1]


def test_errors_of_excel_are_empty(tmp_path: Path) -> None:
    def fail(sheet: Worksheet) -> None:
        sheet["B2"].data_type = "e"

    sheet = read(workbook(tmp_path / "x.xlsx", [("a", "b"), (1, "#REF!"), (2, "x")], fail))
    assert sheet.columns["b"] == ["", "x"]
    assert sheet.notes == ("1 error of Excel read as empty, such as #REF! in B2.",)


def test_hidden_rows_and_columns_are_read_and_said(tmp_path: Path) -> None:
    def hide(sheet: Worksheet) -> None:
        sheet.row_dimensions[3].hidden = True
        sheet.column_dimensions["B"].hidden = True

    sheet = read(workbook(tmp_path / "x.xlsx", [("a", "b"), (1, 2), (3, 4)], hide))
    assert sheet.columns["a"] == ["1", "3"]
    assert sheet.notes == ("1 hidden row (of a filter, perhaps) read, too.", "Hidden columns read, too: B.")


def several(path: Path) -> Path:
    book = Workbook()
    for at, (title, rows) in enumerate({"Info": ["x", "y"], "Bilder": ["image", "a.png"], "Alt": ["z", "q"]}.items()):
        sheet = book.create_sheet(title, at)
        for row in rows:
            sheet.append([row, "1"] if row != "image" else [row, "label"])
    book["Alt"].sheet_state = "hidden"
    book.save(path)
    return path


def test_several_sheets(tmp_path: Path) -> None:
    path = several(tmp_path / "x.xlsx")
    sheet, problems = read_sheet(path)
    assert sheet is None
    assert [problem.code for problem in problems] == ["several-sheets"]
    assert "'Info', 'Bilder'" in problems[0].message
    assert "'Alt'" not in problems[0].message
    assert read(path, "bilder").columns == {"image": ["a.png"], "label": ["1"]}
    assert read(path, "Alt").columns == {"z": ["q"], "1": ["1"]}
    chosen, problems = read_sheet(path, prefer=lambda sheet: "image" in sheet.columns)
    assert chosen is not None
    assert (chosen.name, problems) == ("Bilder", [])
    assert "1 hidden sheet left out: Alt" in chosen.notes[0]
    assert "Sheet 'Bilder' is read; left out: 'Info'" in chosen.notes[1]
    sheet, problems = read_sheet(path, "Bild")
    assert (sheet, problems[0].code) == (None, "no-sheet")
    assert "Info, Bilder, Alt" in problems[0].fix


def test_merged_cells(tmp_path: Path) -> None:
    rows = [
        ("Studie Nord", None, None, None),
        ("Patient", "Bild", "Tumor", None),
        (None, None, "Volumen", "Grad"),
        ("p1", "a.png", 1, 2),
        (None, "b.png", 3, 4),
        ("p2", "c.png", "unklar", None),
    ]

    def merge(sheet: Worksheet) -> None:
        for area in ("A1:D1", "A2:A3", "B2:B3", "C2:D2", "A4:A5", "C6:D6"):
            sheet.merge_cells(area)

    sheet = read(workbook(tmp_path / "x.xlsx", rows, merge))
    assert sheet.columns == {
        "Patient": ["p1", "p1", "p2"],
        "Bild": ["a.png", "b.png", "c.png"],
        "Tumor Volumen": ["1", "3", "unklar"],
        "Tumor Grad": ["2", "4", ""],
    }
    assert sheet.rows == [4, 5, 6]
    notes = " ".join(sheet.notes)
    assert "in two lines, joined: 'Tumor'" in notes
    assert "1 merged cell below the header read as the same value in every row." in notes
    assert "1 merged cell over several columns" in notes
    assert "1 line above the header left out, such as 'Studie Nord'." in notes


@pytest.mark.parametrize("place", ["XFD1048576", "A1048576"])
def test_a_cell_far_away_costs_nothing(place: str, tmp_path: Path) -> None:
    def far(sheet: Worksheet) -> None:
        sheet[place] = " "

    assert read(workbook(tmp_path / "x.xlsx", [("a", "b"), (1, 2)], far)).columns == {"a": ["1"], "b": ["2"]}


def test_a_workbook_that_claims_billions_of_merged_cells_is_refused(tmp_path: Path) -> None:
    path = workbook(tmp_path / "x.xlsx", [("a", "b"), (1, 2)], lambda sheet: sheet.merge_cells("D1:E9"))
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content.replace(b"D1:E9", b"A1:XFD1048576"))
    sheet, problems = read_sheet(path)
    assert sheet is None
    assert problems[0].message == "The workbook has 17,179,869,184 merged cells."


def test_damaged_workbooks_are_errors_in_words(tmp_path: Path) -> None:
    raw = workbook(tmp_path / "x.xlsx", [("a", "b"), *[(at, f"x{at}") for at in range(40)]]).read_bytes()
    rng = random.Random(0)
    for _ in range(60):
        damaged = bytearray(raw)
        for _ in range(rng.randint(1, 20)):
            damaged[rng.randrange(4, len(raw))] = rng.randrange(256)
        (tmp_path / "y.xlsx").write_bytes(damaged[: rng.choice([len(raw), rng.randrange(8, len(raw))])])
        sheet, problems = read_sheet(tmp_path / "y.xlsx")
        assert (sheet is None) == any(problem.severity == "error" for problem in problems)


@pytest.mark.filterwarnings("error")
def test_what_openpyxl_does_not_know_is_no_warning(tmp_path: Path) -> None:
    path = workbook(tmp_path / "x.xlsx", [("a", "b"), (1, 2)])
    extension = b'<extLst><ext uri="{CCE6A557-97BC-4b89-ADB6-D9C93CAAB3DF}"></ext></extLst></worksheet>'
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content.replace(b"</worksheet>", extension))
    assert read(path).columns == {"a": ["1"], "b": ["2"]}
