"""BIDS: sub-*/[ses-*/]anat/*.nii.gz with participants.tsv and masks in derivatives/ (Gorgolewski et al., 2016).

A missing sequence of a session is an empty cell.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from radapt.cohorts.draft import CohortDraft, ScanOptions, text_table
from radapt.cohorts.layouts.bids.names import MASK_SUFFIXES, BidsName, parse
from radapt.cohorts.layouts.image_files import folders_in, walk
from radapt.cohorts.layouts.layout import ROLES, Layout
from radapt.cohorts.layouts.mask_names import left_out_kinds
from radapt.cohorts.layouts.names import kind_of
from radapt.cohorts.layouts.tables import assign, read_table
from radapt.errors import DataError, counted

_NOT_IMAGES = ("func", "fmap", "dwi", "perf", "eeg", "ieeg", "meg", "beh", "motion", "nirs")
"""Data types that are not single volumes: time series, diffusion directions, signals."""

_DANGLING = "broken link"


def recognise(root: Path) -> str | None:
    subjects = [folder for folder in folders_in(root) if folder.name.startswith("sub-")]
    first = next((subject for subject in subjects[:20] if any(parse(path) for path in walk(subject))), None)
    return f"{counted(len(subjects), 'folder')} sub-* with NIfTI files" if first else None


def read(root: Path, options: ScanOptions) -> CohortDraft:
    notes: list[str] = []
    images: dict[str, list[BidsName]] = defaultdict(list)
    masks: dict[str, list[BidsName]] = defaultdict(list)
    _collect(root, images, masks, notes)
    if not images:
        raise DataError(f"{root} holds no NIfTI files such as sub-01/anat/sub-01_T1w.nii.gz.")
    structure = _structure(images, masks, notes)
    chosen = {case: _mask(names, masks, structure) for case, names in images.items()}
    rows = [
        {
            "case": case,
            "patient": f"sub-{names[0].subject}",
            **{f"image:{name}": str(path) for name, path in _modalities(names).items()},
            "mask": str(mask.path) if (mask := chosen[case]) else "",
        }
        for case, names in sorted(images.items())
    ]
    table = text_table(rows)
    modalities = sorted(name for name in map(str, table.columns) if name.startswith("image:"))
    table = table[["case", "patient", *modalities, "mask"]]
    path = root / "participants.tsv"
    lines = _participants(path, table, options, notes)
    kind = kind_of(name.suffix for names in images.values() for name in names)
    labels = _mask_labels(name for name in chosen.values() if name)
    draft = CohortDraft(options.name or root.name, "bids", table, kind, mask_labels=labels, notes=notes)
    draft.source_table, draft.rows = path if lines else None, lines
    return draft


def _collect(root: Path, images: dict[str, list[BidsName]], masks: dict[str, list[BidsName]], notes: list[str]) -> None:
    """Sort the NIfTI files of all subjects into images and masks; masks also from derivatives/."""
    left_out: dict[str, int] = defaultdict(int)
    for subject in folders_in(root):
        if not subject.name.startswith("sub-"):
            continue
        for path in walk(subject):
            name = parse(path)
            if name is None:
                continue
            if path.parent.name in _NOT_IMAGES:
                left_out[path.parent.name] += 1
            elif not path.exists():
                left_out[_DANGLING] += 1
            elif name.suffix in MASK_SUFFIXES:
                masks[name.subject].append(name)
            else:
                images[name.case].append(name)
    for path in walk(root / "derivatives"):
        name = parse(path)
        if name is not None and name.suffix in MASK_SUFFIXES and path.exists():
            masks[name.subject].append(name)
    if dangling := left_out.pop(_DANGLING, 0):
        notes.append(f"{counted(dangling, 'link')} to missing content left out (fetch it with datalad get).")
    for folder, count in sorted(left_out.items()):
        notes.append(f"{counted(count, 'file')} in {folder}/ left out: not single volumes.")


def _modalities(names: list[BidsName]) -> dict[str, Path]:
    """Modality → file of one case. The first run has no run in its name, so that cases with a single run agree."""
    files: dict[str, Path] = {}
    for name in sorted(names, key=lambda name: (name.entity("run") or "", name.path.name)):
        plain = name.modality(with_run=False)
        files[plain if plain not in files else name.modality()] = name.path
    return files


def _structure(
    images: dict[str, list[BidsName]], masks: dict[str, list[BidsName]], notes: list[str]
) -> tuple[str, ...] | None:
    """What the masks of all cases show: the kind that most cases have, preferring a structure to the whole brain.

    A number in a mask means one structure in every case, so masks of other kinds are left out and counted.
    """
    kinds = Counter(kind for names in images.values() for kind in {_kind(mask) for mask in _fitting(names, masks)})
    if len(kinds) < 2:
        return next(iter(kinds), None)
    kind = min(kinds, key=lambda words: ("brain" in "".join(words).lower(), -kinds[words], words))
    named = {"_".join(words): count for words, count in kinds.items() if words != kind}
    notes.append(left_out_kinds(named, "_".join(kind)))
    return kind


def _kind(mask: BidsName) -> tuple[str, ...]:
    return (*(f"{key}-{value}" for key in ("label", "desc") if (value := mask.entity(key))), mask.suffix)


def _fitting(names: list[BidsName], masks: dict[str, list[BidsName]]) -> list[BidsName]:
    """The masks of the session and space of a case."""
    sessions = {name.session for name in names}
    spaces = {name.entity("space") for name in names} | {None, "orig"}
    return [
        mask
        for mask in masks.get(names[0].subject, [])
        if (mask.session in sessions or mask.session is None) and mask.entity("space") in spaces
    ]


def _mask(
    names: list[BidsName], masks: dict[str, list[BidsName]], structure: tuple[str, ...] | None
) -> BidsName | None:
    """The mask of a case that shows `structure`, preferring one of the case's own session."""
    sessions = {name.session for name in names}
    fitting = [mask for mask in _fitting(names, masks) if _kind(mask) == structure]

    def last_choice(mask: BidsName) -> tuple[bool, str]:
        return mask.session is None and None not in sessions, mask.path.name

    return min(fitting, key=last_choice, default=None)


def _mask_labels(masks: Iterable[BidsName]) -> dict[int, str]:
    """{1: label} for binary masks, or the labels in the table beside a segmentation."""
    used = list(masks)
    if not used:
        return {}
    table = _label_table(used[0])
    if used[0].suffix == "dseg" and table:
        rows = read_table(table)
        if {"index", "name"} <= set(rows.columns):
            names = dict(zip(rows["index"].str.strip(), rows["name"].str.strip(), strict=True))
            return {int(key): name for key, name in names.items() if key.isdecimal() and key != "0" and name}
    labels = {mask.entity("label") or mask.entity("desc") for mask in used}
    return {1: label} if len(labels) == 1 and (label := labels.pop()) else {}


def _label_table(mask: BidsName) -> Path | None:
    """The table of a segmentation's labels: beside it, or in a folder above it for all segmentations."""
    tables = [mask.path.with_name(mask.path.name.split(".nii")[0] + ".tsv")]
    for folder in mask.path.parents:
        if folder.name == "derivatives":
            break
        tables.append(folder / "dseg.tsv")
    return next((table for table in tables if table.is_file()), None)


def _participants(path: Path, table: pd.DataFrame, options: ScanOptions, notes: list[str]) -> list[int | None]:
    """Add the columns of participants.tsv; returns the line of each case in it."""
    if not path.is_file():
        notes.append("There is no participants.tsv, so no case has a label.")
        return []
    people = read_table(path, notes)
    if "participant_id" not in people.columns:
        raise DataError(f"{path} has no column 'participant_id'. Its columns: {', '.join(people.columns)}.")
    keys = ["sub-" + name.strip().removeprefix("sub-") for name in people.pop("participant_id")]
    if len(set(keys)) < len(keys):
        repeated = next(key for key in keys if keys.count(key) > 1)
        where = " and ".join(str(row) for row, key in zip(people.index, keys, strict=True) if key == repeated)
        raise DataError(f"{path}, rows {where}: {repeated!r} occurs twice; keep one row per participant.")
    rows = dict(zip(keys, people.index, strict=True))
    people.index = pd.Index(keys)
    absent = sorted(set(table["patient"]) - set(keys))
    if absent:
        notes.append(f"{counted(len(absent), 'subject')} not in participants.tsv, such as {absent[0]}.")
    if without := len(set(keys) - set(table["patient"])):
        notes.append(f"{counted(without, 'participant')} without an image left out.")
    assign(table, people.reindex(table["patient"]).fillna("").reset_index(drop=True), options, path.name, notes)
    return [rows.get(patient) for patient in table["patient"]]


LAYOUT = Layout("bids", "BIDS with NIfTI files", recognise, read, columns=ROLES)
