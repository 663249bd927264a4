"""Excel workbooks (.xlsx, .xlsm) as text. Formulas are never evaluated: the values that Excel stored are read."""

import datetime
import io
import re
import warnings
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from radapt.cohorts.issue import CohortIssue
from radapt.cohorts.sheets.merged import Area, unmerge
from radapt.cohorts.sheets.sheet import Records, error
from radapt.errors import counted

if TYPE_CHECKING:  # openpyxl takes a quarter of a second to load, for which a CSV need not wait
    from openpyxl.cell.cell import Cell
    from openpyxl.workbook.workbook import Workbook
    from openpyxl.worksheet.worksheet import Worksheet

_MOST_BYTES = 1 << 28  # of XML, some five million cells
_MOST_CELLS = 20_000_000
_MOST_MERGED = 1_000_000  # cells; openpyxl makes an object of each
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s+ref="([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})"')
_ZEROS = re.compile(r"0{2,40}")
"""A number format that shows leading zeros."""

_EXACT = 2**53
_LISTED = 6


def read_workbook(path: Path, raw: bytes, problems: list[CohortIssue], wanted: str | None = None) -> list[Records]:
    """The sheets that hold cells, without the hidden ones; only the sheet `wanted`, hidden or not, if it is named."""
    try:
        if large := _too_large(raw):
            problems.append(error(path, "large-table", large, fix="Save the sheet as CSV."))
            return []
        with warnings.catch_warnings():  # of drop-down lists and the like, which hold no values
            warnings.simplefilter("ignore", UserWarning)
            return _read(path, raw, problems, wanted)
    except Exception as failure:  # openpyxl raises many kinds for files that only look like a workbook
        message = f"The file is not readable as an Excel workbook: {type(failure).__name__}."
        problems.append(error(path, "unreadable-table", message, fix="Open it in Excel and save it again, or as CSV."))
        return []


def _read(path: Path, raw: bytes, problems: list[CohortIssue], wanted: str | None) -> list[Records]:
    from openpyxl import load_workbook

    book = load_workbook(io.BytesIO(raw), data_only=True, keep_links=False)
    formulas = _formulas(raw)
    sheets = [sheet for sheet in book.worksheets if _is_filled(sheet)]
    if wanted is not None:
        sheets = [sheet for sheet in book.worksheets if sheet.title.strip().casefold() == wanted.strip().casefold()]
        if not sheets:
            problems.append(error(path, "no-sheet", f"There is no sheet {wanted!r}.", fix=_known(book)))
        return [_records(sheet, path, formulas.get(sheet.title, Counter()), problems) for sheet in sheets]
    hidden = [sheet.title for sheet in sheets if sheet.sheet_state != "visible"]
    visible = [sheet for sheet in sheets if sheet.sheet_state == "visible"]
    found = [_records(sheet, path, formulas.get(sheet.title, Counter()), problems) for sheet in visible or sheets]
    if hidden and visible:
        for records in found:
            records.notes.append(f"{counted(len(hidden), 'hidden sheet')} left out: {_some(hidden)}; see --sheet.")
    if not found:
        problems.append(error(path, "empty-table", "The workbook has no sheet with cells."))
    return found


def _too_large(raw: bytes) -> str:
    """What would need too much memory, before anything is read; '' if nothing does."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        if sum(member.file_size for member in archive.infolist()) > _MOST_BYTES:
            return f"The workbook unpacks to more than {_MOST_BYTES >> 20} MiB."
        for name in archive.namelist():
            if name.startswith("xl/worksheets/"):
                merged = sum(_area(*found) for found in _MERGED.findall(archive.read(name)))
                if merged > _MOST_MERGED:
                    return f"The workbook has {merged:,} merged cells."
    return ""


def _area(left: bytes, top: bytes, right: bytes, bottom: bytes) -> int:
    columns = [reduce(lambda number, letter: 26 * number + letter - 64, letters, 0) for letters in (left, right)]
    return (abs(columns[1] - columns[0]) + 1) * (abs(int(bottom) - int(top)) + 1)


def _is_filled(sheet: "Worksheet") -> bool:
    return any(cell.value is not None for cell in _cells(sheet))


def _cells(sheet: "Worksheet") -> Iterable["Cell"]:
    """The cells that the file holds. A range can claim 17 billion, so the grid is not gone through."""
    cells: dict[tuple[int, int], Cell] = sheet._cells  # type: ignore[assignment]
    return cells.values()


def _known(book: "Workbook") -> str:
    return f"Its sheets: {_some([sheet.title for sheet in book.worksheets])}."


def _formulas(raw: bytes) -> dict[str, Counter[str]]:
    """Sheet → the cells with a formula, by coordinate."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        names = [name for name in archive.namelist() if name.startswith("xl/worksheets/")]
        if not any(b"<f" in archive.read(name) for name in names):
            return {}
    from openpyxl import load_workbook

    book = load_workbook(io.BytesIO(raw), data_only=False)
    return {
        sheet.title: Counter(cell.coordinate for cell in _cells(sheet) if cell.data_type == "f")
        for sheet in book.worksheets
    }


def _records(sheet: "Worksheet", path: Path, formulas: Counter[str], problems: list[CohortIssue]) -> Records:
    records = Records([], [], name=sheet.title)
    cells = {(cell.row, cell.column): cell for cell in _cells(sheet) if cell.value is not None}
    texts = {place: _text(cell) for place, cell in cells.items()}
    areas = [Area(area.min_row, area.min_col, area.max_row, area.max_col) for area in sheet.merged_cells.ranges]
    unmerge(texts, areas, records.notes)
    rows = sorted({row for (row, _), text in texts.items() if text.strip()})
    width = max((column for (_, column), text in texts.items() if text.strip()), default=0)
    if len(rows) * width > _MOST_CELLS:
        message = f"Sheet {sheet.title!r} has {len(rows):,} rows of {width:,} columns."
        problems.append(error(path, "large-table", message, fix="Delete the cells far from the table."))
        return records
    first = min((column for (_, column), text in texts.items() if text.strip()), default=1)
    for row in rows:
        records.cells.append([texts.get((row, column), "") for column in range(first, width + 1)])
        records.lines.append(row)
    records.notes += _hidden(sheet, rows)
    records.notes += _unusual(cells, formulas, rows[0] if rows else 1)
    return records


def _text(cell: "Cell") -> str:
    """A cell as text; an error such as #REF! is empty."""
    value = cell.value
    if value is None or cell.data_type == "e":
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        value = int(value)
    if isinstance(value, int):
        zeros = _ZEROS.fullmatch(str(cell.number_format))
        return str(value).zfill(len(zeros[0])) if zeros else str(value)
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time()
        return value.date().isoformat() if midnight else value.isoformat(" ", "seconds")
    return str(value)


def _hidden(sheet: "Worksheet", rows: list[int]) -> list[str]:
    notes = []
    count = sum(bool(sheet.row_dimensions[row].hidden) for row in rows if row in sheet.row_dimensions)
    if count:
        notes.append(f"{counted(count, 'hidden row')} (of a filter, perhaps) read, too.")
    columns = [letter for letter, facts in sheet.column_dimensions.items() if facts.hidden]
    if columns:
        notes.append(f"Hidden columns read, too: {_some(columns)}.")
    return notes


def _unusual(cells: dict[tuple[int, int], "Cell"], formulas: Counter[str], header: int) -> list[str]:
    """What a spreadsheet does to values: formulas, errors, texts that became dates, zeros and digits that are lost."""
    notes = []
    columns: dict[int, list[Cell]] = defaultdict(list)
    for cell in cells.values():
        if cell.row > header:
            columns[cell.column].append(cell)
    if formulas:
        stored = {cell.coordinate for cell in cells.values()}
        notes.append(f"{counted(len(formulas), 'formula')} not evaluated; the stored values are read.")
        if without := [place for place in formulas if place not in stored]:
            notes.append(
                f"{counted(len(without), 'formula')} without a stored value read as empty, such as {without[0]}: open "
                "the file in Excel and save it."
            )
    if errors := [cell for cell in cells.values() if cell.data_type == "e"]:
        first = errors[0]
        notes.append(
            f"{counted(len(errors), 'error')} of Excel read as empty, such as {first.value} in {first.coordinate}."
        )
    for column in sorted(columns):
        name = cells[header, column].value if (header, column) in cells else columns[column][0].column_letter
        notes += _of_column(str(name), columns[column])
    return notes


def _of_column(name: str, cells: list["Cell"]) -> list[str]:
    notes = []
    dates = [cell for cell in cells if cell.is_date]
    if dates and len(dates) < len(cells):
        notes.append(
            f"Column {name!r} mixes {counted(len(dates), 'date')}, such as {_text(dates[0])}, with other values: Excel "
            "makes dates of texts such as '1-2'. Format the column as text and correct them."
        )
    texts = [cell.value for cell in cells if isinstance(cell.value, str)]
    numbers = [cell for cell in cells if isinstance(cell.value, int | float) and not isinstance(cell.value, bool)]
    padded = [text for text in texts if re.fullmatch(r"0\d+", text.strip())]
    numbers = [cell for cell in numbers if not _text(cell).startswith("0")]
    if padded and numbers:
        notes.append(
            f"Column {name!r} mixes texts with leading zeros, such as {padded[0]!r}, and "
            f"{counted(len(numbers), 'number')}, such as {_text(numbers[0])}, that may have lost theirs."
        )
    if any(abs(cell.value) >= 10**15 for cell in numbers if isinstance(cell.value, int | float)):
        notes.append(f"Column {name!r} holds numbers of more than 15 digits, of which Excel keeps 15.")
    return notes


def _some(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", …" if len(names) > _LISTED else "")
