"""A clinical table beside folders of patients: one row per patient or case, joined by the column that names them."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from radapt.cohorts.draft import CohortDraft, ScanOptions
from radapt.cohorts.layouts.id_columns import id_column
from radapt.cohorts.layouts.joining import join, join_key, rows_of
from radapt.cohorts.layouts.split_tables import read_tables_of_splits, refuse_nothing_shared, tables_of_splits
from radapt.cohorts.layouts.tables import left_out_note, read_table, tables_in
from radapt.cohorts.sheets.sheet import Sheet
from radapt.errors import DataError


def add_table(draft: CohortDraft, root: Path, options: ScanOptions) -> None:
    """Join the only table in `root` that names the patients or cases of the draft; say what it leaves out."""
    if options.labels is not None:
        return
    tables = tables_in(root)
    if (splits := tables_of_splits(tables)) and _join_splits(draft, splits, options):
        draft.notes += left_out_note([path for path in tables if path not in splits])
        return
    unnamed: list[str] = []
    known = {key: {join_key(text) for text in draft.table[key]} for key in ("case", "patient") if key in draft.table}
    for path in tables:
        notes: list[str] = []
        try:
            source = read_table(path, notes, sheet=options.sheet, prefer=lambda sheet: _names_any(sheet, known))
            best = _best(source, draft.table) or _best(source, draft.table, repeated=True)
            if best is None:
                unnamed.append(path.name)
                continue
            column, key = best
            join(draft, source, path, column, list(draft.table[key]), options)
        except DataError as error:  # it may have nothing to do with the patients
            draft.notes.append(f"{path.name} is not joined: {_reason(error, path)}")
            continue
        draft.notes += [f"{path.name} is joined on column {column!r}; name another with --labels and --on.", *notes]
        draft.notes += left_out_note([other for other in tables if other != path])
        return
    if unnamed:
        draft.notes.append(f"No column of {', '.join(unnamed)} names the cases or patients, so no table is joined.")


def _reason(error: DataError, path: Path) -> str:
    """The message of an error without the path of the table, as it follows the table's name."""
    lines = str(error).splitlines()
    return " ".join(line.removeprefix("- ").removeprefix(f"{path.name}: ") for line in lines[1:] or lines).removeprefix(
        f"{path}: "
    )


def _join_splits(draft: CohortDraft, splits: Mapping[Path, str], options: ScanOptions) -> bool:
    """Join tables of one split each; False if they do not name the cases. Raises DataError for a case in two tables."""
    notes: list[str] = []
    source, path = read_tables_of_splits(splits, options, notes)
    best = _best(source, draft.table)
    own = [best] if best else [found for each in splits if (found := _best(read_table(each), draft.table))]
    if not own:
        return False
    refuse_nothing_shared(splits, [column for column, _ in own], "cases")
    if best is None:
        raise DataError(
            f"{path.name} name the same cases, so their splits are not known; expected each case in one of them. "
            "Remove the repeated rows, or name the one table to read with --labels."
        )
    column, key = best
    draft.notes += notes
    join(draft, source, path, column, list(draft.table[key]), options)
    draft.source_table = None
    return True


def _best(source: pd.DataFrame, table: pd.DataFrame, *, repeated: bool = False) -> tuple[str, str] | None:
    """The column of `source` that names most cases or patients, at least half of its rows, each in one row.

    With `repeated`, a column in which few ids have several rows. Raises DataError if a second column names the cases as
    well, in other rows.
    """
    hits = {}
    for column in source.columns:
        keys = [join_key(text) for text in source[column] if text.strip()]
        for key in (name for name in ("case", "patient") if name in table):
            known = {join_key(text) for text in table[key]}
            if len(set(keys)) == len(keys) or (repeated and len(set(keys)) * 4 >= len(keys) * 3):
                hits[column, key] = sum(name in known for name in keys)
    best = max(hits, key=lambda name: hits[name], default=None)
    if not best or not hits[best] or hits[best] * 2 < min(len(source), table[best[1]].nunique()):
        return None
    chosen = id_column(hits, lambda column, key: rows_of(source, column, list(table[key])), best)
    if chosen.rivals:
        raise DataError(f"{chosen.words()}. Name the table and the right column: --labels TABLE --on COLUMN.")
    return chosen.column, chosen.key


def _names_any(sheet: Sheet, known: dict[str, set[str]]) -> bool:
    """Whether a column of the sheet names patients or cases."""
    return any(
        sum(join_key(text) in names for text in cells) * 2 >= max(min(len(sheet), len(names)), 1)
        for cells in sheet.columns.values()
        for names in known.values()
    )
