"""The shortcuts in the stored features of a cohort."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radapt.cohorts import Cohort
from radapt.cohorts.groupings import Grouping
from radapt.features import Features, Pooling
from radapt.metrics.subgroups import Groups
from radapt.probes.shortcuts.search import LabelledCases, Shortcut, ShortcutSearch
from radapt.protocols.holdout import labelled
from radapt.protocols.problem import FeatureProblem

SEED = 0
"""Of the folds and draws of a study."""

MOST_CASES = 10_000
"""Of a larger cohort, the cases of so many patients, drawn once: the answer is known by then."""


@dataclass(frozen=True, eq=False)
class FoundShortcuts:
    """The shortcuts, and the answers of the probes that they follow from: `case`, then a column of logits for each
    group that was learned."""

    shortcuts: tuple[Shortcut, ...]
    answers: pd.DataFrame


def shortcuts_of(
    features: Features, columns: Sequence[Grouping], *, rng: np.random.Generator, resamples: int
) -> FoundShortcuts:
    """What `find_shortcuts` says of the columns. Labels of test sets are not read."""
    cohort, rows = features.cohort, _rows(features.cohort)
    groups = [Groups(one.column, one.groups[rows], one.names) for one in columns]
    cases = LabelledCases(cohort.labels[rows], cohort.outputs, np.asarray(cohort.patients)[rows])
    search = ShortcutSearch.of(cases, groups, rng)
    names = [cohort.cases[row].case for row in rows]
    if not search.columns:
        return FoundShortcuts((), pd.DataFrame({"case": names}))
    logits = search.logits(FeatureProblem(features, Pooling()).source, rows)
    answers = pd.DataFrame(logits, columns=[f"logit_{number}" for number in range(logits.shape[1])])
    answers.insert(0, "case", names)
    return FoundShortcuts(search.shortcuts(logits, rng, resamples), answers)


def shortcuts_again(
    cases: pd.DataFrame, groups: pd.DataFrame, outputs: Sequence[str], answers: pd.DataFrame, *, resamples: int
) -> tuple[Shortcut, ...]:
    """The shortcuts of a study from the stored answers of its probes, and its tables of cases and of their groups.

    Raises ValueError for answers to other groups.
    """
    names, rng = pd.Index(answers["case"]), np.random.default_rng(SEED)
    own = cases.set_index("case").loc[names]
    labelled = LabelledCases(_labels(own, outputs), tuple(outputs), own["patient"].to_numpy())
    search = ShortcutSearch.of(labelled, list(_columns(groups.set_index("case").loc[names])), rng)
    logits = answers.drop(columns="case").to_numpy(dtype=np.float64)
    if logits.shape[1] != sum(map(len, search.targets)):
        raise ValueError(f"{logits.shape[1]} columns of answers for {sum(map(len, search.targets))} groups")
    return search.shortcuts(logits, rng, resamples)


def _labels(cases: pd.DataFrame, outputs: Sequence[str]) -> np.ndarray:
    if "label" in cases:
        return cases["label"].map({name: number for number, name in enumerate(outputs)}).to_numpy(dtype=np.int64)
    return cases[[f"label:{name}" for name in outputs]].to_numpy(dtype=np.float64)


def _columns(groups: pd.DataFrame) -> Iterator[Groups]:
    for column, values in groups.items():
        of_row = np.asarray([value if isinstance(value, str) else "" for value in values], dtype=object)
        yield Groups(str(column), of_row, tuple(str(name) for name in values.cat.categories))


def _rows(cohort: Cohort) -> np.ndarray:
    """The labelled cases outside the test sets; with folds, where every patient trains some model, all of them."""
    own = labelled(cohort.labels)
    if not cohort.folds:
        own &= np.isin(cohort.splits, ("train", "val"))
    return _sampled(np.flatnonzero(own), cohort)


def _sampled(rows: np.ndarray, cohort: Cohort) -> np.ndarray:
    if len(rows) <= MOST_CASES:
        return rows
    patients = np.asarray(cohort.patients)[rows]
    order = np.random.default_rng(0).permutation(sorted(set(patients)))
    counts = Counter(patients.tolist())
    sizes = np.cumsum([counts[one] for one in order.tolist()])
    return rows[np.isin(patients, order[: max(1, int((sizes <= MOST_CASES).sum()))])]
