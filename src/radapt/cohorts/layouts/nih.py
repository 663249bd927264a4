"""NIH ChestX-ray14: Data_Entry_2017*.csv beside images/ or images_001/images/, … (Wang et al., CVPR 2017)."""

from pathlib import Path

import numpy as np
import pandas as pd

from radapt.cohorts.draft import CohortDraft, ScanOptions
from radapt.cohorts.image_names import stem, stem_of
from radapt.cohorts.layouts.image_files import files_in, folders_in, images_in
from radapt.cohorts.layouts.layout import Layout
from radapt.cohorts.layouts.tables import read_table
from radapt.errors import DataError, counted, suggest

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
_NORMAL = "No Finding"
_METADATA = {"Patient Age": "age", "Patient Gender": "gender", "View Position": "view"}
_SOURCE = {
    "title": "NIH ChestX-ray14",
    "licence": "free use, cite Wang et al. 2017",
    "url": "https://nihcc.app.box.com/v/ChestXray-NIHCC",
}


def recognise(root: Path) -> str | None:
    index = _index(root)
    return f"{index.name}, the index of NIH ChestX-ray14" if index else None


def read(root: Path, options: ScanOptions) -> CohortDraft:
    index = _index(root)
    if index is None:
        raise DataError(f"{root} holds no Data_Entry_2017*.csv, the index of NIH ChestX-ray14.")
    notes: list[str] = []
    root, table = index.parent, read_table(index, notes)
    missing = [name for name in ("Image Index", "Finding Labels", "Patient ID") if name not in table.columns]
    if missing:
        raise DataError(f"{index} has no column {missing[0]!r}. {suggest(missing[0], list(table.columns))}")
    paths = _images(root)
    stems = [stem(name.strip()) for name in table["Image Index"]]
    available = np.array([name in paths for name in stems], dtype=bool)
    if not available.any():
        raise DataError(
            f"{index} lists {counted(len(table), 'image')}, none of which exists in {root}/images or images_*/images."
        )
    rows: list[int | None] = list(table.index[available])
    listed = table[available].reset_index(drop=True)
    names = [name for name, present in zip(stems, available, strict=True) if present]
    draft = pd.DataFrame({"case": names, "patient": listed["Patient ID"].str.strip()}, dtype=object)
    draft["split"] = _official(root, names)
    draft["image"] = [paths[name] for name in names]
    if not available.all():
        notes.append(f"{counted(int((~available).sum()), 'image')} listed in {index.name} left out: no such file.")
    _add_findings(draft, listed["Finding Labels"], index, rows)
    for column, name in _METADATA.items():
        if column in listed.columns:
            draft[name] = listed[column]
    name = options.name or root.name
    return CohortDraft(name, "nih", draft, "xray", source=_SOURCE, notes=notes, source_table=index, rows=rows)


def _index(root: Path) -> Path | None:
    if root.is_file():
        return root if _is_index(root) else None
    return next((path for path in files_in(root) if _is_index(path)), None)


def _is_index(path: Path) -> bool:
    return path.name.lower().startswith("data_entry_2017") and path.suffix.lower() == ".csv"


def _images(root: Path) -> dict[str, str]:
    """Stem → path. The index lists .png; some copies of the data set are .jpg."""
    folders = [root / "images"]
    for folder in folders_in(root):
        if folder.name.lower().startswith("images_"):
            folders += [folder, folder / "images"]
    return {stem(path.name): str(path) for folder in folders for path in images_in(folder)}


def _official(root: Path, names: list[str]) -> list[str]:
    """'test' for images of test_list.txt; '' for the others, which radapt splits into train and val."""
    lists = {word: root / file for word, file in (("test", "test_list.txt"), ("", "train_val_list.txt"))}
    words = {
        stem_of(line.strip()): word
        for word, path in lists.items()
        if path.is_file()
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
    }
    return [words.get(name, "") for name in names]


def _add_findings(draft: pd.DataFrame, labels: pd.Series, index: Path, rows: list[int | None]) -> None:
    sets = {text: {name.strip() for name in text.split("|")} for text in labels.unique()}
    for text, findings in sets.items():
        for name in findings - {_NORMAL, *FINDINGS}:
            first = int(np.flatnonzero(labels.to_numpy() == text)[0])
            case = draft["case"].iloc[first]
            raise DataError(
                f"{index}, row {rows[first]}, case {case!r}: unknown finding {name!r}. {suggest(name, FINDINGS)}"
            )
    for finding in FINDINGS:
        present = {text: "1" if finding in findings else "0" for text, findings in sets.items()}
        draft[f"label:{finding}"] = labels.map(present).astype(object)


LAYOUT = Layout("nih", "NIH ChestX-ray14", recognise, read)
