"""A table with a column of image paths, or an existing cohort.

Label, site, split and patient come from columns of those names, or from those that the user names.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from radapt.cohorts.cohort_file import read_config
from radapt.cohorts.draft import CohortDraft, ScanOptions, first_of_each
from radapt.cohorts.image_names import stem_of
from radapt.cohorts.layouts.classes.folders import are_classes, image_folders
from radapt.cohorts.layouts.columns_of_images import ImageColumn, image_columns, refuse_header, refuse_rivals
from radapt.cohorts.layouts.image_files import files_in, unique
from radapt.cohorts.layouts.image_finder import ImageFinder
from radapt.cohorts.layouts.layout import ROLES, Layout
from radapt.cohorts.layouts.names import kind_of
from radapt.cohorts.layouts.pairs.layout import beside_table
from radapt.cohorts.layouts.split_tables import read_tables_of_splits, refuse_nothing_shared, tables_of_splits
from radapt.cohorts.layouts.tables import (
    assign,
    cleaned,
    given_column,
    has_label,
    left_out_note,
    read_table,
    tables_in,
    whole_ids,
)
from radapt.cohorts.sheets.reading import NAMED_SUFFIXES, peek_sheet
from radapt.errors import DataError, counted

_COHORT_FILES = ("cohort.yaml", "cohort.yml", "cases.csv", "cases.parquet")
_OTHERS = ("participants.tsv", "bbox_list", "data_entry_2017")
"""Tables that belong to other layouts."""


def recognise(root: Path) -> str | None:
    if root.is_file():
        if root.suffix.lower() in (".yaml", ".yml"):
            return "a cohort file"
        return "a table" if _is_table(root) else None
    if beside_table(root):
        return None
    tables = _tables_of_images(root)
    if len(tables) == 1:
        return f"{tables[0].name} with a column of images"
    splits = tables_of_splits(tables)
    return f"{' and '.join(path.name for path in splits)} with a column of images" if splits else None


def _tables_of_images(root: Path) -> list[Path]:
    finder = ImageFinder(root)

    def names_images(columns: Mapping[str, Sequence[str]]) -> bool:
        return bool(image_columns(columns, finder))

    @cache
    def in_classes() -> bool:
        """Whether folders give the labels, so that a table without any only adds to them."""
        return are_classes(image_folders(root))

    tables = []
    for path in tables_in(root):
        sheet = peek_sheet(path, lambda sheet: names_images(sheet.columns)) if _is_table(path) else None
        if sheet is not None and names_images(sheet.columns) and (has_label(sheet.columns) or not in_classes()):
            tables.append(path)
    return tables or _lists_of_images(root, finder)


def _lists_of_images(root: Path, finder: ImageFinder) -> list[Path]:
    """The text files whose lines name an image and something else about it, such as `1.png 0`."""
    lists = []
    for path in (path for path in files_in(root) if path.suffix.lower() == ".txt" and _is_table(path)):
        sheet = peek_sheet(path)
        images = image_columns(sheet.columns, finder) if sheet is not None else []
        if sheet is not None and len(images) == 1 and images[0].role == "image" and len(sheet.columns) > 1:
            lists.append(path)
    return lists


def loosely_named(root: Path) -> Path | None:
    """The only table in a folder whose names of images are written differently, as `7` for `007.png`."""
    finder = ImageFinder(root)

    def names_images(columns: Mapping[str, Sequence[str]]) -> bool:
        return bool(image_columns(columns, finder, tolerant=True))

    found = [
        path
        for path in tables_in(root)
        if _is_table(path)
        and (sheet := peek_sheet(path, lambda sheet: names_images(sheet.columns))) is not None
        and names_images(sheet.columns)
    ]
    return found[0] if len(found) == 1 else None


def cohort_file(root: Path) -> Path | None:
    """The cohort file or table that a folder already holds."""
    return next((root / name for name in _COHORT_FILES if (root / name).is_file()), None)


def read(root: Path, options: ScanOptions) -> CohortDraft:
    if root.is_dir():
        return _read_folder(root, options)
    if root.suffix.lower() in (".yaml", ".yml"):
        return _read_cohort(root, options)
    draft, beside = _read_file(root, options), tables_of_splits(tables_in(root.parent))
    if root in beside and "split" not in draft.table:
        others = ", ".join(path.name for path in beside if path != root)
        draft.notes.append(
            f"{others} beside {root.name} left out: scan the folder to read each as the split of its name."
        )
    return draft


def _read_folder(root: Path, options: ScanOptions) -> CohortDraft:
    tables = _tables_of_images(root)
    splits = tables_of_splits(tables)
    if len(tables) != 1 and not splits:
        named = f": {', '.join(path.name for path in tables)}" if tables else ""
        raise DataError(f"{root} holds {len(tables)} tables that name images{named}. Name the one to scan.")
    draft = _read_splits(splits, options) if splits else _read_file(tables[0], options)
    draft.notes += left_out_note([path for path in tables_in(root) if path not in (splits or tables)])
    return draft


def _read_cohort(path: Path, options: ScanOptions) -> CohortDraft:
    config = read_config(path)
    draft = _read_file(config.cases, options)
    draft.name, draft.kind = options.name or config.name, config.kind
    draft.classes, draft.ordered = (() if options.label else config.classes), config.ordered
    draft.mask_labels, draft.source = config.mask_labels, config.source
    return draft


def _read_file(path: Path, options: ScanOptions) -> CohortDraft:
    notes: list[str] = []
    finder = ImageFinder(path.parent)
    source = read_table(
        path,
        notes,
        sheet=options.sheet,
        prefer=lambda sheet: bool(image_columns(sheet.columns, finder, tolerant=True)),
    )
    draft = _draft_of(source, path, finder, options, notes)
    draft.source_table = path
    return draft


def _read_splits(splits: Mapping[Path, str], options: ScanOptions) -> CohortDraft:
    """The cohort of tables of one split each, named after their folder."""
    notes: list[str] = []
    source, path = read_tables_of_splits(splits, options, notes)
    finder = ImageFinder(path.parent)
    columns = {name: list(source[name]) for name in source.columns}
    refuse_nothing_shared(splits, [image.name for image in image_columns(columns, finder, tolerant=True)], "images")
    draft = _draft_of(source, path, finder, options, notes)
    draft.name, draft.rows = options.name or path.parent.name, []  # a line says nothing without its table
    return draft


def _draft_of(
    source: pd.DataFrame, path: Path, finder: ImageFinder, options: ScanOptions, notes: list[str]
) -> CohortDraft:
    """The cohort of the rows of a table; `path` names it in messages, and finds its folder."""
    columns = {name: list(source[name]) for name in source.columns}
    images = image_columns(columns, finder, tolerant=True)
    if not images:
        raise DataError(
            f"Table {path} has no column that names images: neither paths relative to the table, nor names of files "
            f"below {path.parent}. Its columns: {', '.join(source.columns)}."
        )
    for image in images:
        refuse_header(image, columns[image.name], finder, path)
    if len(images) == 1 and images[0].name != images[0].role:
        refuse_rivals(images[0], columns, finder, path)
    table = pd.DataFrame(index=source.index)
    for image in images:
        _add_images(table, source, image, finder, path, notes)
    source, table = _with_images(source, table, path, notes)
    _name_cases(table, source, options, path, notes)
    named = (*options.label, options.site, options.patient, options.split)
    taken = [image.name for image in images if image.name not in named and not image.is_patient]
    taken += ["case"] if "case" in source.columns else []
    assign(table, source.drop(columns=taken), options, path.name, notes)
    _note_shared(table, path, notes)
    rows: list[int | None] = list(table.index)
    name = options.name or path.stem
    draft = CohortDraft(name, "table", table.reset_index(drop=True), notes=notes, rows=rows)
    draft.kind = kind_of(column.removeprefix("image:") for column in draft.modalities)
    return draft


def _add_images(
    table: pd.DataFrame, source: pd.DataFrame, image: ImageColumn, finder: ImageFinder, path: Path, notes: list[str]
) -> None:
    found = finder.find(list(cleaned(source[image.name])), image.name, list(source.index), masks=image.role == "mask")
    table[image.role] = found.locations
    if image.role != image.name:
        notes.append(f"Column {image.name!r} of {path.name} is read as {image.role!r}.")
    if found.by_name:
        notes.append(
            f"{counted(found.by_name, 'file')} of column {image.name!r} found by name below {path.parent.name}/."
        )
    if found.by_key:
        notes.append(
            f"{counted(found.by_key, 'name')} in column {image.name!r} written differently than the file's, in letter "
            "case, leading zeros or '.0'."
        )
    if found.absent:
        first = found.absent[0]
        notes.append(
            f"{counted(len(found.absent), 'file')} of column {image.name!r} left out: no such file, such as "
            f"{source[image.name].iloc[first].strip()!r} in row {source.index[first]}."
        )


def _with_images(
    source: pd.DataFrame, table: pd.DataFrame, path: Path, notes: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows with an image. Raises DataError if there is none."""
    images = [name for name in table.columns if name != "mask"]
    has = (table[images] != "").any(axis=1)
    if not has.any():
        raise DataError(f"Table {path}: none of the images in its {counted(len(table), 'row')} exists. {notes[-1]}")
    if without := int((~has).sum()):
        notes.append(f"{counted(without, 'row')} of {path.name} without an image left out.")
    return source[has], table[has].copy()


def _note_shared(table: pd.DataFrame, path: Path, notes: list[str]) -> None:
    """Add a note on images that several rows name: each row is a case."""
    images = [name for name in table.columns if name == "image" or name.startswith("image:")]
    again = table[table.duplicated(images, keep=False)]
    if again.empty:
        return
    labels = [name for name in table.columns if name == "label" or name.startswith("label:")]
    groups = again.groupby(images, sort=False)
    differ = sum(len(rows[labels].drop_duplicates()) > 1 for _, rows in groups) if labels else 0
    first = ", ".join(str(line) for line in next(iter(groups))[1].index[:3])
    apart = f", {differ} of them with labels that differ" if differ else ""
    notes.append(
        f"{counted(groups.ngroups, 'image')} in several rows of {path.name}{apart}, such as rows {first}: each row is "
        "a case. Keep one row of each."
    )


def _name_cases(table: pd.DataFrame, source: pd.DataFrame, options: ScanOptions, path: Path, notes: list[str]) -> None:
    """Name cases by the column that the user names, by `case`, or by the first image that each has."""
    column = given_column(source, options.case, "case", path.name) if options.case else "case"
    if column in source.columns:
        table.insert(0, "case", whole_ids(source[column].str.strip(), path.name, notes))
        if (empty := table["case"] == "").any():
            row = table.index[int(empty.to_numpy().argmax())]
            raise DataError(f"{path}, row {row}: the case in column {column!r} is empty. Name every case.")
        return
    first = first_of_each([table[name] for name in table.columns if name != "mask"])
    table.insert(0, "case", unique(stem_of(text) for text in first))


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in NAMED_SUFFIXES and not path.name.lower().startswith(_OTHERS)


LAYOUT = Layout(
    "table",
    "a table with a column of images",
    recognise,
    read,
    columns=(*ROLES, "case", "sheet"),
)
