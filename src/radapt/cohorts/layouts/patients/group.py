"""The folders of patients in a tree, and the visits, years or classes around them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from radapt.cohorts.layouts.classes.folders import NOT_CLASSES, split_folders
from radapt.cohorts.layouts.image_files import folders_in, images_in
from radapt.cohorts.layouts.mask_names import is_mask_name, pair
from radapt.cohorts.layouts.names import name_sequences, names_sequence
from radapt.cohorts.layouts.patients.tree import (
    PatientFolder,
    across_sequences,
    are_patients,
    is_numbered,
    is_visit,
    is_year,
    patient_folder,
)

_MOST_GRADES = 10


@dataclass(frozen=True)
class Group:
    """The folders of patients; `outer` holds the name of the folder around each, '' without one, and `column` what it
    says."""

    folders: list[PatientFolder]
    outer: list[str] = field(default_factory=list)
    column: Literal["label", "visit", "year"] = "label"

    @property
    def is_of_visits(self) -> bool:
        """Whether a patient may occur in several of the outer folders."""
        return self.column != "label"

    def columns(self, at: str) -> dict[str, str]:
        """The column that the outer folder `at` fills."""
        return {self.column: at} if at else {}


def patients_of(root: Path) -> Group | None:
    """The folders of patients directly in `root`, in folders train/, val/ and test/, or in folders of classes."""
    tops = [patient_folder(path, split) for path, split in split_folders(root)]
    if _are_grades(tops):
        return None
    named = {folder.name for folder in tops if names_sequence(folder.name)}
    if len(named) > 1 and name_sequences(sorted(named)):
        patients = across_sequences(tops)
        return Group(patients, [""] * len(patients)) if are_patients(patients) else None
    if any(folder.path.name.lower() in NOT_CLASSES or folder.path.name.startswith("sub-") for folder in tops):
        return None
    with_images = [folder for folder in tops if folder.leaves]
    visits = len(tops) > 1 and all(is_visit(folder.name) for folder in tops)
    years = len(tops) > 1 and all(is_year(folder.name) and folder.path not in folder.leaves for folder in tops)
    if are_patients(tops) and not (visits or years):
        return Group(with_images, [""] * len(with_images))
    inner = [(patient_folder(path, top.split), top.path.name) for top in with_images for path in folders_in(top.path)]
    inner = [(folder, label) for folder, label in inner if folder.leaves]
    folders, labels = [folder for folder, _ in inner], [label for _, label in inner]
    if len(set(labels)) < 2 or any(images_in(top.path) for top in tops) or not are_patients(folders):
        return None
    column: Literal["label", "visit", "year"] = "visit" if visits else "year" if years else "label"
    by_sequence = named_by_sequence(folders) or all(_is_of_sequences(folder) for folder in folders)
    return Group(folders, labels, column) if column != "label" or by_sequence else None


def _are_grades(tops: Sequence[PatientFolder]) -> bool:
    """Whether every split has the same few folders, numbered 0, 1, 2, …: classes, as patients would not be in all."""
    of_split: dict[str, set[str]] = {}
    for folder in tops:
        of_split.setdefault(folder.split, set()).add(folder.name)
    first, *others = of_split.values() if len(of_split) > 1 else (set[str](), set[str]())
    numbers = sorted(int(name) for name in first if name.isdecimal())
    counted_up = bool(numbers) and numbers in ([*range(len(first))], [*range(1, len(first) + 1)])
    return counted_up and len(first) <= _MOST_GRADES and all(names == first for names in others)


def _is_of_sequences(folder: PatientFolder) -> bool:
    """Whether all folders of a patient are named by sequences, or hold masks beside them."""
    return all(folder.sequence_at(leaf) or folder.is_of_masks(leaf) for leaf in folder.leaves)


def named_by_sequence(folders: Sequence[PatientFolder]) -> bool:
    """Whether most files are named by what they show (`t1`, `flair`), and not numbered."""
    roles = [folder.roles_in(leaf) for folder in folders for leaf in folder.leaves if not is_mask_name(leaf.name)]
    counts = Counter(of_leaf[item.path] for of_leaf in roles for item in pair(list(of_leaf)))
    counts = Counter({name: count for name, count in counts.items() if not is_mask_name(name) and not is_visit(name)})
    often = sum(count for name, count in counts.items() if not is_numbered(name) and (count > 1 or len(folders) == 1))
    return often * 2 > sum(counts.values())
