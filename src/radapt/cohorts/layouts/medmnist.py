"""MedMNIST .npz files, 2D and 3D, every size and task kind (Yang et al., Scientific Data 2023).

Only labels and the headers of the images are read, never the images.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from radapt.cohorts.draft import CohortDraft, ScanOptions
from radapt.cohorts.layouts.image_files import files_in, folders_in
from radapt.cohorts.layouts.layout import Layout
from radapt.cohorts.layouts.medmnist_facts import FACTS, Facts
from radapt.errors import DataError

_SPLITS = ("train", "val", "test")
_MOST_CLASSES = 10**4
_MOST_LABELS = 10**8  # values; a header that claims more is not a label array


def recognise(root: Path) -> str | None:
    path = _file(root)
    if path is None:
        return None
    arrays = _names(path)
    splits = [split for split in _SPLITS if f"{split}_images" in arrays]
    return f"{path.name} with {', '.join(f'{split}_images' for split in splits)}" if splits else None


def read(root: Path, options: ScanOptions) -> CohortDraft:
    path = _file(root)
    if path is None or not (arrays := _names(path)):
        raise DataError(f"{root} is not a MedMNIST .npz file; expected arrays such as train_images, train_labels.")
    labels: list[np.ndarray] = []
    tables: list[pd.DataFrame] = []
    for split in _SPLITS:
        if f"{split}_images" not in arrays:
            continue
        shape = _shape(path, f"{split}_images")
        values = _labels(path, f"{split}_labels") if f"{split}_labels" in arrays else np.empty((shape[0], 0))
        if len(shape) < 3 or len(values) != shape[0]:
            message = f"{split}_images has shape {shape} and {split}_labels {values.shape}"
            raise DataError(f"{path}: {message}; expected as many labels as images.")
        labels.append(values)
        tables.append(_rows(path, split, shape[0]))
    if not tables:
        raise DataError(f"{path} holds none of train_images, val_images, test_images. It has: {', '.join(arrays)}.")
    if len({values.shape[1] for values in labels}) > 1:
        raise DataError(f"{path}: the label arrays of the splits differ in width.")
    facts = FACTS.get(path.stem.lower().split("_")[0])
    draft = CohortDraft(options.name or path.stem, "medmnist", pd.concat(tables, ignore_index=True))
    _label(draft, np.concatenate(labels), facts, path)
    if facts:
        draft.kind = facts.kind
        draft.source = {"title": f"MedMNIST v2: {path.stem}", "licence": facts.licence, "url": "https://medmnist.com"}
    draft.notes.append("MedMNIST gives no patients: every image counts as one; the official splits are kept.")
    return draft


def _file(root: Path) -> Path | None:
    if root.is_file():
        return root if root.suffix.lower() == ".npz" else None
    files = [path for path in files_in(root) if path.suffix.lower() == ".npz"]
    return files[0] if len(files) == 1 and not folders_in(root) else None


def _rows(path: Path, split: str, n: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "case": [f"{split}-{index:06d}" for index in range(n)],
            "split": split,
            "image": [f"{path}::{split}_images[{index}]" for index in range(n)],
        },
        dtype=object,
    )


def _label(draft: CohortDraft, labels: np.ndarray, facts: Facts | None, path: Path) -> None:
    """Add the label columns: one `label`, or a `label:<finding>` for each column of a multi-label array."""
    width = labels.shape[1]
    if not width:
        draft.notes.append(f"{path.name} holds no labels.")
        return
    if width > 1:
        names = facts.names if facts and len(facts.names) == width else tuple(f"finding-{at}" for at in range(width))
        if not np.isin(labels, (0, 1)).all():
            raise DataError(f"{path}: labels of {width} columns must be 0 or 1.")
        for at, name in enumerate(names):
            draft.table[f"label:{name}"] = np.where(labels[:, at] == 1, "1", "0").astype(object)
        return
    given = labels[:, 0]
    wrong = given[~((given >= 0) & (given < _MOST_CLASSES) & (given % 1 == 0))]
    if len(wrong):
        raise DataError(f"{path}: labels must be whole numbers from 0 up, got {wrong[0]}.")
    indices = given.astype(np.int64)
    top = int(indices.max(initial=0))
    names = facts.names if facts and top < len(facts.names) else tuple(str(at) for at in range(max(top + 1, 2)))
    draft.table["label"] = np.asarray(names, dtype=object)[indices]
    draft.classes, draft.ordered = names, bool(facts and facts.ordered)


def _names(path: Path) -> tuple[str, ...]:
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(name.removesuffix(".npy") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return ()


def _shape(path: Path, array: str) -> tuple[int, ...]:
    """The shape in the header of an array. Raises DataError for pickled objects and for a broken file."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{array}.npy") as member:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(member)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: array {array} cannot be read: {error}. Fetch the file again.") from error
    if dtype.hasobject:
        raise DataError(f"{path}: array {array} holds pickled objects, which are never loaded. Save plain numbers.")
    return tuple(int(size) for size in shape)


def _labels(path: Path, array: str) -> np.ndarray:
    """(N, W) labels."""
    shape = _shape(path, array)
    if len(shape) not in (1, 2) or int(np.prod(shape)) > _MOST_LABELS:
        raise DataError(f"{path}: array {array} has shape {shape}, expected (N,) or (N, findings).")
    try:
        with np.load(path, allow_pickle=False) as file:
            labels = np.asarray(file[array])
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: array {array} cannot be read: {error}. Fetch the file again.") from error
    if labels.dtype.kind not in "biuf":
        raise DataError(f"{path}: array {array} is of type {labels.dtype}, expected numbers.")
    return labels[:, None] if labels.ndim == 1 else labels


LAYOUT = Layout("medmnist", "a MedMNIST .npz file", recognise, read)
