"""The private table of patient ids: which pseudonym stands for which id of a DICOM header."""

import csv
import io
from pathlib import Path

from radapt.cohorts.draft import CohortDraft
from radapt.durable import write_private_text
from radapt.errors import DataError, UsageError, unwritable
from radapt.printable import csv_cell, from_csv_cell

_HEADER = ["patient", "original"]


def id_table(draft: CohortDraft, path: Path, *, force: bool = False) -> str:
    """The text of the table for `path`. Raises UsageError if there are no pseudonyms, or if ids would be lost.

    An earlier table at `path` may be replaced if all its ids are in the new one.
    """
    if not draft.originals:
        raise UsageError(
            f"--id-table {path}: the layout {draft.layout!r} found no ids that became pseudonyms, so there is no table."
        )
    ids = sorted((name, draft.originals[name]) for name in set(draft.table["patient"]) & set(draft.originals))
    if path.exists() and not force and not _rows(path) <= set(ids):
        raise UsageError(
            f"{path} exists and is not an earlier table of these ids. Choose another --id-table, or give --force."
        )
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    writer.writerows([csv_cell(cell) for cell in row] for row in ids)
    return text.getvalue()


def write_id_table(text: str, path: Path, out: Path) -> list[str]:
    """Write the table so that only its owner can read it; returns a note if it lies where the cohort is shared from."""
    try:
        write_private_text(path, text)
    except OSError as error:
        raise unwritable(path, error) from error
    inside = path.resolve().is_relative_to(out.resolve().parent)
    return [f"{path} lies in the folder of the cohort. Move it before you share that folder."] if inside else []


def _rows(path: Path) -> set[tuple[str, str]]:
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not an earlier table of ids: {error}.") from error
    if rows[:1] != [_HEADER]:
        return {("", "")}
    return {(row[0], from_csv_cell(row[1])) for row in rows[1:] if len(row) == len(_HEADER)}
