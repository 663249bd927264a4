"""Writing a cohort: cohort.yaml and its table of cases, complete or not at all, with relative paths."""

import csv
import io
import os
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from radapt.cohorts.draft import CohortDraft
from radapt.cohorts.written_by_scan import overwritten, refuse_to_overwrite, sealed
from radapt.durable import write_text
from radapt.errors import UsageError, unwritable
from radapt.locations import is_remote
from radapt.printable import csv_cell

_ORDER = ("case", "patient", "site", "split", "image", "mask", "label")


def write_cohort(draft: CohortDraft, out: Path | str, *, force: bool = False) -> tuple[Path, Path]:
    """Write `out` (a .yaml) and its table beside it: `cases.csv`, or `<stem>.cases.csv` if `out` is not cohort.yaml.

    Paths are relative to `out`, so the folder can be moved together with its images. Writing the same content again
    changes nothing. What an earlier scan of the same source wrote is overwritten, which `draft.notes` then say;
    UsageError if there is other content, such as files that were edited by hand, unless `force`. Returns both paths.
    """
    out = Path(out)
    if out.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(f"--out is {out}, expected a file such as {out / 'cohort.yaml'}.")
    cases = cases_path(out)
    table = _table_text(_as_known(draft), out.parent)
    texts = {cases: table, out: sealed(_yaml_text(draft, cases.name), table, draft.scanned, out.parent)}
    if any(_holds_other(path, text) for path, text in texts.items()):
        if not force:
            refuse_to_overwrite(out, cases, draft.scanned, table)
        draft.notes.append(overwritten(out, cases))
    try:
        for path, text in texts.items():
            write_text(path, text)
    except OSError as error:
        raise unwritable(error.filename or out, error) from error
    return out, cases


def _holds_other(path: Path, text: str) -> bool:
    return path.exists() and (not path.is_file() or path.read_bytes() != text.encode())


def cases_path(out: Path) -> Path:
    """The path of the table for the cohort file `out`."""
    return out.with_name("cases.csv" if out.stem == "cohort" else f"{out.stem}.cases.csv")


def _yaml_text(draft: CohortDraft, cases: str) -> str:
    content: dict[str, Any] = {"name": draft.name, "kind": draft.kind or "other", "cases": cases}
    if draft.classes:
        content["classes"] = list(draft.classes)
    if draft.ordered:
        content["ordered"] = True
    if draft.mask_labels:
        content["mask_labels"] = {int(key): str(value) for key, value in draft.mask_labels.items()}
    if draft.folds:
        content["split"] = draft.folds.facts
    if draft.source:
        content["source"] = {key: str(value) for key, value in draft.source.items()}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def _table_text(table: pd.DataFrame, folder: Path) -> str:
    columns = sorted(table.columns, key=lambda name: _rank(name.split(":")[0]))
    base = os.path.realpath(folder)
    relative: dict[str, str] = {}
    cells = [
        [_relative(text, base, relative) for text in table[name]] if _is_location(name) else list(table[name])
        for name in columns
    ]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_cell, columns))
    writer.writerows([csv_cell(str(cell)) for cell in row] for row in zip(*cells, strict=True))
    return text.getvalue()


def _as_known(draft: CohortDraft) -> pd.DataFrame:
    """The table with an empty patient where it is the case only because none is known."""
    table = draft.table
    if not draft.patients_unknown or "patient" not in table:
        return table
    known = table["patient"] if draft.patients_unknown < len(table) else pd.Series("", table.index)
    return table.assign(patient=known.where(known != table["case"], "").astype(object))


def _rank(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def _is_location(column: str) -> bool:
    return column in ("image", "mask") or column.startswith("image:")


def _relative(text: str, base: str, folders: dict[str, str]) -> str:
    """`text` relative to `base`; `folders` caches the folders that are done."""
    if not text or is_remote(text):
        return text
    path, mark, inside = text.partition("::")
    folder, name = os.path.split(path)
    if folder not in folders:
        try:
            folders[folder] = Path(os.path.relpath(folder, base)).as_posix()
        except ValueError:  # another drive
            folders[folder] = Path(folder).as_posix()
    here = folders[folder]
    relative = name if here == "." else f"{here}/{name}"
    # A name that a spreadsheet takes for a formula is written as ./name, which every program can open.
    return f"{'./' if csv_cell(relative) != relative else ''}{relative}{mark}{inside}"
