"""Folders of patients whose files are named by sequence, or lie in folders that are: a case for each visit."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from radapt.cohorts.layouts.mask_names import commonest, is_mask_name, left_out_kinds
from radapt.cohorts.layouts.patients.group import Group
from radapt.cohorts.layouts.patients.tree import PatientFolder
from radapt.errors import counted

_NAMED = 6


@dataclass
class _CaseFiles:
    """The files of one case: sequences by name, and masks by kind; `inside` is its folder in that of the patient."""

    folder: PatientFolder
    name: str
    inside: str
    columns: dict[str, str]
    images: dict[str, str] = field(default_factory=dict)
    masks: dict[str, str] = field(default_factory=dict)


def sequences(group: Group, notes: list[str]) -> list[dict[str, str]]:
    """Every folder with images is a case; a patient's folders are one case if no sequence occurs in two of them."""
    cases: list[_CaseFiles] = []
    left: Counter[str] = Counter()
    by_visit = any(_has_visits(folder) for folder in group.folders)
    for folder, outer in zip(group.folders, group.outer, strict=True):
        files: dict[Path, _CaseFiles] = {}
        for leaf in folder.leaves:
            is_masks = folder.is_of_masks(leaf)
            place = _place(folder, leaf) if by_visit else folder.path
            inside = place.relative_to(folder.path).parts
            name = "-".join([folder.name, *inside, *([outer] if group.is_of_visits else [])])
            case = files.setdefault(place, _CaseFiles(folder, name, "/".join(inside), group.columns(outer)))
            _sort(leaf, case, left, masks=is_masks)
        cases += [case for case in files.values() if case.images]
    for word, count in left.items():
        notes.append(f"{counted(count, 'file')} left out: {word}.")
    if visits := sorted({case.inside for case in cases if case.inside}):
        named = f"{', '.join(visits[:_NAMED])}{', …' if visits[_NAMED:] else ''}"
        notes.append(f"Folders inside those of patients count as visits, each a case: {named}.")
    return _rows(cases, notes)


def _place(folder: PatientFolder, leaf: Path) -> Path:
    """The folder of the visit that the files of a folder are from."""
    if found := folder.sequence_at(leaf):
        return found[0]
    return leaf.parent if folder.is_of_masks(leaf) else leaf


def _has_visits(folder: PatientFolder) -> bool:
    names = [name for name, path in folder.roles() if not (is_mask_name(name) or is_mask_name(path.parent.name))]
    return len(folder.leaves) > 1 and len(set(names)) < len(names)


def _sort(leaf: Path, case: _CaseFiles, left: Counter[str], *, masks: bool) -> None:
    """Add the files of a folder to the sequences and masks of a case; `masks` where all are masks."""
    for path, text in case.folder.roles_in(leaf).items():
        name = text or (case.folder.kind_of(leaf).casefold() if masks else "image")
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
        {"case": case.name, "patient": case.folder.name, "split": case.folder.split}
        | {columns[name]: case.images.get(name, "") for name in names}
        | {"mask": case.masks.get(kind, "") if kind else ""}
        | case.columns
        for case in cases
    ]
