"""The one reader of tables: what a file is is decided by its first bytes, not by its ending."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from radapt.cohorts.issue import CohortIssue
from radapt.cohorts.sheets.excel import read_workbook
from radapt.cohorts.sheets.numbers import with_plain_numbers
from radapt.cohorts.sheets.parquet import read_parquet
from radapt.cohorts.sheets.sheet import Records, Sheet, assemble, error
from radapt.cohorts.sheets.text import read_text
from radapt.printable import from_csv_cell

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".xlsx", ".xlsm")
"""Endings of tables that are looked for in folders."""

NAMED_SUFFIXES = (*TABLE_SUFFIXES, ".tab", ".txt", ".xls", ".ods")
"""Endings of files that are taken for tables where the user names them; of some, to say what to save them as."""

_PEEKED = 1 << 20  # bytes of a text table
_ZIP = b"PK\x03\x04"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_PARQUET = b"PAR1"

Prefer = Callable[[Sheet], bool]
"""Whether a sheet of a workbook is the one that is looked for."""


def read_sheet(
    path: Path, sheet: str | None = None, prefer: Prefer | None = None
) -> tuple[Sheet | None, list[CohortIssue]]:
    """Read a table, or of a workbook the sheet named `sheet`, the only one, or the only one that `prefer` accepts.

    Problems of format (encoding, empty file, number of fields, names, several sheets) are returned, not raised; what is
    not plain is in `notes` of the sheet.
    """
    problems: list[CohortIssue] = []
    try:
        with path.open("rb") as file:
            start = file.read(8)
            raw = b"" if start.startswith(_PARQUET) else start + file.read()
    except OSError as failure:
        message = f"The file cannot be read: {failure.strerror or failure}."
        return None, [error(path, "unreadable-table", message)]
    found = _read(path, start, raw, sheet, prefer, problems)
    if found is not None and not len(found) and not problems:
        problems.append(error(path, "empty-table", "The table has a header but no rows.", fix="Add one row per case."))
    return found, problems


def peek_sheet(path: Path, prefer: Prefer | None = None) -> Sheet | None:
    """The beginning of a text table, or another table whole, to recognise it; None if it is not a table."""
    problems: list[CohortIssue] = []
    try:
        with path.open("rb") as file:
            raw = file.read(_PEEKED)
            if raw.startswith(_ZIP):
                raw += file.read()
            elif file.read(1):  # the text breaks off
                raw = raw if b"\0" in raw[:4] else raw[: raw.rfind(b"\n") + 1]
    except OSError:
        return None
    return _read(path, raw[:8], raw, None, prefer, problems)


def _read(
    path: Path, start: bytes, raw: bytes, sheet: str | None, prefer: Prefer | None, problems: list[CohortIssue]
) -> Sheet | None:
    if start.startswith(_OLE):
        message = "The file is an old Excel file (.xls) or one with a password."
        problems.append(error(path, "unreadable-table", message, fix="Save it as .xlsx without a password, or as CSV."))
        return None
    if start.startswith(_ZIP):
        return _from_workbook(path, raw, sheet, prefer, problems)
    if sheet is not None:
        problems.append(
            error(path, "no-sheet", f"Only Excel files have sheets such as {sheet!r}.", fix="Omit --sheet.")
        )
        return None
    if start.startswith(_PARQUET) or path.suffix.lower() == ".parquet":
        return read_parquet(path, problems)
    records = read_text(path, raw, problems)
    if records is None:
        return None
    table = assemble(path, records, problems, from_csv_cell)
    return None if table is None else with_plain_numbers(table, commas_are_quoted=records.separator == ",")


def _from_workbook(
    path: Path, raw: bytes, name: str | None, prefer: Prefer | None, problems: list[CohortIssue]
) -> Sheet | None:
    books = read_workbook(path, raw, problems, name)
    if problems or not books:
        return None
    if len(books) == 1:
        return _sheet(path, books[0], problems)
    candidates = [table for records in books if (table := _sheet(path, records, [])) is not None and len(table)]
    wanted = [table for table in candidates if prefer is not None and prefer(table)]
    if len(candidates) == 1:
        wanted = candidates
    if len(wanted) == 1:
        others = ", ".join(repr(records.name) for records in books if records.name != wanted[0].name)
        note = f"Sheet {wanted[0].name!r} is read; left out: {others}. Name another with --sheet."
        return replace(wanted[0], notes=(*wanted[0].notes, note))
    sheets = ", ".join(repr(records.name) for records in books)
    problems.append(
        error(path, "several-sheets", f"The workbook has the sheets {sheets}.", fix="Name one: --sheet NAME.")
    )
    return None


def _sheet(path: Path, records: Records, problems: list[CohortIssue]) -> Sheet | None:
    table = assemble(path, records, problems)
    return None if table is None else with_plain_numbers(table, commas_are_quoted=False)
