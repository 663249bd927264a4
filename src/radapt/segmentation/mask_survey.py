"""A survey of the masks of a cohort before training: their labels, and the image whose grid each shares."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from radapt.cases.preflight import attempt, failure_list
from radapt.cohorts.cohort import Case, Cohort
from radapt.errors import DataError, UsageError, counted
from radapt.images import AlignedSliceCache, MaskFacts, Volume, mask_labels_problem, same_grid
from radapt.locations import Location
from radapt.progress import ProgressMaker, silent

MOST_LABELS = 255
"""Masks are stored as 8-bit planes, in which 0 is background."""

_PICTURED = 255


@dataclass(frozen=True)
class MaskSurvey:
    """The result of a survey. `labels` are {value: name}, ascending; `order` the modalities, those with most training
    masks first; `shared` the modalities of a row, in that order, whose grid its mask shares; `notes` for the reader."""

    labels: Mapping[int, str]
    order: tuple[str, ...]
    shared: Mapping[int, tuple[str, ...]]
    notes: tuple[str, ...] = ()

    def reference(self, case: Case, row: int) -> str:
        """The modality in whose grid the case is segmented: one that shares its mask's grid, else the first it has.

        Raises DataError for a case without images.
        """
        present = self.shared.get(row) or [name for name in self.order if name in case.images]
        if not present:
            raise DataError(f"Case {case.case} has no image. Give it one, or remove its row.")
        return present[0]


def survey_masks(cohort: Cohort, cache: AlignedSliceCache, progress: ProgressMaker = silent) -> MaskSurvey:
    """Survey every mask of the cohort; results of earlier surveys are read from the cache.

    Labels are the cohort's `mask_labels`; without them, the numbers in the masks of train. A mask must share the grid
    of one image of its case.

    Raises DataError that lists every unusable mask with the reason, or if all masks of train are empty; UsageError for
    ambiguous labels.
    """
    rows = [row for row, case in enumerate(cohort) if case.mask is not None]
    facts, failures = _all_facts(cohort, rows, cache, progress)
    train = [row for row in facts if cohort.cases[row].split == "train"]
    labels = _declared(cohort) or _observed(cohort, [facts[row][0] for row in train])
    origin = "mask_labels has" if cohort.mask_labels else "the masks of train hold"
    for row, (mask, _) in facts.items():
        problem = mask_labels_problem(np.asarray(list(mask.voxels)), labels, origin)
        if problem and problem.severity == "error":
            failures[row] = f"mask {cohort.cases[row].mask}: {problem.message} {problem.fix}"
    if failures:
        raise DataError(_message(cohort, failures, len(rows)))
    drawn_on = Counter(name for row in train for name in facts[row][1])
    order = tuple(sorted(cohort.modalities, key=lambda name: (-drawn_on[name], cohort.modalities.index(name))))
    shared = {row: tuple(sorted(names, key=order.index)) for row, (_, names) in facts.items()}
    return MaskSurvey(labels, order, shared, _notes(cohort, labels, [facts[row][0] for row in train]))


def _all_facts(
    cohort: Cohort, rows: list[int], cache: AlignedSliceCache, progress: ProgressMaker
) -> tuple[dict[int, tuple[MaskFacts, tuple[str, ...]]], dict[int, str]]:
    """For each row its mask and the modalities that share its grid; and the rows that failed, with the reason."""
    workers = max(1, min(8, (os.cpu_count() or 1) // 2))
    label = f"Reading the masks of {cohort.name}"
    facts, failures = attempt(rows, lambda row: _facts(cohort.cases[row], cache), progress, label, "masks", workers)
    by_row = {rows[position]: fact for position, fact in facts.items()}
    return by_row, {rows[position]: reason for position, reason in failures.items()}


def _facts(case: Case, cache: AlignedSliceCache) -> tuple[MaskFacts, tuple[str, ...]]:
    if case.mask is None or not case.images:
        raise DataError("it has a mask but no image.")
    mask = cache.mask_facts(case.mask)
    grids = {name: cache.grid(location) for name, location in case.images.items()}
    shared = tuple(name for name, grid in grids.items() if same_grid(grid, mask.grid) is None)
    if not shared:
        raise DataError(_grid_mismatch(case.mask, mask.grid, grids))
    return mask, shared


def _grid_mismatch(location: Location, mask: Volume, grids: Mapping[str, Volume]) -> str:
    differences = "; ".join(f"{name}: {same_grid(grid, mask)}" for name, grid in grids.items())
    return (
        f"mask {location} does not share the grid of any image of the case ({differences}). Resample it to one of "
        "them with nearest-neighbour interpolation."
    )


def _declared(cohort: Cohort) -> dict[int, str]:
    labels = {value: name for value, name in sorted(cohort.mask_labels.items()) if value != 0}
    twice = [name for name, uses in Counter(labels.values()).items() if uses > 1]
    if twice:
        raise UsageError(
            f"mask_labels of cohort {cohort.name!r} calls two numbers {twice[0]!r}; give each its own name."
        )
    return _few_enough(cohort, labels)


def _observed(cohort: Cohort, masks: Iterable[MaskFacts]) -> dict[int, str]:
    values = sorted({value for mask in masks for value in mask.voxels})
    if not values:
        raise DataError(f"Every mask of cohort {cohort.name!r} in split 'train' is empty, so nothing can be learned.")
    if values == [1, _PICTURED]:
        raise DataError(
            f"Some masks of cohort {cohort.name!r} hold 1 and some 255. If both mean the same, give the cohort "
            "mask_labels: {1: name} and 255 is read as 1; if not, give mask_labels: {1: name, 255: other name}."
        )
    return _few_enough(cohort, {value: str(value) for value in values})


def _few_enough(cohort: Cohort, labels: dict[int, str]) -> dict[int, str]:
    if len(labels) > MOST_LABELS:
        raise UsageError(
            f"Cohort {cohort.name!r} has {len(labels)} mask labels, more than {MOST_LABELS}. Declare those you want in "
            "mask_labels, and keep only them in the masks."
        )
    return labels


def _notes(cohort: Cohort, labels: Mapping[int, str], masks: list[MaskFacts]) -> tuple[str, ...]:
    seen = {value for mask in masks for value in mask.voxels}
    if _PICTURED in seen and len(labels) == 1:
        seen |= set(labels)
    missing = [name for value, name in labels.items() if value not in seen]
    return tuple(f"label {name!r} is in no mask of train, so it cannot be learned" for name in missing)


def _message(cohort: Cohort, failures: Mapping[int, str], total: int) -> str:
    head = (
        f"{len(failures)} of {counted(total, 'masked case')} of {cohort.name} cannot be used. Correct these, or leave "
        "their rows out of the table; radapt check looks at all of them"
    )
    return failure_list(head, (f"Case {cohort.cases[row].case}: {reason}" for row, reason in sorted(failures.items())))
