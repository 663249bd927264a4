"""A table with a column of image paths, an existing cohort, or a folder images/ with an index.

Label, site, split and patient come from columns of those names, or from those that the user names.
"""

import csv
from itertools import islice
from pathlib import Path

import pandas as pd

from radapt.cohorts.cohort_file import read_config
from radapt.cohorts.draft import CohortDraft, ScanOptions
from radapt.cohorts.layouts import pairs
from radapt.cohorts.layouts.image_files import is_image, stem_of, unique
from radapt.cohorts.layouts.layout import ROLES, Layout
from radapt.cohorts.layouts.tables import TABLE_SUFFIXES, assign, read_table, tables_in
from radapt.errors import DataError

_COHORT_FILES = ("cohort.yaml", "cohort.yml", "cases.csv", "cases.parquet")
_OTHERS = ("participants.tsv", "bbox_list", "data_entry_2017")
"""Tables that belong to other layouts."""
_PEEKED = 50
_MASK_WORDS = ("mask", "seg")


def recognise(root: Path) -> str | None:
    if root.is_file():
        if root.suffix.lower() in (".yaml", ".yml"):
            return "a cohort file"
        return "a table" if _is_table(root) else None
    if saw := pairs.recognise(root):
        return saw
    tables = [path for path in tables_in(root) if _is_table(path) and _image_columns(_peek(path), root)]
    return f"{tables[0].name} with a column of image paths" if len(tables) == 1 else None


def cohort_file(root: Path) -> Path | None:
    """The cohort file or table that a folder already holds."""
    return next((root / name for name in _COHORT_FILES if (root / name).is_file()), None)


def read(root: Path, options: ScanOptions) -> CohortDraft:
    if root.is_dir():
        if pairs.recognise(root):
            return pairs.read(root, options)
        tables = [path for path in tables_in(root) if _is_table(path) and _image_columns(_peek(path), root)]
        if len(tables) != 1:
            named = f": {', '.join(path.name for path in tables)}" if tables else ""
            raise DataError(f"{root} holds {len(tables)} tables with image paths{named}. Name the one to scan.")
        root = tables[0]
    return _read_cohort(root, options) if root.suffix.lower() in (".yaml", ".yml") else _read_file(root, options)


def _read_cohort(path: Path, options: ScanOptions) -> CohortDraft:
    config = read_config(path)
    draft = _read_file(config.cases, options)
    draft.name, draft.kind = options.name or config.name, config.kind
    draft.classes, draft.ordered = (() if options.label else config.classes), config.ordered
    draft.mask_labels, draft.source = config.mask_labels, config.source
    return draft


def _read_file(path: Path, options: ScanOptions) -> CohortDraft:
    source = read_table(path)
    images = _image_columns(source, path.parent)
    if not images:
        columns = ", ".join(source.columns)
        raise DataError(f"Table {path} has no column of paths to images that exist. Its columns: {columns}.")
    table = pd.DataFrame(index=source.index)
    notes: list[str] = []
    for column, (role, folder) in images.items():
        table[role] = [str(Path(folder, text)) if text.strip() else "" for text in source[column]]
        if role != column:
            notes.append(f"Column {column!r} of {path.name} is read as {role!r}.")
    taken = list(images)
    if "case" in source.columns:
        table.insert(0, "case", source["case"].str.strip())
        taken.append("case")
    else:
        first = next(role for role, _ in images.values() if role != "mask")
        table.insert(0, "case", unique(stem_of(text) for text in table[first]))
    for column in source.columns:
        if column.startswith("label:") and not options.label:
            table[column] = source[column]
            taken.append(column)
    if any(name.startswith("label:") for name in table.columns) and not options.label:
        rest = source.drop(columns=taken)
        labels = [name for name in rest.columns if name == "label"]
        assign(table, rest.drop(columns=labels), options, path.name, notes)
    else:
        assign(table, source.drop(columns=taken), options, path.name, notes)
    rows: list[int | None] = list(table.index)
    table = table.reset_index(drop=True)
    return CohortDraft(options.name or path.stem, "table", table, notes=notes, source_table=path, rows=rows)


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in TABLE_SUFFIXES and not path.name.lower().startswith(_OTHERS)


def _peek(path: Path) -> pd.DataFrame:
    """The first rows of a table, enough to recognise it; empty if the file is not a table."""
    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path).head(_PEEKED).astype(str)
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
            rows = [row for row in islice(csv.reader(file, delimiter=delimiter), _PEEKED + 1) if row]
    except (OSError, ValueError, csv.Error):
        return pd.DataFrame()
    header = rows[0] if rows else []
    records = [row for row in rows[1:] if len(row) == len(header)]
    return pd.DataFrame(records, columns=unique(header), dtype=object) if records else pd.DataFrame()


def _image_columns(table: pd.DataFrame, base: Path) -> dict[str, tuple[str, str]]:
    """Column → (`image`, `image:<name>` or `mask`, the folder that its paths are relative to)."""
    contract = {
        name: (name, str(base))
        for name in table.columns
        if name in ("image", "mask") or (name.startswith("image:") and len(name) > len("image:"))
    }
    if any(name != "mask" for name in contract):
        return contract
    folders = {name: folder for name in table.columns if (folder := _folder_of(table[name], base))}
    masks = [name for name in folders if any(word in name.lower() for word in _MASK_WORDS)]
    images = [name for name in folders if name not in masks]
    if not images:
        return {}
    roles = {name: "image" if len(images) == 1 else f"image:{name.replace(':', '-')}" for name in images}
    roles |= dict.fromkeys(masks[:1], "mask")
    return {name: (role, folders[name]) for name, role in roles.items()}


def _folder_of(column: pd.Series, base: Path) -> str | None:
    """The folder relative to which most of the column's first cells are files; None if they are not paths."""
    cells = [text for text in column.astype(str).head(_PEEKED) if text.strip()]
    # A word such as `T1` may also name a folder; a path has a suffix or a separator.
    paths = [text for text in cells if "/" in text or "::" in text or is_image(Path(text).name)]
    if not cells or len(paths) < len(cells):
        return None
    for folder in (base, base / "images", base.parent):
        existing = sum((folder / text.partition("::")[0]).exists() for text in cells)
        if existing * 2 >= len(cells):
            return str(folder)
    return None


LAYOUT = Layout(
    "table", "a table with a column of image paths, or images/ with an index", recognise, read, columns=ROLES
)
