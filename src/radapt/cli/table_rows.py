"""A table that the user names, as text, and its columns as numbers; wrong rows are refused by their line."""

from pathlib import Path

import numpy as np
import pandas as pd

from radapt.cohorts.sheets.reading import read_sheet
from radapt.errors import DataError, UsageError, suggest
from radapt.reports.formatting import counted

_MISSING = ("", "nan", "na", "n/a", "none", "null", "-", "?")


def read_rows(file: Path, expected: str = "a table (CSV, TSV or parquet)") -> tuple[pd.DataFrame, list[int]]:
    """The cells of a table as text, and the line of each row. Raises UsageError without the file, and DataError."""
    if not file.is_file():
        raise UsageError(f"There is no file {file}. Give {expected}.")
    sheet, problems = read_sheet(file)
    if sheet is None or problems:
        raise DataError(f"{file}: {problems[0].message if problems else 'it cannot be read as a table.'}")
    return pd.DataFrame(sheet.columns, dtype=str), sheet.rows


def require_column(table: pd.DataFrame, name: str, file: Path) -> None:
    """Raises UsageError for a column that the table lacks."""
    if name not in table.columns:
        raise UsageError(f"{file} has no column {name!r}. {suggest(name, table.columns)}")


def numbers_of(column: pd.Series, rows: list[int], file: Path) -> pd.Series:
    """A column as numbers, NaN where a cell is empty or says so. Raises DataError for a cell that is no number."""
    numbers, given = as_numbers(column)
    refuse_rows(given & ~np.isfinite(numbers), rows, file, f"has no number in column {column.name!r}")
    return numbers


def says_nothing(column: pd.Series) -> pd.Series:
    """Where the cells of a column are empty or say that they are, such as `NaN`."""
    return column.str.strip().str.casefold().isin(_MISSING)


def as_numbers(column: pd.Series) -> tuple[pd.Series, pd.Series]:
    """A column as numbers, NaN where a cell is none, and whether a cell holds anything."""
    given = ~says_nothing(column)
    plain = column.str.strip()
    return pd.to_numeric(plain.where(given), errors="coerce"), given


def refuse_rows(wrong: pd.Series, rows: list[int], file: Path, what: str) -> None:
    """Raises DataError that names the line of the first wrong row, and how many there are."""
    at = np.flatnonzero(wrong.to_numpy())
    if len(at):
        more = f" ({counted(len(at), 'row')})" if len(at) > 1 else ""
        raise DataError(f"{file}, line {rows[at[0]]} {what}{more}.")
