"""Timed runs on few patients, and the lines through them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from radapt.cohorts import Cohort

_FOLDS = 2
"""Outer folds that are timed; the others cost as much."""


@dataclass(frozen=True)
class Workload:
    """What a cell goes through: its `cases`, and how often it trains on one in an epoch of all its outer folds."""

    cases: int
    trained: int

    @classmethod
    def of(cls, cohort: Cohort) -> "Workload":
        """That of a cohort: with folds, every case is in all trainings but one."""
        cases = len(cohort)
        if cohort.folds:
            return cls(cases, cases * (len(cohort.folds) - 1))
        return cls(cases, cases - sum(case.split in cohort.test_sets for case in cohort))


@dataclass(frozen=True)
class Sample:
    """One timed run: so many seconds, of which `training` were spent on trainings of so many epochs or steps."""

    work: Workload
    seconds: float
    training: float = 0.0
    length: float = 0.0


def extrapolate(samples: Sequence[Sample], work: Workload, length: float, *, by_steps: bool = False) -> float:
    """Seconds of so much work for so long, from one timed run or several.

    What is not training grows with the cases: reading, encoding and scoring. Training grows with the cases that it goes
    through in all epochs or, `by_steps`, with steps and with the validation passes, whose number is fixed. Constants
    are fitted where there are several runs, and no part is negative.
    """
    rest = _line([(s.work.cases, s.seconds - s.training) for s in samples], work.cases)
    if not length:
        return rest
    if by_steps:
        rows = [[float(s.work.trained), s.length] for s in samples]
        training = _fitted(rows, [s.training for s in samples], [float(work.trained), length])
    else:
        training = _line([(s.work.trained * s.length, s.training) for s in samples], work.trained * length)
    return rest + training


def _line(points: Sequence[tuple[float, float]], at: float) -> float:
    """The value at `at` of a line through points (amount, seconds); through one point and the origin if it is alone."""
    amounts, seconds = zip(*points, strict=True)
    constant = [1.0] if len(points) > 1 else []
    return _fitted([[*constant, float(amount)] for amount in amounts], seconds, [*constant, float(at)])


def _fitted(rows: Sequence[Sequence[float]], seconds: Sequence[float], at: Sequence[float]) -> float:
    from scipy.optimize import nnls

    table, values = np.array(rows), np.maximum(np.array(seconds), 0.0)
    weights = 1 / np.maximum(values, 1e-3)  # relative errors count
    scale = np.maximum(np.abs(table).max(axis=0), 1e-9)
    parts, _ = nnls(table / scale * weights[:, None], values * weights)
    return float(np.dot(parts / scale, at))


def few_patients(cohort: Cohort, count: int) -> Cohort:
    """`count` patients of the cohort, with splits, labels and masks about as in the whole; of folds only the first two,
    each of which is tested once."""
    kept = set(cohort.folds[:_FOLDS])
    strata: dict[str, tuple[str, ...]] = {}
    for case, label in zip(cohort, cohort.labels.tolist(), strict=True):
        if not kept or case.fold in kept:
            strata.setdefault(case.patient, (case.split, case.fold or "", str(label), str(case.mask is not None)))
    ordered = sorted(strata, key=lambda patient: (strata[patient], patient))
    chosen = {ordered[at] for at in np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round().astype(int)}
    few = tuple(case for case in cohort if case.patient in chosen)
    folds = tuple(fold for fold in cohort.folds if any(case.fold == fold for case in few))
    return replace(cohort, cases=few, folds=folds)
