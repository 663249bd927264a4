"""Parquet tables, and tables in memory, as text."""

from pathlib import Path

import pandas as pd

from radapt.cohorts.issue import CohortIssue
from radapt.cohorts.sheets.sheet import Sheet, error, names_are_valid


def read_parquet(path: Path, problems: list[CohortIssue]) -> Sheet | None:
    try:
        return sheet_of(path, pd.read_parquet(path), problems)  # a text that is no UTF-8 is found when it is looked at
    except Exception as failure:  # pyarrow raises a dozen kinds, OSError among them, for a file that is not parquet
        reason = (str(failure).splitlines() or [type(failure).__name__])[0]
        problems.append(error(path, "unreadable-table", f"The file is not readable as parquet: {reason}."))
        return None


def sheet_of(path: Path, table: pd.DataFrame, problems: list[CohortIssue]) -> Sheet | None:
    """A table in memory with every cell as text; None, with the problem, if its names cannot be columns."""
    table = table.set_axis([str(name).strip() for name in table.columns], axis="columns")
    if not len(table.columns):
        problems.append(error(path, "empty-table", "The file has no columns."))
        return None
    if not names_are_valid(path, list(table.columns), problems):
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
