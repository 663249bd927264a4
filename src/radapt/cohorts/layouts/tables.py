"""Tables that come with a data set, and their columns for label, site, split and patient."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from radapt.cohorts.columns import RESERVED, near_reserved
from radapt.cohorts.draft import ScanOptions
from radapt.cohorts.issue import raise_errors
from radapt.cohorts.labels import is_missing, missing_label, spelt_alike
from radapt.cohorts.layouts.classes.folders import SPLIT_FOLDERS
from radapt.cohorts.layouts.image_files import files_in
from radapt.cohorts.sheets.reading import TABLE_SUFFIXES, Prefer, read_sheet
from radapt.errors import DataError, UsageError, counted, suggest

LABEL_WORDS = ("label", "diagnosis", "dx", "class", "group", "target", "diagnose", "klasse", "gruppe")
PATIENT_WORDS = (
    "patient", "patient_id", "patientid", "subject", "subject_id", "participant", "participant_id", "pat_id", "patid",
    "pat", "pat_nr", "patnr", "patient_nr", "patientennummer", "patienten_id", "pid",
)  # fmt: skip
_MOST_CLASSES = 20
_FLOAT_ID = re.compile(r"\d+\.0+")


def tables_in(folder: Path) -> list[Path]:
    """The tables directly in `folder`, without those that radapt writes beside a cohort.yaml."""
    files = [path for path in files_in(folder) if path.suffix.lower() in TABLE_SUFFIXES]
    own = {"cases.csv"} if (folder / "cohort.yaml").is_file() else set()
    # Excel keeps a lock file ~$name.xlsx beside a workbook that is open.
    written = (".cases.csv", ".splits.csv")
    return [path for path in files if path.name not in own and not path.name.endswith(written) and path.name[0] != "~"]


def read_table(
    path: Path, notes: list[str] | None = None, *, sheet: str | None = None, prefer: Prefer | None = None
) -> pd.DataFrame:
    """A table as text, indexed by the line of each row. Raises a DataError that lists all errors of its format.

    `sheet` names the sheet of a workbook; otherwise it is the only one, or the only one that `prefer` accepts. `notes`
    gains what is not plain in the table: its separator, encoding, decimal commas, what a spreadsheet has changed.
    """
    found, problems = read_sheet(path, sheet, prefer)
    if any(problem.code == "no-sheet" for problem in problems):
        raise UsageError(f"--sheet {sheet}: {problems[-1]}")
    raise_errors(problems, f"Table {path}")
    if found is None:
        raise DataError(f"Table {path} cannot be read.")
    if notes is not None:
        notes += [f"{path.name}: {note}" for note in found.notes]
    return pd.DataFrame(found.columns, index=found.rows, dtype=object)


def left_out_note(tables: Sequence[Path]) -> list[str]:
    """A note on tables that were not read; [] without one."""
    return [f"Other tables left out: {', '.join(path.name for path in tables)}."] if tables else []


def given_column(table: pd.DataFrame, name: str, option: str, where: str) -> str:
    """The column that the user names. Raises UsageError if it does not exist."""
    if name not in table.columns:
        raise UsageError(f"--{option} {name}: {where} has no such column. {suggest(name, list(table.columns))}")
    return name


def assign(table: pd.DataFrame, source: pd.DataFrame, options: ScanOptions, where: str, notes: list[str]) -> None:
    """Copy the columns for label, site, split and patient from `source`, row by row; the others become metadata.

    The options name the columns; otherwise columns of the usual names are used. Metadata columns whose names could be
    mistaken for reserved ones are renamed.
    """
    used: set[str] = set()

    def copy(role: str, option: str | None, words: Iterable[str]) -> None:
        column = given_column(source, option, role, where) if option else column_called(source.columns, words)
        if column is None or role in table.columns:
            return
        if role == "label":
            table[role] = _label(source[column], where, notes)
        elif role == "patient":
            table[role] = whole_ids(cleaned(source[column]), where, notes)
        else:
            table[role] = cleaned(source[column])
        used.add(column)
        if not option and column != role:
            notes.append(f"Column {column!r} of {where} is read as the {role}.")

    findings = [name for name in source.columns if name.startswith("label:")]
    if findings and not options.label and "label" not in table.columns:
        table[findings] = source[findings]
        used |= {*findings, *(name for name in source.columns if name == "label")}
    elif len(options.label) > 1:
        for name in options.label:
            column = given_column(source, name, "label", where)
            table[f"label:{column}"] = _label(source[column], where, notes)
            used.add(column)
    else:
        copy("label", next(iter(options.label), None), LABEL_WORDS)
    copy("site", options.site, ("site",))
    copy("split", options.split, ("split",))
    copy("patient", options.patient, PATIENT_WORDS)
    if "split" not in table.columns and not options.redraw:
        _note_split_like(source.drop(columns=sorted(used)), where, notes)
    add_metadata(table, source.drop(columns=sorted(used)))
    if not any(name == "label" or name.startswith("label:") for name in table.columns):
        notes.append(unlabelled_note(source.drop(columns=sorted(used)), where))


def add_metadata(table: pd.DataFrame, source: pd.DataFrame) -> None:
    """Keep the columns of `source` as metadata, under names that cannot be mistaken for reserved ones."""
    for column in source.columns:
        name = column.replace(":", "_")
        if name in RESERVED or near_reserved(name) or name in table.columns:
            name = f"original_{name}"
        table[name] = source[column]


def unlabelled_note(source: pd.DataFrame, where: str) -> str:
    candidates = [
        f"{name} ({counted(count, 'value')})"
        for name in source.columns
        if 2 <= (count := cleaned(source[name]).replace("", None).nunique()) <= _MOST_CLASSES
    ]
    hint = f" Columns of {where} that could be: {', '.join(candidates)}." if candidates else ""
    return f"No label: choose a column with --label.{hint}"


def _label(column: pd.Series, where: str, notes: list[str]) -> pd.Series:
    """A column of labels without words for missing values, and with one spelling of each class; both are said."""
    plain = cleaned(column)
    given = column.fillna("").astype(str).str.strip()
    if missing := given[(plain == "") & (given != "")].value_counts().to_dict():
        notes.append(
            f"{where}, {column.name!r}: {missing_label({str(word): count for word, count in missing.items()})[0]}"
        )
    for names in spelt_alike([name for name in plain.unique() if name]):
        usual = max(names, key=lambda name: int((plain == name).sum()))
        notes.append(f"{where}, {column.name!r}: {', '.join(map(repr, sorted(names)))} read as one label, {usual!r}.")
        plain = plain.where(~plain.isin(names), usual)
    return plain


def whole_ids(column: pd.Series, where: str, notes: list[str]) -> pd.Series:
    """Ids without the `.0` that a program has added to each of them by taking them for numbers."""
    given = column[column != ""]
    if given.empty or not given.map(lambda text: bool(_FLOAT_ID.fullmatch(text))).all():
        return column
    notes.append(f"{where}, {column.name!r}: ids such as {given.iloc[0]!r} are read without the '.0'.")
    return column.str.partition(".")[0].astype(object)


def cleaned(column: pd.Series) -> pd.Series:
    """Text without surrounding blanks; 'n/a', 'NaN' and similar values become ''."""
    plain = column.fillna("").astype(str).str.strip()
    return plain.where(~plain.map(is_missing), "").astype(object)


def column_called(columns: Iterable[str], words: Iterable[str]) -> str | None:
    """The first column that is called by the first of the words that one has, however it is written; None for none."""
    folded: dict[str, str] = {}
    for name in columns:
        folded.setdefault(_folded(name), name)
    return next((folded[word] for word in words if word in folded), None)


def _note_split_like(source: pd.DataFrame, where: str, notes: list[str]) -> None:
    """Add a note on the first column whose values all are words for splits, of two or more kinds."""
    for name in source.columns:
        given = sorted({word for word in cleaned(source[name]) if word})
        splits = {SPLIT_FOLDERS.get(word.casefold(), "") for word in given}
        if len(splits) > 1 and "" not in splits:
            notes.append(
                f"Column {name!r} of {where} is not read as the split, though it holds {', '.join(given)}: "
                f"add --split {name}."
            )
            return


def label_column(source: pd.DataFrame) -> str | None:
    """The column that is read as the label unless the user names one."""
    return column_called(source.columns, LABEL_WORDS)


def has_label(columns: Iterable[str]) -> bool:
    """Whether a table of these columns has labels without --label."""
    return any(name.startswith("label:") or _folded(name) in LABEL_WORDS for name in columns)


def is_patient_word(name: str) -> bool:
    """Whether a column of this name holds the patient unless the user says otherwise."""
    return _folded(name) in PATIENT_WORDS


def _folded(name: str) -> str:
    """A name in lower case with single `_` for blanks and marks: `Pat.-Nr.` → `pat_nr`."""
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")
