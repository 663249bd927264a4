"""Checks of folds: what is left to train on while each is held out."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from radapt.cohorts.cohort import Cohort
from radapt.cohorts.consistency import enough_of_every_class
from radapt.cohorts.folds import OUT_OF_FOLD, hold_out
from radapt.cohorts.issue import CohortIssue

_FIX = "Draw other folds, or merge it with another one."


def folds_can_be_learned(cohort: Cohort, file: str) -> list[CohortIssue]:
    """An error for every fold without which the labelled cases have fewer than two classes; a warning for folds in
    which metrics that need two classes are undefined. Masks are checked where nothing but masks can be learned.
    """
    if cohort.task == "segmentation":
        return [issue for fold in cohort.folds for issue in _masks_left(cohort, fold, file)]
    overall = [issue for issue in enough_of_every_class(_in_one(cohort), file) if issue.severity == "error"]
    if overall:
        return overall
    issues = []
    for fold in cohort.folds:
        held = hold_out(cohort, fold)
        train = _outputs(held, held.splits == "train")
        if not len(train):
            message = f"Without fold {fold!r} no labelled case is left to train on."
            issues.append(CohortIssue("error", "one-class", message, file=file, fix=_FIX))
        elif len(train) < 2 and not cohort.findings:
            message = f"Without fold {fold!r} only cases of the class {train[0]!r} are left to train on."
            issues.append(CohortIssue("error", "one-class", message, file=file, fix=_FIX))
    return issues + _one_class_tests(cohort, file)


def _in_one(cohort: Cohort) -> Cohort:
    """The cohort as if all of it were train: what any division needs."""
    cases = tuple(replace(case, split="train") for case in cohort)
    return replace(cohort, cases=cases)


def _outputs(cohort: Cohort, rows: np.ndarray) -> Sequence[str]:
    """The classes of the rows; of findings those that are both present and absent among them."""
    labels = cohort.labels[rows]
    if cohort.findings:
        both = (labels == 1).any(axis=0) & (labels == 0).any(axis=0)
        return [name for name, able in zip(cohort.findings, both, strict=True) if able]
    return [cohort.classes[label] for label in np.unique(labels[labels >= 0])]


def _one_class_tests(cohort: Cohort, file: str) -> list[CohortIssue]:
    tested = cohort.splits == OUT_OF_FOLD
    of_case = np.asarray([case.fold for case in cohort], dtype=object)
    needed = len(cohort.findings) or 2
    lacking = [fold for fold in cohort.folds if len(_outputs(cohort, tested & (of_case == fold))) < needed]
    if not lacking:
        return []
    what = "finding that is present and absent" if cohort.findings else "second class"
    message = f"Folds without a {what}: {', '.join(map(repr, lacking))}."
    fix = "Their own metrics that need both are NaN; those of all patients together are not."
    return [CohortIssue("warning", "one-class", message, file=file, fix=fix)]


def _masks_left(cohort: Cohort, fold: str, file: str) -> list[CohortIssue]:
    if any(case.mask is not None for case in hold_out(cohort, fold) if case.split == "train"):
        return []
    message = f"Without fold {fold!r} no case with a mask is left to train on."
    return [CohortIssue("error", "no-masks", message, file=file, fix=_FIX)]
