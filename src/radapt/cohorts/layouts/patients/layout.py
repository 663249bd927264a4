"""A folder per patient, and per visit or class if there are any, with files named by sequence or numbered.

`P01/T1.nii.gz, P01/FLAIR.nii.gz, P01/seg.nii.gz` is a case with two sequences and a mask; `P01/P01_1.tif` with
`P01/P01_1_mask.tif` is one of several cases of the patient. Labels come from a table beside the folders.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from radapt.cohorts.draft import CohortDraft, ScanOptions, text_table
from radapt.cohorts.layouts.classes.folders import NOT_CLASSES, split_folders
from radapt.cohorts.layouts.image_files import folders_in, images_in, stem, unique
from radapt.cohorts.layouts.layout import ROLES, Layout
from radapt.cohorts.layouts.mask_names import (
    PairedImage,
    chosen_masks,
    commonest,
    is_mask_name,
    left_out_kinds,
    pair,
)
from radapt.cohorts.layouts.names import kind_of
from radapt.cohorts.layouts.pairs.keys import name_keys
from radapt.cohorts.layouts.patients.table import add_table
from radapt.cohorts.layouts.patients.tree import (
    READ,
    PatientFolder,
    are_patients,
    is_numbered,
    is_visit,
    patient_folder,
    roles_in,
)
from radapt.errors import DataError, counted


@dataclass(frozen=True)
class Group:
    """The folders of patients; `outer` holds the name of the folder around each, a class or a visit, '' without one."""

    folders: list[PatientFolder]
    outer: list[str] = field(default_factory=list)
    is_visit: bool = False

    def columns(self, at: str) -> dict[str, str]:
        """The column that the outer folder `at` fills."""
        return {"visit" if self.is_visit else "label": at} if at else {}


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
    visits = len(tops) > 1 and all(is_visit(folder.path.name) for folder in tops)
    if are_patients(tops) and not visits:
        return Group(with_images, [""] * len(with_images))
    inner = [(patient_folder(path, top.split), top.path.name) for top in with_images for path in folders_in(top.path)]
    inner = [(folder, label) for folder, label in inner if folder.leaves]
    folders, labels = [folder for folder, _ in inner], [label for _, label in inner]
    if len(set(labels)) < 2 or any(images_in(top.path) for top in tops) or not are_patients(folders):
        return None
    return Group(folders, labels, visits) if visits or _named_by_sequence(folders) else None


def read(root: Path, options: ScanOptions) -> CohortDraft:
    group = patients_of(root)
    if group is None:  # the user named the layout
        folders = [patient_folder(path, split) for path, split in split_folders(root)]
        group = Group([folder for folder in folders if folder.leaves])
    if not group.folders:
        raise DataError(f"{root} holds no folders with images; expected one folder per patient.")
    group = replace(group, outer=group.outer or [""] * len(group.folders))
    notes: list[str] = []
    by_sequence = _named_by_sequence(group.folders)
    rows = _sequences(group, notes) if by_sequence else _pictures(group, notes)
    cases = [row["case"] for row in rows]
    if len(set(cases)) < len(cases):
        for row, case in zip(rows, unique(cases), strict=True):
            row["case"] = case
    table = text_table(rows)
    notes.insert(0, f"Every folder, such as {group.folders[0].path.name}, counts as one patient.")
    if group.is_visit:
        notes.insert(1, f"The folders around them are visits: {', '.join(sorted(set(group.outer))[:6])}.")
    draft = CohortDraft(options.name or root.name, "patients", table, notes=notes)
    draft.kind = kind_of(_sequence_names(group)) if by_sequence else None
    if any(group.outer) and not group.is_visit:
        draft.classes = tuple(sorted(set(group.outer)))
    add_table(draft, root, options)
    return draft


def _named_by_sequence(folders: Sequence[PatientFolder]) -> bool:
    """Whether most files are named by what they show (`t1`, `flair`), and not numbered."""
    roles = [roles_in(leaf, folder.path) for folder in folders for leaf in folder.leaves if not is_mask_name(leaf.name)]
    counts = Counter(of_leaf[item.path] for of_leaf in roles for item in pair(list(of_leaf)))
    counts = Counter({name: count for name, count in counts.items() if not is_mask_name(name) and not is_visit(name)})
    often = sum(count for name, count in counts.items() if not is_numbered(name) and (count > 1 or len(folders) == 1))
    return often * 2 > sum(counts.values())


def _pictures(group: Group, notes: list[str]) -> list[dict[str, str]]:
    """Every image is a case of its patient, with the mask that is named after it."""
    found = [
        (folder, outer, image)
        for folder, outer in zip(group.folders, group.outer, strict=True)
        for leaf in folder.leaves
        if not is_mask_name(leaf.name) or not folder.has_images_beside(leaf)
        for image in _with_masks_of_folders(pair(images_in(leaf, READ)), leaf, folder)
    ]
    masks = chosen_masks([image for *_, image in found], notes)
    stems = Counter(stem(image.path.name) for *_, image in found)
    rows = []
    for (folder, outer, image), mask in zip(found, masks, strict=True):
        name = stem(image.path.name)
        inside = "-".join([*image.path.parent.relative_to(folder.path.parent).parts, name])
        row = {"case": name if stems[name] == 1 else inside, "patient": folder.path.name, "split": folder.split}
        rows.append(row | {"image": str(image.path), "mask": mask, **group.columns(outer)})
    return rows


def _with_masks_of_folders(images: list[PairedImage], leaf: Path, folder: PatientFolder) -> list[PairedImage]:
    """The images of a folder, also with the masks of the same names in the folders of masks inside or beside it."""
    beside = [path for path in folder.leaves if is_mask_name(path.name) and path.parent in (leaf, leaf.parent)]
    keys = name_keys({"": [image.path for image in images]}, leaf.name)
    for masks in beside if leaf not in beside else ():
        by_key = {key: path for path, key in name_keys({"": images_in(masks, READ)}, masks.name, masks=True).items()}
        kind = masks.name.casefold()
        images = [
            replace(image, masks=(*image.masks, (kind, by_key[key]))) if (key := keys[image.path]) in by_key else image
            for image in images
        ]
    return images


@dataclass
class _CaseFiles:
    """The files of one case: sequences by name, and masks by kind."""

    folder: PatientFolder
    name: str
    columns: dict[str, str]
    images: dict[str, str] = field(default_factory=dict)
    masks: dict[str, str] = field(default_factory=dict)


def _sequences(group: Group, notes: list[str]) -> list[dict[str, str]]:
    """Every folder with images is a case; a patient's folders are one case if no sequence occurs in two of them."""
    cases: list[_CaseFiles] = []
    left: Counter[str] = Counter()
    by_visit = any(_has_visits(folder) for folder in group.folders)
    for folder, outer in zip(group.folders, group.outer, strict=True):
        files: dict[Path, _CaseFiles] = {}
        for leaf in folder.leaves:
            is_masks = folder.has_images_beside(leaf) and is_mask_name(leaf.name)
            place = (leaf.parent if is_masks else leaf) if by_visit else folder.path
            name = "-".join([*place.relative_to(folder.path.parent).parts, *([outer] if group.is_visit else [])])
            case = files.setdefault(place, _CaseFiles(folder, name, group.columns(outer)))
            _sort(leaf, case, left, masks=is_masks)
        cases += [case for case in files.values() if case.images]
    for word, count in left.items():
        notes.append(f"{counted(count, 'file')} left out: {word}.")
    return _rows(cases, notes)


def _sequence_names(group: Group) -> set[str]:
    roles = [roles_in(leaf, folder.path) for folder in group.folders for leaf in folder.leaves]
    return {name for named in roles for name in named.values() if not is_mask_name(name)}


def _has_visits(folder: PatientFolder) -> bool:
    names = [name for name, path in folder.roles() if not (is_mask_name(name) or is_mask_name(path.parent.name))]
    return len(folder.leaves) > 1 and len(set(names)) < len(names)


def _sort(leaf: Path, case: _CaseFiles, left: Counter[str], *, masks: bool) -> None:
    """Add the files of a folder to the sequences and masks of a case; `masks` where all are masks."""
    for path, text in roles_in(leaf, case.folder.path).items():
        name = text or (leaf.name.casefold() if masks else "image")
        into = case.masks if masks or is_mask_name(name) else case.images
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
        | case.columns
        for case in cases
    ]


LAYOUT = Layout(
    "patients", "a folder per patient with files named by sequence", recognise, read, by_content=True, columns=ROLES
)
