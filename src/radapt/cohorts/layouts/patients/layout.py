"""A folder per patient, and per visit, class or sequence if there are any, with files named by sequence or numbered.

`P01/T1.nii.gz, P01/FLAIR.nii.gz, P01/seg.nii.gz` is a case with two sequences and a mask, and so are `P01/T1/x.nii.gz,
P01/FLAIR/x.nii.gz` and `T1/P01/x.nii.gz, FLAIR/P01/x.nii.gz`; `P01/P01_1.tif` with `P01/P01_1_mask.tif` is one of
several cases of the patient. Labels come from a table beside the folders.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from radapt.cohorts.draft import CohortDraft, ScanOptions, text_table
from radapt.cohorts.layouts.classes.folders import split_folders
from radapt.cohorts.layouts.image_files import unique
from radapt.cohorts.layouts.layout import ROLES, Layout
from radapt.cohorts.layouts.mask_names import is_mask_name
from radapt.cohorts.layouts.names import kind_of
from radapt.cohorts.layouts.patients.group import Group, named_by_sequence, patients_of
from radapt.cohorts.layouts.patients.pictures import pictures
from radapt.cohorts.layouts.patients.sequences import sequences
from radapt.cohorts.layouts.patients.table import add_table
from radapt.cohorts.layouts.patients.tree import PatientFolder, patient_folder
from radapt.errors import DataError, counted

_NAMED = 6


def recognise(root: Path) -> str | None:
    group = patients_of(root) if root.is_dir() else None
    if group is None:
        return None
    names = [folder.name for folder in group.folders]
    return f"{counted(len(names), 'folder')} of a patient each: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"


def read(root: Path, options: ScanOptions) -> CohortDraft:
    group = patients_of(root)
    if group is None:  # the user named the layout
        folders = [patient_folder(path, split) for path, split in split_folders(root)]
        group = Group([folder for folder in folders if folder.leaves])
    if not group.folders:
        raise DataError(f"{root} holds no folders with images; expected one folder per patient.")
    group = replace(group, outer=group.outer or [""] * len(group.folders))
    notes: list[str] = []
    by_sequence = named_by_sequence(group.folders)
    rows = sequences(group, notes) if by_sequence else pictures(group, notes)
    cases = [row["case"] for row in rows]
    if len(set(cases)) < len(cases):
        for row, case in zip(rows, unique(cases), strict=True):
            row["case"] = case
    table = text_table(rows)
    notes.insert(0, f"Every folder, such as {group.folders[0].name}, counts as one patient.")
    if group.is_of_visits:
        notes.insert(1, f"The folders around them are {group.column}s: {', '.join(sorted(set(group.outer))[:6])}.")
    if inner := _sequence_folders(group.folders):
        named = f"{', '.join(inner[:_NAMED])}{', …' if inner[_NAMED:] else ''}"
        notes.insert(1, f"Folders named by sequence are the sequences of a case: {named}.")
    draft = CohortDraft(options.name or root.name, "patients", table, notes=notes)
    draft.kind = kind_of(_sequence_names(group) if by_sequence else _sequence_folders(group.folders))
    if any(group.outer) and not group.is_of_visits:
        draft.classes = tuple(sorted(set(group.outer)))
    add_table(draft, root, options)
    return draft


def _sequence_folders(folders: Sequence[PatientFolder]) -> list[str]:
    """The names of folders that are sequences."""
    return sorted({found[1] for folder in folders for leaf in folder.leaves if (found := folder.sequence_at(leaf))})


def _sequence_names(group: Group) -> set[str]:
    roles = [folder.roles_in(leaf) for folder in group.folders for leaf in folder.leaves]
    return {name for named in roles for name in named.values() if not is_mask_name(name)}


LAYOUT = Layout(
    "patients", "a folder per patient with files named by sequence", recognise, read, by_content=True, columns=ROLES
)
