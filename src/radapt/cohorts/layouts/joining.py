"""A table of labels joined to the cases of a draft, by ids that may be written differently in the two."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from radapt.cohorts.draft import CohortDraft, ScanOptions
from radapt.cohorts.image_names import is_image, stem, stem_of
from radapt.cohorts.layouts.id_columns import id_column
from radapt.cohorts.layouts.tables import assign, given_column, is_patient_word, label_column, read_table
from radapt.cohorts.patient_key import patient_key
from radapt.cohorts.sheets.reading import NAMED_SUFFIXES
from radapt.errors import DataError, UsageError, counted

_IDENTIFYING = re.compile(
    r"name|birth|geburt|\bdob\b|\bmrn\b|accession|address|adresse|phone|telefon|e-?mail|insurance|versicher|"
    r"\bdate|datum",
    re.IGNORECASE,
)
_DATE = re.compile(r"(19|20)\d\d-?\d\d-?\d\d\b.*|\d{1,2}[./]\d{1,2}[./](19|20)?\d\d")
_BEFORE_NUMBER = re.compile(r"(?<=[^\W\d_])[\s_-]+(?=\d)")
_ROLES = ("site", "patient", "split")
_LISTED = 5


Line = int | str
"""Of a row in its table; in several tables read as one, the name of the table and the line."""


@dataclass(frozen=True)
class LabelTable:
    """The table of --labels, and which of the user's columns are in it."""

    path: Path
    source: pd.DataFrame
    on: str | None
    notes: tuple[str, ...]

    def options(self, options: ScanOptions) -> tuple[ScanOptions, ScanOptions]:
        """The options for the layout, without the columns of this table; and those for this table alone."""
        columns = set(self.source.columns)
        here = {role: name for role in _ROLES if (name := getattr(options, role)) in columns}
        label = tuple(name for name in options.label if name in columns)
        rest = tuple(name for name in options.label if name not in columns)
        own = _with_roles(options, {role: here.get(role) for role in _ROLES}, label)
        others = {role: None if role in here else getattr(options, role) for role in _ROLES}
        return _with_roles(options, others, rest, sheet=None if self.is_workbook else options.sheet), own

    @property
    def is_workbook(self) -> bool:
        return self.path.suffix.lower() in (".xlsx", ".xlsm")


def _with_roles(
    options: ScanOptions, roles: dict[str, str | None], label: tuple[str, ...], *, sheet: str | None = None
) -> ScanOptions:
    return replace(
        options, label=label, site=roles["site"], patient=roles["patient"], split=roles["split"], sheet=sheet
    )


def read_labels(options: ScanOptions) -> LabelTable | None:
    """The table of --labels; None without the option."""
    if options.labels is None:
        if options.on is not None:
            raise UsageError(f"--on {options.on} names a column of the table of labels; give the table with --labels.")
        return None
    if not options.labels.is_file():
        raise UsageError(f"--labels {options.labels} does not exist; expected a table such as clinical.xlsx.")
    if options.labels.suffix.lower() not in NAMED_SUFFIXES:
        raise UsageError(f"--labels {options.labels}: expected a table, one of {', '.join(NAMED_SUFFIXES)}.")
    on, notes = options.on, list[str]()
    workbook = options.labels.suffix.lower() in (".xlsx", ".xlsm")
    source = read_table(
        options.labels,
        notes,
        sheet=options.sheet if workbook else None,
        prefer=lambda sheet: on is not None and on in sheet.columns,
    )
    if on is not None:
        given_column(source, on, "on", options.labels.name)
    return LabelTable(options.labels, source, on, tuple(notes))


def join_labels(draft: CohortDraft, labels: LabelTable, options: ScanOptions) -> None:
    """Join the table to the cases of the draft by patient, case or image. Raises DataError if no row fits any."""
    if draft.originals and options.patient:
        raise UsageError(f"--patient {options.patient}: patients of DICOM files are named by pseudonyms of their ids.")
    draft.notes = [note for note in draft.notes if not note.startswith("No label")]
    draft.notes += labels.notes
    keys = _keys(draft)
    columns = [labels.on] if labels.on is not None else list(labels.source.columns)
    hits = {
        (column, key): sum(bool(text) and join_key(text) in _known(labels.source, column) for text in texts)
        for column in columns
        for key, texts in keys.items()
    }
    # Of columns that name equally many cases, ages perhaps, the one with the most different values holds the ids.
    column, key = max(hits, key=lambda name: (hits[name], labels.source[name[0]].nunique()))
    if hits[column, key]:
        column, key = _clear_column(labels, hits, keys, (column, key))
    else:
        if (numbered := _by_number(labels, keys)) is None:
            raise DataError(_no_match(draft, labels, keys))
        column, key = numbered
        keys[key] = [_number_in(text) for text in keys[key]]
        draft.notes.append(
            f"Ids are matched by their number alone: column {column!r} of {labels.path.name} has no other."
        )
    if key == "image":
        _refuse_shared_names(labels, column, keys[key])
    if labels.on is None:
        draft.notes.append(f"{labels.path.name} is joined on column {column!r}; name another with --on.")
    join(draft, labels.source, labels.path, column, keys[key], options)
    matched = sum(row is not None for row in draft.rows)
    draft.source = {
        **draft.source,
        "labels": f"{labels.path.name}, joined on {column!r} to {matched} of {counted(len(draft.table), 'case')}",
    }


def join(
    draft: CohortDraft, source: pd.DataFrame, path: Path, column: str, keys: Sequence[str], options: ScanOptions
) -> None:
    """Add the columns of `source` to the cases, by the `column` that holds their `keys`; say what has no partner.

    For a draft with pseudonyms, ids are compared but never shown, and columns that identify a patient are left out.
    """
    lines = _lines(source, column, path)
    rows: list[Line | None] = [lines.get(join_key(text)) if text else None for text in keys]
    absent = [case for case, row in zip(draft.table["case"], rows, strict=True) if row is None]
    if absent:
        draft.notes.append(f"{counted(len(absent), 'case')} without a row in {path.name}: {_some(absent)}.")
    used = {join_key(text) for text, row in zip(keys, rows, strict=True) if row is not None}
    unused = [line for line, text in source[column].items() if text.strip() and join_key(text) not in used]
    if unused:
        draft.notes.append(
            f"{counted(len(unused), 'row')} of {path.name} left out: no such patient or case (rows {_some(unused)})."
        )
    _note_spellings(draft, source[column], keys, rows, path)
    padded = source.reindex(pd.Index([-1 if row is None else row for row in rows])).fillna("")
    # The column that names the cases is not metadata; one of patients says who they are, where nothing else does.
    joined = [] if is_patient_word(column) and not _knows_patients(draft) else [column]
    padded = padded.drop(columns=[*joined, *_identifying(draft, source, column, path, options)]).reset_index(drop=True)
    _make_room(draft, padded, options, path)
    assign(draft.table, padded, options, path.name, draft.notes)
    draft.source_table, draft.rows = path, [row if isinstance(row, int) else None for row in rows]


def _knows_patients(draft: CohortDraft) -> bool:
    return bool(draft.originals) or ("patient" in draft.table and bool(draft.table["patient"].str.strip().any()))


def join_key(text: str) -> str:
    """What identifies a case in a table: its id whichever way it is written, or the name of its file.

    Beyond `patient_key`, `Patient_007`, `patient 7` and `Patient-7` are the same.
    """
    name = text.strip()
    if is_image(name):
        name = stem(name.replace("\\", "/").rpartition("/")[2])
    key = patient_key(_BEFORE_NUMBER.sub("", name.casefold().removeprefix("sub-")))
    return key.lstrip("0") or key


def _clear_column(
    labels: LabelTable, hits: dict[tuple[str, str], int], keys: dict[str, list[str]], first: tuple[str, str]
) -> tuple[str, str]:
    """The column and key to join on. Raises DataError if a second column names the cases as well, in other rows."""
    most = labels.source[first[0]].nunique()
    distinct = {name: count for name, count in hits.items() if labels.source[name[0]].nunique() * 10 >= most * 9}
    chosen = id_column(distinct, lambda column, key: rows_of(labels.source, column, keys[key]), first)
    if chosen.rivals:
        raise DataError(f"{labels.path}: {chosen.words()}. Name the right one with --on.")
    return chosen.column, chosen.key


def rows_of(source: pd.DataFrame, column: str, keys: Sequence[str]) -> list[Line | None]:
    """The first line whose `column` holds each of the `keys`; None without one."""
    lines: dict[str, Line] = {}
    for line, text in source[column].items():
        lines.setdefault(join_key(text), line if isinstance(line, str) else int(str(line)))
    return [lines.get(join_key(text)) if text else None for text in keys]


def _by_number(labels: LabelTable, keys: dict[str, list[str]]) -> tuple[str, str] | None:
    """The column of plain numbers that are the only number in most names of patients or cases, each in one of them."""
    columns = [labels.on] if labels.on is not None else []
    for column in columns:
        cells = {join_key(text) for text in labels.source[column] if text.strip()}
        for key in ("patient", "case"):
            names = {text: _number_in(text) for text in keys.get(key, [])}
            numbers = [join_key(number) for number in names.values() if number]
            known = sum(number in cells for number in numbers)
            if cells and all(cell.isdecimal() for cell in cells) and known * 2 > len(names) == len(set(numbers)):
                return column, key
    return None


def _number_in(name: str) -> str:
    """The number in a name that holds one alone, else ''."""
    numbers = re.findall(r"\d+", name)
    return numbers[0] if len(numbers) == 1 else ""


def _refuse_shared_names(labels: LabelTable, column: str, names: Sequence[str]) -> None:
    """Raise DataError if a row of the table fits several images of one name in different folders."""
    known = _known(labels.source, column)
    counts = Counter(key for text in names if text and (key := join_key(text)) in known)
    if shared := [key for key, count in counts.items() if count > 1]:
        raise DataError(
            f"{labels.path}, column {column!r}: {counted(len(shared), 'name')} fit several images, such as "
            f"{shared[0]!r}, which fits {counts[shared[0]]}. Join on the patient or the case with --on."
        )


def _keys(draft: CohortDraft) -> dict[str, list[str]]:
    """What a table may call each case: its patient, itself, or its first image."""
    table = draft.table
    keys = {}
    if "patient" in table:
        keys["patient"] = [draft.originals.get(text, "" if draft.originals else text) for text in table["patient"]]
    keys["case"] = list(table["case"])
    keys["image"] = [stem_of(text) for text in draft.first_images]
    return keys


def _known(source: pd.DataFrame, column: str) -> set[str]:
    return {join_key(text) for text in source[column] if text.strip()}


def _lines(source: pd.DataFrame, column: str, path: Path) -> dict[str, Line]:
    """Key → line of its row. Raises DataError if an id has several rows that differ."""
    lines: dict[str, list[Line]] = defaultdict(list)
    for line, text in source[column].items():
        if text.strip():
            lines[join_key(text)].append(line if isinstance(line, str) else int(str(line)))
    others = source.drop(columns=column)
    several = [where for where in lines.values() if len(where) > 1 and len(others.loc[where].drop_duplicates()) > 1]
    if several:
        raise DataError(
            f"{path}: {counted(len(several), 'id')} in column {column!r} with several rows that differ, such as rows "
            f"{_some(several[0])}. Keep one row for each, or join on a column that tells them apart with --on."
        )
    return {key: where[0] for key, where in lines.items()}


def _note_spellings(
    draft: CohortDraft, cells: pd.Series, keys: Sequence[str], rows: Sequence[Line | None], path: Path
) -> None:
    pairs = {(text, str(cells.loc[row])) for text, row in zip(keys, rows, strict=True) if row is not None}
    differ = sorted((text, cell) for text, cell in pairs if text != cell.strip() and text != stem_of(cell.strip()))
    if differ:
        such = "" if draft.originals else f", such as {differ[0][0]!r} and {differ[0][1]!r}"
        draft.notes.append(
            f"{counted(len(differ), 'id')} of {path.name} matched although written differently{such}: letter case, "
            "blanks, leading zeros and '.0' do not count."
        )


def _identifying(draft: CohortDraft, source: pd.DataFrame, column: str, path: Path, options: ScanOptions) -> list[str]:
    """The columns that would undo the pseudonyms of the draft, or hold dates; not those that the user names."""
    if not draft.originals:
        return []
    ids = {patient_key(text) for text in draft.originals.values()}
    wanted = {column, *options.label, options.site, options.split}
    named = [
        name
        for name in source.columns
        if name not in wanted
        and (
            _IDENTIFYING.search(name.replace("_", " "))
            or sum(patient_key(text) in ids or bool(_DATE.fullmatch(text)) for text in source[name]) * 2 > len(source)
        )
    ]
    if named:
        draft.notes.append(f"Columns of {path.name} that may identify patients left out: {', '.join(named)}.")
    return named


def _make_room(draft: CohortDraft, source: pd.DataFrame, options: ScanOptions, path: Path) -> None:
    """Drop what the table replaces: empty columns, roles that the user names, and labels if the table has some."""
    table = draft.table
    empty = [role for role in _ROLES if role in table and not table[role].str.strip().any()]
    named = [role for role in _ROLES if role in table and getattr(options, role)]
    draft.table = table.drop(columns=sorted({*empty, *named}))
    if "label" not in table:
        return
    if options.labels is not None and (options.label or label_column(source)):
        draft.table = draft.table.rename(columns={"label": "original_label"})
        draft.classes = ()
        draft.notes.append(f"Labels come from {path.name}; those that the data had are kept as 'original_label'.")
    else:
        draft.notes.append("Labels are the folders of the classes; those of the table are metadata.")


def _no_match(draft: CohortDraft, labels: LabelTable, keys: dict[str, list[str]]) -> str:
    one = f"Column {labels.on!r} of {labels.path}", "names no patient and no case"
    where, what = one if labels.on is not None else (f"No column of {labels.path}", "names patients or cases")
    theirs = next((text for text in labels.source[labels.on or labels.source.columns[0]] if text.strip()), "")
    ours = next((text for texts in keys.values() for text in texts if text), "")
    shown = (_shape(theirs), _shape(ours)) if draft.originals else (repr(theirs), repr(ours))
    form = "of the form" if draft.originals else "such as"
    return f"{where}, {form} {shown[0]}, {what} of the data, {form} {shown[1]}. Name the column that does with --on."


def _shape(text: str) -> str:
    """The form of an id without the id: `AB-123` → `AA-999`."""
    return re.sub(r"\d", "9", re.sub(r"[^\W\d_]", "A", text))


def _some(things: Sequence[object]) -> str:
    return ", ".join(str(thing) for thing in things[:_LISTED]) + (", …" if len(things) > _LISTED else "")
