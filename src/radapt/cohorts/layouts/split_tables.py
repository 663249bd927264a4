"""train.csv beside test.csv: tables of one split each, which are read as one."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from radapt.cohorts.draft import ScanOptions
from radapt.cohorts.layouts.classes.folders import SPLIT_FOLDERS
from radapt.cohorts.layouts.tables import LABEL_WORDS, PATIENT_WORDS, column_called, read_table
from radapt.errors import DataError


def tables_of_splits(tables: Iterable[Path]) -> dict[Path, str]:
    """Tables whose names say of which split their rows are, such as train.csv and test.csv, and the split of each.

    {} unless two or more tables name different splits and have a column in common; each may lack others, such as the
    label.
    """
    splits = {path: word for path in tables if (word := _split_in(path.stem)) is not None}
    if len(splits) < 2 or len(set(splits.values())) < len(splits):
        return {}
    try:
        columns = [{name.casefold() for name in read_table(path).columns} for path in splits]
    except DataError:
        return {}
    return splits if set.intersection(*columns) else {}


def _split_in(name: str) -> str | None:
    """The split that one word of a name says, None for no word or several."""
    words = [SPLIT_FOLDERS[word] for word in re.split(r"[\W_]+", name.casefold()) if word in SPLIT_FOLDERS]
    return words[0] if len(words) == 1 else None


def read_tables_of_splits(
    splits: Mapping[Path, str], options: ScanOptions, notes: list[str]
) -> tuple[pd.DataFrame, Path]:
    """Tables as one, with a column `split` unless there is one or the user names one, and a path for its messages.

    Rows are indexed by the name of their table and their line in it. Columns whose names differ in letter case alone
    are one. Raises DataError if tables name the label or the patient differently: one of the two would be lost.
    """
    tables: dict[str, pd.DataFrame] = {}
    spelling: dict[str, str] = {}
    given = bool(options.split)
    for path, word in splits.items():
        table = read_table(path, notes, sheet=options.sheet)
        table.index = pd.Index([f"{path.name}:{line}" for line in table.index], dtype=object)
        table = _spelt_as(spelling, table)
        spelling = {name.casefold(): name for name in table.columns} | spelling
        own = column_called(table.columns, ("split",)) is not None
        given = given or own
        tables[path.name] = table if options.split or own else table.assign(split=word)
    names = " and ".join(tables)
    notes.append(f"{names} are read as one table{'' if given else ', each of which gives the split of its rows'}.")
    source = pd.concat(tables.values()).fillna("")
    for role, option, words in (("label", options.label, LABEL_WORDS), ("patient", options.patient, PATIENT_WORDS)):
        if not option:
            _refuse_other_names(role, column_called(source.columns, words), tables, words)
    return source, next(iter(splits)).with_name(names)


def _spelt_as(spelling: Mapping[str, str], table: pd.DataFrame) -> pd.DataFrame:
    """The table with the spelling of earlier ones, except of columns that differ in letter case from one another."""
    names = [str(name) for name in table.columns]
    folded = Counter(name.casefold() for name in names)
    return table.set_axis([spelling.get(n.casefold(), n) if folded[n.casefold()] == 1 else n for n in names], axis=1)


def _refuse_other_names(
    role: str, column: str | None, tables: Mapping[str, pd.DataFrame], words: Sequence[str]
) -> None:
    """Raise DataError if a table without the `column` that is read as the role has another one for it."""
    having = [name for name, table in tables.items() if column in table.columns]
    for name, table in tables.items():
        own = column_called(table.columns, words)
        if own and name not in having and not any(own in tables[other].columns for other in having):
            raise DataError(
                f"{name} names the {role} {own!r} and {having[0]} {column!r}; expected one name in tables of splits. "
                f"Rename one of the columns, or name the one to read with --{role}."
            )


def refuse_nothing_shared(splits: Iterable[Path], columns: Collection[str], what: str) -> None:
    """Raise DataError unless one of the `columns` that name the images or cases is in all tables."""
    known = {name.casefold(): name for name in columns}
    having = {path.name: {name.casefold() for name in read_table(path).columns} & set(known) for path in splits}
    if not set.intersection(*having.values()):
        ways = ", ".join(
            f"{path} by {' and '.join(repr(known[name]) for name in sorted(names)) or 'none of its columns'}"
            for path, names in having.items()
        )
        raise DataError(
            f"Tables of splits name the {what} by different columns: {ways}. Give the column one name in all of them."
        )
