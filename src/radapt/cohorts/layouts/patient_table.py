"""A clinical table beside folders of patients: one row per patient or case, joined by the column that names them."""

from pathlib import Path

import pandas as pd

from radapt.cohorts.draft import CohortDraft, ScanOptions
from radapt.cohorts.layouts.tables import assign, read_table, tables_in
from radapt.cohorts.patient_key import patient_key
from radapt.errors import counted


def add_table(draft: CohortDraft, root: Path, options: ScanOptions) -> None:
    """Join the only table in `root` that names the patients or cases of the draft; say what it leaves out."""
    tables = tables_in(root)
    for path in tables:
        source = read_table(path)
        best = _best(source, draft.table)
        if best is None:
            continue
        column, key = best
        _join(draft, source, path, column, key, options)
        if others := [other.name for other in tables if other != path]:
            draft.notes.append(f"Other tables left out: {', '.join(others)}.")
        return
    if tables:
        names = ", ".join(path.name for path in tables)
        draft.notes.append(f"No column of {names} names the folders of the patients, so no table is joined.")


def _best(source: pd.DataFrame, table: pd.DataFrame) -> tuple[str, str] | None:
    """The column of `source` that names most cases or patients, at least half of its rows, each in one row."""
    hits = {}
    for column in source.columns:
        keys = [patient_key(text) for text in source[column] if text.strip()]
        for key in ("case", "patient"):
            known = {patient_key(text) for text in table[key]}
            if len(set(keys)) == len(keys):
                hits[column, key] = sum(name in known for name in keys)
    best = max(hits, key=lambda name: hits[name], default=None)
    return best if best and hits[best] and hits[best] * 2 >= min(len(source), table[best[1]].nunique()) else None


def _join(draft: CohortDraft, source: pd.DataFrame, path: Path, column: str, key: str, options: ScanOptions) -> None:
    lines = {patient_key(text): line for text, line in zip(source[column], source.index, strict=True) if text.strip()}
    rows: list[int | None] = [lines.get(patient_key(text)) for text in draft.table[key]]
    if absent := sum(row is None for row in rows):
        draft.notes.append(f"{counted(absent, 'case')} without a row in {path.name}.")
    if unused := len(source) - len({row for row in rows if row is not None}):
        draft.notes.append(f"{counted(unused, 'row')} of {path.name} left out: no such folder.")
    padded = source.reindex(pd.Index([-1 if row is None else row for row in rows])).fillna("")
    if "label" in draft.table:
        draft.notes.append("Labels are the folders of the classes; those of the table are metadata.")
    assign(draft.table, padded.drop(columns=column).reset_index(drop=True), options, path.name, draft.notes)
    draft.source_table, draft.rows = path, rows
