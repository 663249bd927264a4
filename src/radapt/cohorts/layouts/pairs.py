"""images/ with masks/ or an index beside it, matched by file name."""

from pathlib import Path

import pandas as pd

from radapt.cohorts.draft import CohortDraft, ScanOptions
from radapt.cohorts.layouts.classes.folders import IMAGE_FOLDERS
from radapt.cohorts.layouts.image_files import folders_in, images_in, stem
from radapt.cohorts.layouts.mask_names import MASK_WORDS, without_mask_words
from radapt.cohorts.layouts.tables import assign, read_table, tables_in, unlabelled_note
from radapt.errors import DataError, UsageError, counted

_FIRST = ("masks", "mask", "segmentations", "labels")
"""The folders of masks that go first where there are several."""


def recognise(root: Path) -> str | None:
    if not root.is_dir() or (images := _images(root)) is None:
        return None
    index, masks = _index(root), _masks(root)
    if index is None and not masks:
        return None
    names = [f"{index.name}" if index else "", f"{masks.name}/" if masks else ""]
    return f"{images.name}/ with {' and '.join(filter(None, names))}"


def read(root: Path, options: ScanOptions) -> CohortDraft:
    folder = _images(root) or root / "images"
    images = images_in(folder)
    stems = [stem(path.name) for path in images]
    repeated = sorted({name for name in stems if stems.count(name) > 1}) if len(set(stems)) < len(stems) else []
    if repeated:
        raise DataError(f"{folder} holds {repeated[0]!r} with several suffixes; keep one file of each name.")
    table = pd.DataFrame({"case": stems, "image": [str(path) for path in images]}, dtype=object)
    notes: list[str] = []
    if beside := _masks(root):
        masks = {_key(without_mask_words(stem(path.name))): str(path) for path in images_in(beside)}
        table["mask"] = [masks.get(_key(name), "") for name in stems]
        if without := int((table["mask"] == "").sum()):
            notes.append(f"{counted(without, 'image')} without a mask in {beside.name}/.")
    draft = CohortDraft(options.name or root.name, "table", table, notes=notes)
    index = _index(root)
    if options.case:
        raise UsageError(
            f"--case {options.case}: the files in {folder} name the cases. To name them by a column, scan the "
            f"table itself{f': {index}' if index else ''}."
        )
    if index:
        stems_here = {_key(name) for name in stems}
        rows = read_table(
            index,
            notes,
            sheet=options.sheet,
            prefer=lambda sheet: any(
                sum(_key(stem(text)) in stems_here for text in cells) * 2 >= len(stems)
                for cells in sheet.columns.values()
            ),
        )
        draft.rows = _add_index(table, rows, index.name, options, notes)
        draft.source_table = index if draft.rows else None
    return draft


def _add_index(
    table: pd.DataFrame, index: pd.DataFrame, where: str, options: ScanOptions, notes: list[str]
) -> list[int | None]:
    """Join the index to the images by the column that names them; returns the line of each image in it."""
    by_key = {_key(name): at for at, name in enumerate(table["case"])}
    hits = {column: sum(_key(stem(text)) in by_key for text in index[column]) for column in index.columns}
    column = max(hits, key=lambda name: hits[name])
    keys = [_key(stem(text)) for text in index[column]]
    if hits[column] * 2 < len(table) or len(set(keys)) < len(keys):
        notes.append(f"No column of {where} names each image once, so the index is left out.")
        return []
    order = dict(zip(keys, index.index, strict=True))
    matched = [order.get(_key(name)) for name in table["case"]]
    if absent := len(index) - sum(row is not None for row in matched):
        notes.append(f"{counted(absent, 'row')} of {where} left out: no such image.")
    padded = index.reindex(pd.Index([-1 if row is None else row for row in matched])).fillna("")
    assign(table, padded.drop(columns=column).reset_index(drop=True), options, where, notes)
    if (table.get("mask") is not None) and "label" not in table:
        notes[:] = [note for note in notes if note != unlabelled_note(padded.drop(columns=column), where)]
    return matched


def _key(name: str) -> str:
    """A name to match by: `007` and `7` are the same image."""
    plain = name.strip().rsplit("/", 1)[-1]
    return str(int(plain)) if plain.isascii() and plain.isdigit() else plain


def _index(root: Path) -> Path | None:
    tables = tables_in(root)
    named = [path for path in tables if path.stem.lower() in ("index", "labels", "metadata")]
    if any(path.name.lower().startswith(("data_entry_2017", "participants")) for path in tables):
        return None
    return (named or tables)[0] if len(named or tables) == 1 else None


def _images(root: Path) -> Path | None:
    return next((path for path in folders_in(root) if path.name.casefold() in IMAGE_FOLDERS and images_in(path)), None)


def _masks(root: Path) -> Path | None:
    words = {path: path.name.casefold().replace(" ", "").replace("_", "") for path in folders_in(root)}
    beside = [path for path, word in words.items() if word in MASK_WORDS and images_in(path)]
    first = [path for name in _FIRST for path in beside if path.name.casefold() == name]
    return next(iter(first or beside), None)
