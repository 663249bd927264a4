"""The holdout split: which cases a protocol trains on and which it chooses on. Test sets are neither."""

from dataclasses import replace
from typing import Protocol

import numpy as np

from radapt.cohorts.cohort import CHOOSING_SPLITS, Case, Cohort
from radapt.cohorts.cohort_file import Fractions
from radapt.cohorts.splits import draw_splits
from radapt.errors import DataError, UsageError, counted
from radapt.training.fit_record import FitCases, ValSource

TASKS = ("binary", "multiclass", "multilabel")

INNER_VAL = 0.2
"""Fraction of training patients that are held out for choices if the cohort has no labelled val case."""


def labelled(labels: np.ndarray) -> np.ndarray:
    """(N,) bool: cases with a class, or with at least one known finding."""
    return labels >= 0 if labels.ndim == 1 else np.isfinite(labels).any(axis=1)


def masked(cohort: Cohort) -> np.ndarray:
    """(N,) bool: cases with a mask."""
    return np.asarray([case.mask is not None for case in cohort], dtype=bool)


def train_and_val(
    labels: np.ndarray, usable: np.ndarray, cohort: Cohort, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training cases and of the cases to choose on, among the `usable` (N,) bool.

    These are the cohort's own train and val. Without a usable val case, a fraction `INNER_VAL` of the training patients
    is held out, stratified by `labels` (not if all are -1); no patient is on both sides. If the training set is too
    small for that (each class must stay in train), there are no cases to choose on.
    """
    splits = cohort.splits
    train, val = np.flatnonzero(usable & (splits == "train")), np.flatnonzero(usable & (splits == "val"))
    if len(val):
        return train, val
    blank = np.full(len(train), "", dtype=object)
    share = Fractions(val=INNER_VAL, test=0.0)
    drawn = draw_splits(labels[train], cohort.patients[train], blank, share, rng)
    return train[drawn == "train"], train[drawn == "val"]


class HasRows(Protocol):
    """A problem with labelled cases."""

    def rows(self, split: str) -> np.ndarray:
        """Indices of the labelled (or masked) cases of a split."""
        ...


def fit_cases(problem: HasRows, train: np.ndarray, val: np.ndarray, refit: np.ndarray | None = None) -> FitCases:
    """The numbers of cases for training and choices, for the fit record; `train` and `val` are those of the problem."""
    source: ValSource = "none" if not len(val) else "cohort" if len(problem.rows("val")) else "train"
    return FitCases(len(train), len(val), source, None if refit is None else len(refit))


def blank_test_labels(cohort: Cohort) -> Cohort:
    """The cohort without label, findings and mask of every case outside train and val."""
    return replace(cohort, cases=tuple(_blank(case) for case in cohort.cases))


def _blank(case: Case) -> Case:
    if case.split in CHOOSING_SPLITS:
        return case
    return replace(case, label=None, findings=(None,) * len(case.findings), mask=None)


def check_learnable(cohort: Cohort) -> None:
    """Raises UsageError if the cohort has no labels of its own, DataError if train has too few of them."""
    if cohort.task not in TASKS:
        raise UsageError(
            f"Cohort {cohort.name!r} cannot be classified: it has neither a 'label' column nor 'label:<finding>' "
            "columns. Add one, with empty cells where the label is unknown."
        )
    name = cohort.name
    train = np.flatnonzero((cohort.splits == "train") & labelled(cohort.labels))
    if not len(train):
        raise DataError(
            f"Cohort {name!r} has no labelled case in split 'train', so nothing can be learned. Label some of its "
            "training cases, or give labelled cases the split 'train'."
        )
    if cohort.task == "multilabel":
        findings = cohort.labels[train]
        if not ((findings == 1).any(axis=0) & (findings == 0).any(axis=0)).any():
            raise DataError(
                f"Cohort {name!r} has in split 'train' no finding with both a positive and a negative case, so nothing "
                f"can be learned ({', '.join(cohort.outputs)}). Label more training cases."
            )
        return
    classes = cohort.outputs
    if len(train) < len(classes):
        raise DataError(
            f"Cohort {name!r} has {counted(len(train), 'labelled case')} in split 'train', fewer than its "
            f"{len(classes)} classes ({', '.join(classes)}). Label more training cases, or name fewer classes."
        )
    present = np.unique(cohort.labels[train])
    if len(present) < 2:
        raise DataError(
            f"Cohort {name!r} has only class {classes[present[0]]!r} in split 'train' "
            f"({counted(len(train), 'labelled case')}), so nothing can be learned. Give 'train' "
            "labelled cases of at least two classes."
        )


def check_masks(cohort: Cohort) -> None:
    """Raises UsageError if the cohort has no masks, DataError if train has none of them."""
    usable = masked(cohort)
    if not usable.any():
        raise UsageError(
            f"Cohort {cohort.name!r} cannot be segmented: no case of train or val has a mask. Give training cases "
            "one in the column 'mask', or give cases with a mask the split 'train'."
        )
    if not (usable & (cohort.splits == "train")).any():
        raise DataError(
            f"Cohort {cohort.name!r} has no case with a mask in split 'train', so nothing can be learned. Give "
            "training cases a mask, or give cases with a mask the split 'train'."
        )
