"""A clinical table beside folders of patients: one row per patient or case, joined by the column that names them."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from radapt.cohorts.draft import CohortDraft, ScanOptions
from radapt.cohorts.layouts.joining import join, join_key
from radapt.cohorts.layouts.split_tables import read_tables_of_splits, refuse_nothing_shared, tables_of_splits
from radapt.cohorts.layouts.tables import (
    left_out_note,
    read_table,
    tables_in,
)
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
    known = {key: {join_key(text) for text in draft.table[key]} for key in ("case", "patient") if key in draft.table}
    for path in tables:
        notes: list[str] = []
        try:
            source = read_table(path, notes, sheet=options.sheet, prefer=lambda sheet: _names_any(sheet, known))
        except DataError as error:  # it may have nothing to do with the patients
            draft.notes.append(f"{path.name} is not joined: {' '.join(str(error).splitlines()[1:]) or error}")
            continue
        best = _best(source, draft.table)
        if best is None:
            continue
        column, key = best
        draft.notes += notes
        join(draft, source, path, column, list(draft.table[key]), options)
        draft.notes += left_out_note([other for other in tables if other != path])
        return
    if tables:
        names = ", ".join(path.name for path in tables)
        draft.notes.append(f"No column of {names} names the cases or patients, so no table is joined.")


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


def _best(source: pd.DataFrame, table: pd.DataFrame) -> tuple[str, str] | None:
    """The column of `source` that names most cases or patients, at least half of its rows, each in one row."""
    hits = {}
    for column in source.columns:
        keys = [join_key(text) for text in source[column] if text.strip()]
        for key in (name for name in ("case", "patient") if name in table):
            known = {join_key(text) for text in table[key]}
            if len(set(keys)) == len(keys):
                hits[column, key] = sum(name in known for name in keys)
    best = max(hits, key=lambda name: hits[name], default=None)
    return best if best and hits[best] and hits[best] * 2 >= min(len(source), table[best[1]].nunique()) else None


def _names_any(sheet: Sheet, known: dict[str, set[str]]) -> bool:
    """Whether a column of the sheet names patients or cases."""
    return any(
        sum(join_key(text) in names for text in cells) * 2 >= max(min(len(sheet), len(names)), 1)
        for cells in sheet.columns.values()
        for names in known.values()
    )
