"""Inner folds that leave out whole groups, such as hospitals: what mixed folds choose need not hold at another one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radapt.cohorts.fold_groups import FoldGroups
from radapt.cohorts.folds import draw_folds
from radapt.errors import counted

LEAST_GROUPS = 3
"""Of two groups, either would be all that the other is predicted from, which says little about models of both."""


@dataclass(frozen=True, eq=False)
class DealtGroups:
    """The fold (n,) of each row, once for each repeat, and the words for it; or the `problem` that forbids it."""

    dealt: tuple[np.ndarray, ...] = ()
    unit: str = ""
    problem: str = ""


def deal_groups(
    groups: FoldGroups,
    rows: np.ndarray,
    labels: np.ndarray,
    patients: np.ndarray,
    folds: int,
    repeats: int,
    rng: np.random.Generator,
) -> DealtGroups:
    """Leave each group of the cases at `rows` out in turn, or deal more than 2 × `folds` of them into `folds`.

    `labels` (N,) or (N, F) and `patients` (N,) are of the whole cohort. There have to be `LEAST_GROUPS`, each patient
    in one of them, and every fold has to leave all classes to learn from (of findings: one finding with both answers).
    """
    own, column = groups.groups[rows].astype(str), groups.column
    names, group = np.unique(own, return_inverse=True)
    if len(names) < LEAST_GROUPS:
        return _mixed(column, f"{counted(len(names), 'group')} in train and val, and {LEAST_GROUPS} are needed")
    if len(set(zip(own, patients[rows], strict=True))) > len(set(patients[rows])):
        return _mixed(column, "a patient is in two of them")
    if len(names) <= 2 * folds:
        dealt, unit = [group.astype(np.int64)], f"that leave out each group of {column!r} in turn"
    else:
        every, unit = np.ones(len(rows), dtype=bool), f"of whole groups of {column!r}"
        dealt = [draw_folds(labels[rows], own, every, folds, each).astype(np.int64) for each in rng.spawn(repeats)]
    if lacking := _lacking(labels[rows], dealt):
        return _mixed(column, f"{lacking} would be left to learn from without one of them")
    return DealtGroups(tuple(dealt), unit)


def _mixed(column: str, why: str) -> DealtGroups:
    return DealtGroups(problem=f"Inner folds mix the groups of {column!r}: {why}.")


def _lacking(labels: np.ndarray, dealt: Sequence[np.ndarray]) -> str:
    """What a fold would lack among the cases that it learns from; '' where every fold has enough."""
    for fold in dealt:
        for held_out in range(int(fold.max()) + 1):
            learned = labels[fold != held_out]
            if labels.ndim == 2:
                if not ((learned == 1).any(axis=0) & (learned == 0).any(axis=0)).any():
                    return "no finding with both answers"
            elif len(np.unique(learned)) < len(np.unique(labels)):
                return "not every class"
    return ""
