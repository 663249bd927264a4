"""nnU-Net raw data, version 1 and 2: imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz (Isensee et al., 2021)."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from radapt.cohorts.draft import CohortDraft, ScanOptions, text_table
from radapt.cohorts.layouts.descriptions import (
    channels,
    has_description,
    is_nnunet,
    mask_labels,
    masks_in,
    note_masks,
    read_description,
    source_of,
)
from radapt.cohorts.layouts.image_files import files_in, unique
from radapt.cohorts.layouts.layout import Layout
from radapt.cohorts.layouts.names import kind_of, slug
from radapt.errors import DataError, counted


def recognise(root: Path) -> str | None:
    return "dataset.json and imagesTr/ with numbered channels" if has_description(root) and is_nnunet(root) else None


def read(root: Path, options: ScanOptions) -> CohortDraft:
    content, notes = read_description(root), list[str]()
    names = channels(content, root / "dataset.json")
    ending = str(content.get("file_ending") or ".nii.gz")
    train = _rows(root, "Tr", "", names, ending)
    test = _rows(root, "Ts", "test", names, ending)
    if not train:
        raise DataError(f"{root / 'imagesTr'} holds no files called CASE_0000{ending}.")
    masked = [row for row in test if row["mask"]]
    if len(masked) < len(test):
        notes.append(f"{counted(len(test) - len(masked), 'case')} in imagesTs/ left out: no mask in labelsTs/.")
    note_masks(root, train, notes)
    labels = mask_labels(content, notes)
    draft = CohortDraft(options.name or root.name, "nnunet", text_table(train + masked), kind_of(names), notes=notes)
    draft.mask_labels, draft.source = labels, source_of(content)
    return draft


def _rows(root: Path, subset: str, split: str, names: list[str], ending: str) -> list[dict[str, str]]:
    """One row per case of imagesTr or imagesTs. A channel without a file is missing."""
    columns = ["image"] if len(names) == 1 else [f"image:{name}" for name in unique(map(_column, names))]
    pattern = re.compile(rf"(?P<case>.+)_(?P<channel>\d{{4}}){re.escape(ending)}")
    cases: dict[str, dict[str, str]] = defaultdict(dict)
    for path in files_in(root / f"images{subset}"):
        if match := pattern.fullmatch(path.name):
            channel = int(match["channel"])
            if channel >= len(columns):
                raise DataError(f"{path} is channel {channel}, but dataset.json names {len(columns)}.")
            cases[match["case"]][columns[channel]] = str(path)
    masks = masks_in(root / f"labels{subset}")
    rows: list[dict[str, Any]] = [
        {"case": case, "split": split, **dict.fromkeys(columns, ""), **images, "mask": masks.get(case, "")}
        for case, images in cases.items()
    ]
    return rows


def _column(name: str) -> str:
    return slug(name) or "channel"


LAYOUT = Layout("nnunet", "nnU-Net raw", recognise, read)
