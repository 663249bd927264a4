"""A table as text: CSV, TSV or parquet with every cell a string, and the line of each record.

Everything is read as text so that patient `007` stays `007`.
"""

import csv
import io
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd

from radapt.cohorts.issue import CohortIssue
from radapt.printable import from_csv_cell

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_INDEX_NAME = re.compile(r"(Unnamed: \d+(\.\d+)?)?")  # pandas' index, and one written again


@dataclass(frozen=True)
class Sheet:
    """`columns` holds each column's cells in order ('' is empty); `rows` the line of each record, header = 1."""

    path: Path
    columns: dict[str, list[str]]
    rows: list[int]

    def __len__(self) -> int:
        return len(self.rows)


def read_sheet(path: Path) -> tuple[Sheet | None, list[CohortIssue]]:
    """Read a table. Problems of format (encoding, empty file, number of fields, names) are returned, not raised."""
    problems: list[CohortIssue] = []
    sheet = _read_parquet(path, problems) if path.suffix.lower() == ".parquet" else _read_text(path, problems)
    if sheet is not None and not len(sheet) and not problems:
        problems.append(_error(path, "empty-table", "The table has a header but no rows.", fix="Add one row per case."))
    return sheet, problems


def _error(path: Path, code: str, message: str, *, row: int | None = None, fix: str = "") -> CohortIssue:
    return CohortIssue("error", code, message, row=row, file=path.name, fix=fix)


def _read_text(path: Path, problems: list[CohortIssue]) -> Sheet | None:
    text = _decode(path, problems)
    if text is None:
        return None
    delimiter = _DELIMITERS.get(path.suffix.lower(), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records: list[list[str]] = []
    lines: list[int] = []
    start = 1
    try:
        for record in reader:
            if any(cell.strip() for cell in record):
                records.append(record)
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        fix = "Check for an unclosed quote."
        problems.append(_error(path, "bad-csv", f"The line cannot be read: {error}.", row=start, fix=fix))
        return None
    if not records:
        problems.append(_error(path, "empty-table", "The file is empty.", fix="Add a header and one row per case."))
        return None
    return _assemble(path, delimiter, records, lines, problems)


def _decode(path: Path, problems: list[CohortIssue]) -> str | None:
    try:
        raw = path.read_bytes()
    except OSError as error:
        problems.append(_error(path, "unreadable-table", f"The file cannot be read: {error.strerror or error}."))
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = raw.count(b"\n", 0, error.start) + 1
        fix = "Save the table as UTF-8 (in Excel: 'CSV UTF-8')."
        problems.append(_error(path, "not-utf8", f"Byte {error.start} is not UTF-8 text.", row=row, fix=fix))
        return None


def _assemble(
    path: Path, delimiter: str, records: list[list[str]], lines: list[int], problems: list[CohortIssue]
) -> Sheet | None:
    records = _without_blank_columns(records)
    header = [from_csv_cell(name.strip()) for name in records[0]]
    if len(header) == 1 and delimiter == "," and any(mark in header[0] for mark in ";\t"):
        fix = "Save it with commas; a table with tabs may be called .tsv."
        problems.append(_error(path, "bad-csv", "The columns are not separated by commas.", row=1, fix=fix))
        return None
    index = _index_columns(records)
    if not _names_are_valid(path, header, problems, index):
        return None
    width = len(header)
    good = [index for index in range(1, len(records)) if len(records[index]) == width]
    if len(good) != len(records) - 1:
        for record, line in islice(zip(records, lines, strict=True), 1, None):
            if len(record) != width:
                message = f"{len(record)} fields, expected {width} as in the header."
                fix = "Quote values that contain a comma, and give every field."
                problems.append(_error(path, "field-count", message, row=line, fix=fix))
    # Cells repeat often (sites, sexes, views); one string object per distinct value saves memory.
    shared: dict[str, str] = {}
    cells = {
        name: [shared.setdefault(cell, cell) for cell in (from_csv_cell(records[row][at]) for row in good)]
        for at, name in enumerate(header)
        if at not in index
    }
    return Sheet(path, cells, [lines[row] for row in good])


def _index_columns(records: list[list[str]]) -> frozenset[int]:
    """The unnamed columns that number the rows 0, 1, 2, …: pandas writes its index like this."""
    nameless = [at for at, name in enumerate(records[0]) if _INDEX_NAME.fullmatch(name.strip())]
    counts = [str(row) for row in range(len(records) - 1)]
    return frozenset(at for at in nameless if [record[at] for record in records[1:] if at < len(record)] == counts)


def _without_blank_columns(records: list[list[str]]) -> list[list[str]]:
    """Records without the columns that have neither name nor value, as a comma at the end of every line makes."""
    width = len(records[0])
    nameless = [at for at, name in enumerate(records[0]) if not name.strip()]
    blank = {at for at in nameless if not any(at < len(record) and record[at].strip() for record in records)}
    if not blank:
        return records
    return [
        [cell for at, cell in enumerate(record) if at not in blank] if len(record) == width else record
        for record in records
    ]


def _names_are_valid(
    path: Path, header: list[str], problems: list[CohortIssue], index: frozenset[int] = frozenset()
) -> bool:
    before = len(problems)
    for number, name in enumerate(header, start=1):
        if number - 1 in index:
            continue
        if not name:
            message = f"Column {number} has no name."
            fix = "Name it or delete it (pandas: to_csv(..., index=False))."
            problems.append(_error(path, "unnamed-column", message, row=1, fix=fix))
        elif header.index(name) != number - 1:
            message = f"There are two columns {name!r}."
            problems.append(_error(path, "duplicate-column", message, row=1, fix="Keep one of them."))
    return len(problems) == before


def _read_parquet(path: Path, problems: list[CohortIssue]) -> Sheet | None:
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # pyarrow raises a dozen kinds, OSError among them, for a file that is not parquet
        message = f"The file is not readable as parquet: {str(error).splitlines()[0]}."
        problems.append(_error(path, "unreadable-table", message))
        return None
    table.columns = [str(name).strip() for name in table.columns]
    if not len(table.columns):
        problems.append(_error(path, "empty-table", "The file has no columns."))
        return None
    if not _names_are_valid(path, list(table.columns), problems):
        return None
    columns = {name: _as_text(table[name]) for name in table.columns}
    return Sheet(path, columns, list(range(2, len(table) + 2)))


def _as_text(column: pd.Series) -> list[str]:
    """Cells as text; missing is '', whole floats lose their '.0' (integers with gaps are stored as floats)."""
    if pd.api.types.is_bool_dtype(column):
        return ["" if pd.isna(cell) else str(int(cell)) for cell in column]
    if pd.api.types.is_float_dtype(column):
        present = column.dropna()
        if (present == present.round()).all() and (present.abs() < 2**53).all():
            return ["" if pd.isna(cell) else str(int(cell)) for cell in column]
    return ["" if pd.isna(cell) else str(cell) for cell in column]
