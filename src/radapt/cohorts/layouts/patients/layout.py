"""A folder per patient, and per visit or class if there are any, with files named by sequence or numbered.

`P01/T1.nii.gz, P01/FLAIR.nii.gz, P01/seg.nii.gz` is a case with two sequences and a mask; `P01/P01_1.tif` with
`P01/P01_1_mask.tif` is one of several cases of the patient. Labels come from a table beside the folders.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from radapt.cohorts.draft import CohortDraft, ScanOptions, text_table
from radapt.cohorts.layouts.classes.folders import NOT_CLASSES, split_folders
from radapt.cohorts.layouts.image_files import folders_in, images_in, stem, unique
from radapt.cohorts.layouts.layout import ROLES, Layout
from radapt.cohorts.layouts.mask_names import (
    MASK_WORDS,
    chosen_masks,
    commonest,
    is_mask_name,
    left_out_kinds,
    pair,
)
from radapt.cohorts.layouts.names import kind_of
from radapt.cohorts.layouts.patients.table import add_table
from radapt.cohorts.layouts.patients.tree import READ, PatientFolder, are_patients, is_numbered, patient_folder, role
from radapt.errors import DataError, counted


@dataclass(frozen=True)
class Group:
    """The folders of patients; `labels` holds the class folder of each, '' without one."""

    folders: list[PatientFolder]
    labels: list[str] = field(default_factory=list)


def recognise(root: Path) -> str | None:
    group = patients_of(root) if root.is_dir() else None
    if group is None:
        return None
    names = [folder.path.name for folder in group.folders]
    return f"{counted(len(names), 'folder')} of a patient each: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"


def patients_of(root: Path) -> Group | None:
    """The folders of patients directly in `root`, in folders train/, val/ and test/, or in folders of classes."""
    tops = [patient_folder(path, split) for path, split in split_folders(root)]
    if any(folder.path.name.lower() in NOT_CLASSES or folder.path.name.startswith("sub-") for folder in tops):
        return None
    with_images = [folder for folder in tops if folder.leaves]
    if are_patients(tops):
        return Group(with_images, [""] * len(with_images))
    inner = [(patient_folder(path, top.split), top.path.name) for top in with_images for path in folders_in(top.path)]
    inner = [(folder, label) for folder, label in inner if folder.leaves]
    folders, labels = [folder for folder, _ in inner], [label for _, label in inner]
    if len(set(labels)) < 2 or any(images_in(top.path) for top in tops) or not are_patients(folders):
        return None
    return Group(folders, labels) if _named_by_sequence(folders) else None


def read(root: Path, options: ScanOptions) -> CohortDraft:
    group = patients_of(root)
    if group is None:  # the user named the layout
        folders = [patient_folder(path, split) for path, split in split_folders(root)]
        group = Group([folder for folder in folders if folder.leaves])
    if not group.folders:
        raise DataError(f"{root} holds no folders with images; expected one folder per patient.")
    labels = group.labels or [""] * len(group.folders)
    notes: list[str] = []
    named = _named_by_sequence(group.folders)
    rows = _sequences(group.folders, labels, notes) if named else _pictures(group.folders, labels, notes)
    cases = [row["case"] for row in rows]
    if len(set(cases)) < len(cases):
        for row, case in zip(rows, unique(cases), strict=True):
            row["case"] = case
    table = text_table(rows)
    notes.insert(0, f"Every folder, such as {group.folders[0].path.name}, counts as one patient.")
    draft = CohortDraft(options.name or root.name, "patients", table, notes=notes)
    draft.kind = kind_of(name.removeprefix("image:") for name in draft.modalities)
    draft.classes = tuple(sorted(set(labels))) if any(labels) else ()
    add_table(draft, root, options)
    return draft


def _named_by_sequence(folders: Sequence[PatientFolder]) -> bool:
    """Whether most files are named by what they show (`t1`, `flair`), and not numbered."""
    images = [
        role(item.path, folder.path) for folder in folders for leaf in folder.leaves for item in pair(_files(leaf))
    ]
    counts = Counter(name for name in images if not is_mask_name(name))
    often = sum(count for name, count in counts.items() if not is_numbered(name) and (count > 1 or len(folders) == 1))
    return often * 2 > sum(counts.values())


def _files(leaf: Path) -> list[Path]:
    return images_in(leaf, READ)


def _pictures(folders: Sequence[PatientFolder], labels: Sequence[str], notes: list[str]) -> list[dict[str, str]]:
    """Every image is a case of its patient, with the mask that is named after it."""
    found = [
        (folder, label, image)
        for folder, label in zip(folders, labels, strict=True)
        for leaf in folder.leaves
        for image in pair(_files(leaf))
    ]
    masks = chosen_masks([image for *_, image in found], notes)
    stems = Counter(stem(image.path.name) for *_, image in found)
    rows = []
    for (folder, label, image), mask in zip(found, masks, strict=True):
        name = stem(image.path.name)
        inside = "-".join([*image.path.parent.relative_to(folder.path.parent).parts, name])
        row = {"case": name if stems[name] == 1 else inside, "patient": folder.path.name, "split": folder.split}
        rows.append(row | {"image": str(image.path), "mask": mask, **({"label": label} if label else {})})
    return rows


@dataclass
class _CaseFiles:
    """The files of one case: sequences by name, and masks by kind."""

    folder: PatientFolder
    name: str
    label: str
    images: dict[str, str] = field(default_factory=dict)
    masks: dict[str, str] = field(default_factory=dict)


def _sequences(folders: Sequence[PatientFolder], labels: Sequence[str], notes: list[str]) -> list[dict[str, str]]:
    """Every folder with images is a case; a patient's folders are one case if no sequence occurs in two of them."""
    cases: list[_CaseFiles] = []
    left: Counter[str] = Counter()
    by_visit = any(_has_visits(folder) for folder in folders)
    for folder, label in zip(folders, labels, strict=True):
        files: dict[Path, _CaseFiles] = {}
        for leaf in folder.leaves:
            if leaf != folder.path and leaf.name.casefold() in MASK_WORDS:
                left[leaf.name] += len(_files(leaf))
                continue
            place = leaf if by_visit else folder.path
            name = "-".join(place.relative_to(folder.path.parent).parts)
            _sort(leaf, files.setdefault(place, _CaseFiles(folder, name, label)), left)
        cases += [case for case in files.values() if case.images]
    for word, count in left.items():
        notes.append(f"{counted(count, 'file')} left out: {word}.")
    return _rows(cases, notes)


def _has_visits(folder: PatientFolder) -> bool:
    names = [role(path, folder.path) for path in folder.files() if not is_mask_name(role(path, folder.path))]
    return len(folder.leaves) > 1 and len(set(names)) < len(names)


def _sort(leaf: Path, case: _CaseFiles, left: Counter[str]) -> None:
    for path in _files(leaf):
        name = role(path, case.folder.path) or "image"
        into = case.masks if is_mask_name(name) else case.images
        if name in into:
            left["a second file of the same sequence in a case"] += 1
        into.setdefault(name, str(path))


def _rows(cases: Sequence[_CaseFiles], notes: list[str]) -> list[dict[str, str]]:
    names = sorted({name for case in cases for name in case.images})
    columns = {name: "image" if len(names) == 1 else f"image:{name.replace(':', '-')}" for name in names}
    kind = commonest(name for case in cases for name in case.masks)
    others = Counter(name for case in cases for name in case.masks if name != kind)
    if kind is not None and others:
        notes.append(left_out_kinds(others, kind))
    counts = Counter(name for case in cases for name in case.images)
    if rare := [name for name in names if len(names) > 1 and counts[name] * 10 <= len(cases)]:
        notes.append(
            f"Sequences in few cases: {', '.join(f'{name} ({counts[name]})' for name in rare[:8])}. If one of them is "
            "another name of the same sequence, rename the files, or join the columns in the table of cases."
        )
    return [
        {"case": case.name, "patient": case.folder.path.name, "split": case.folder.split}
        | {columns[name]: case.images.get(name, "") for name in names}
        | {"mask": case.masks.get(kind, "") if kind else ""}
        | ({"label": case.label} if case.label else {})
        for case in cases
    ]


LAYOUT = Layout(
    "patients", "a folder per patient with files named by sequence", recognise, read, by_content=True, columns=ROLES
)
