"""Folds of a cohort: drawn by patient, one per hospital, or named by the table; every patient is tested once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from radapt.cohorts.cohort import Case, Cohort
from radapt.cohorts.fold_rule import FoldRule
from radapt.cohorts.splits import assign, strata_of

OUT_OF_FOLD = "oof"
"""The split of every case that is tested once, by the model of its fold."""

LEFT_OUT = "left-out"
"""The split of an unlabelled case while its hospital is held out: not trained on, and not tested."""


def in_folds(cohort: Cohort, folds: Sequence[str | None], rule: FoldRule | None = None) -> Cohort:
    """The cohort in which each case is tested in its fold; None or '' is trained on only.

    A patient that has no label and no mask is not tested, but not trained on for its own fold either. The splits of
    the cohort are set aside.
    """
    known = cohort.labels >= 0 if cohort.labels.ndim == 1 else np.isfinite(cohort.labels).any(axis=1)
    answered = known | np.asarray([case.mask is not None for case in cohort], dtype=bool)
    tested = set(cohort.patients[answered])
    cases = tuple(
        replace(case, fold=fold or None, split=OUT_OF_FOLD if fold and case.patient in tested else "train")
        for case, fold in zip(cohort, folds, strict=True)
    )
    names = fold_order([case.fold for case in cases if case.fold and case.split == OUT_OF_FOLD])
    return replace(cohort, cases=cases, folds=names, fold_rule=rule)


def hold_out(cohort: Cohort, fold: str) -> Cohort:
    """The plain cohort in which `fold` is the only test set, `oof`, and everything else is train.

    An unlabelled case whose hospital is held out is in neither. Rows keep their order, and the cohort its `fold_rule`.
    """
    return replace(cohort, folds=(), cases=tuple(_held_out(case, fold) for case in cohort))


def _held_out(case: Case, fold: str) -> Case:
    if case.fold != fold:
        return replace(case, split="train", fold=None)
    return replace(case, split=OUT_OF_FOLD if case.split == OUT_OF_FOLD else LEFT_OUT, fold=None)


def all_train(cohort: Cohort) -> Cohort:
    """The plain cohort in which every case is train, for a model that is delivered after its folds were scored."""
    cases = tuple(replace(case, split="train", fold=None) for case in cohort)
    return replace(cohort, folds=(), fold_rule=None, cases=cases)


def fold_order(names: Sequence[str]) -> tuple[str, ...]:
    """The distinct names of folds: numbers by value, then words by letter."""
    return tuple(
        sorted(set(names), key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))
    )


def draw_folds(
    labels: np.ndarray,
    patients: np.ndarray,
    tested: np.ndarray,
    count: int,
    rng: np.random.Generator,
    previous: Mapping[str, str] | None = None,
) -> np.ndarray:
    """Give every `tested` (N,) case a fold, `0` to `count` - 1, by patient, stratified by class or finding.

    labels: (N,) class index with -1 unlabelled, or (N, F) with 1, 0, NaN unknown. `previous` holds the folds of an
    earlier draw by patient. Returns (N,) folds, '' for a patient without a tested case. The assignment is that of
    `draw_splits`, and does not depend on the order of the rows.
    """
    keys, owner = np.unique(patients.astype(str), return_inverse=True)
    eligible = np.zeros(len(keys), dtype=bool)
    np.logical_or.at(eligible, owner, tested)
    names = [str(number) for number in range(count)]
    known = {patient: fold for patient, fold in (previous or {}).items() if fold in names}
    words = [known.get(str(key), "") if able else "" for key, able in zip(keys, eligible, strict=True)]
    strata, labelled = strata_of(labels, owner, len(keys))
    strata = np.column_stack([strata, ~labelled])  # patients with a mask and no label are spread, too
    need = {name: (strata & eligible[:, None]).sum(0) / count for name in names}
    for name, lacking in need.items():
        lacking -= strata[np.array([word == name for word in words])].sum(0)
    free = eligible & np.array([not word for word in words])
    assign(words, free, strata, need, rng)
    return np.asarray(words, dtype=object)[owner]


def folds_path(cohort_yaml: Path) -> Path:
    """The file beside a cohort file that drawn folds are written to."""
    return cohort_yaml.with_name(f"{cohort_yaml.stem}.folds.csv")
