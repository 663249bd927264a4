"""The labels that an adaptation may see, and what is said where some are missing."""

from typing import Any

import numpy as np
import torch

from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError, counted
from radapt.mmdino.label_encoding import shares
from radapt.mmdino.slices import SliceLoader
from radapt.mmdino.student import SampleLabels


def training_labels(cohort: Cohort, *, unlabelled: bool) -> tuple[np.ndarray, SampleLabels | None, list[str]]:
    """The labels of train and val, with all others blank; their kind and frequencies; notes for the reader.

    Without any label in train, or with a single class, there are no frequencies: nothing can be classified. Raises
    DataError where training has no two different labels and does not learn from cases without one (`unlabelled`).
    """
    targets = np.array(cohort.labels, dtype=np.float64 if cohort.labels.ndim == 2 else np.int64)
    targets[~np.isin(cohort.splits, ("train", "val"))] = -1 if targets.ndim == 1 else np.nan
    train = targets[cohort.splits == "train"]
    count, separable = int(labelled_cases(train).sum()), _has_two_classes(train)
    found = "no labelled training case"
    if count:
        found = f"{counted(count, 'labelled training case')}, but no two with different labels"
    if not (separable or unlabelled):
        raise DataError(f"Cohort {cohort.name!r} has {found}, and the options train on labels only. {_FIX}")
    if not count or (targets.ndim == 1 and len(cohort.outputs) == 1):
        note = f"There is {found}: the backbone is adapted without labels, and has no classifier. {_FIX}"
        return targets, None, [note]
    frequency = shares(train, len(cohort.outputs))
    kind: Any = "classes" if targets.ndim == 1 else "findings"
    notes = [] if separable else [f"There is {found}: every patient gets the class frequencies of training. {_FIX}"]
    return targets, SampleLabels(kind, len(cohort.outputs), torch.from_numpy(frequency).float()), notes


_FIX = "Give labelled cases of two classes or more, or with and without a finding, the split 'train'."


def _has_two_classes(train: np.ndarray) -> bool:
    """Whether training cases have two classes, or a finding that is both present and absent."""
    if train.ndim == 1:
        return len(set(train[train >= 0].tolist())) > 1
    return bool(((train == 1).any(axis=0) & (train == 0).any(axis=0)).any())


def has_two_labels(cohort: Cohort) -> bool:
    """Whether training cases have two classes, or a finding that is both present and absent."""
    return bool(len(cohort.outputs)) and _has_two_classes(cohort.labels[cohort.splits == "train"])


def left_out_notes(left_out: tuple[str, ...], feed: SliceLoader, labels: SampleLabels | None) -> list[str]:
    """A note on sequences without a training case, and on cases that have no others."""
    if not left_out:
        return []
    note = f"No training case has {', '.join(left_out)}: left out in every case."
    if lacking := int((~feed.able).sum()):
        outcome = "Predicted with the class frequencies of training" if labels else "Left out as well"
        note += f" {outcome}, for lack of any other sequence: {counted(lacking, 'case')} of other splits."
    return [note]


def labelled_cases(targets: np.ndarray) -> np.ndarray:
    """(N,) bool: cases with a label, or with at least one known finding."""
    return targets >= 0 if targets.ndim == 1 else np.isfinite(targets).any(axis=1)
