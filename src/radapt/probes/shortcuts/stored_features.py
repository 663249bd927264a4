"""The shortcuts in the stored features of a cohort."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from radapt.cohorts import Cohort
from radapt.cohorts.groupings import Grouping
from radapt.features import Features, Pooling
from radapt.metrics.subgroups import Groups
from radapt.probes.shortcuts.search import ProbedCases, Shortcut, find_shortcuts
from radapt.protocols.holdout import labelled
from radapt.protocols.problem import FeatureProblem

MOST_CASES = 10_000
"""Of a larger cohort, the cases of so many patients, drawn once: the answer is known by then."""


def shortcuts_of(
    features: Features, columns: Sequence[Grouping], *, rng: np.random.Generator, resamples: int
) -> tuple[Shortcut, ...]:
    """What `find_shortcuts` says of the columns. Labels of test sets are not read."""
    cases = _cases(features)
    groups = [Groups(one.column, one.groups[cases.rows], one.names) for one in columns]
    return find_shortcuts(cases, groups, rng=rng, resamples=resamples)


def _cases(features: Features) -> ProbedCases:
    """The labelled cases outside the test sets; with folds, where every patient trains some model, all of them."""
    cohort, problem = features.cohort, FeatureProblem(features, Pooling())
    own = labelled(cohort.labels)
    if not cohort.folds:
        own &= np.isin(cohort.splits, ("train", "val"))
    rows = _sampled(np.flatnonzero(own), cohort)
    return ProbedCases(problem.source, rows, cohort.labels[rows], cohort.outputs, np.asarray(cohort.patients)[rows])


def _sampled(rows: np.ndarray, cohort: Cohort) -> np.ndarray:
    if len(rows) <= MOST_CASES:
        return rows
    patients = np.asarray(cohort.patients)[rows]
    order = np.random.default_rng(0).permutation(sorted(set(patients)))
    counts = Counter(patients.tolist())
    sizes = np.cumsum([counts[one] for one in order.tolist()])
    return rows[np.isin(patients, order[: max(1, int((sizes <= MOST_CASES).sum()))])]
