"""Timed runs on few patients, and the line through them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from radapt.cohorts import Cohort


@dataclass(frozen=True)
class Sample:
    """One timed run: on so many cases, and so many epochs or steps (0 for what has neither)."""

    cases: int
    length: float
    seconds: float


def extrapolate(samples: Sequence[Sample], cases: int, length: float, *, by_steps: bool = False) -> float:
    """Seconds on so many cases for so long: a constant, a part for each case, and one for each case and epoch or, with
    `by_steps`, for each step. No part is negative."""
    from scipy.optimize import nnls

    def terms(n: int, long: float) -> list[float]:
        return [1.0, float(n), long if by_steps else n * long]

    rows = np.array([terms(sample.cases, sample.length) for sample in samples])
    seconds = np.array([sample.seconds for sample in samples])
    weights = 1 / np.maximum(seconds, 1e-3)  # relative errors count
    scale = np.maximum(np.abs(rows).max(axis=0), 1e-9)
    parts, _ = nnls(rows / scale * weights[:, None], seconds * weights)
    return float(np.dot(parts / scale, terms(cases, length)))


def few_patients(cohort: Cohort, count: int) -> Cohort:
    """`count` patients of the cohort, with splits, folds, labels and masks about as in the whole."""
    strata: dict[str, tuple[str, ...]] = {}
    for case, label in zip(cohort, cohort.labels.tolist(), strict=True):
        strata.setdefault(case.patient, (case.split, case.fold or "", str(label), str(case.mask is not None)))
    ordered = sorted(strata, key=lambda patient: (strata[patient], patient))
    chosen = {ordered[at] for at in np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round().astype(int)}
    few = tuple(case for case in cohort if case.patient in chosen)
    folds = tuple(fold for fold in cohort.folds if any(case.fold == fold for case in few))
    return replace(cohort, cases=few, folds=folds)
