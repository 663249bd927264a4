"""How a study makes its choices: on val or by inner cross-validation, by which metric, with which decision."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from radapt.cohorts.cohort import CHOOSING_SPLITS, Cohort
from radapt.cohorts.fold_groups import AUTO, fold_groups
from radapt.cohorts.folds import draw_folds
from radapt.errors import UsageError, suggest
from radapt.metrics.metric import Metric
from radapt.metrics.registry import METRICS
from radapt.protocols.decisions import Rule
from radapt.protocols.whole_groups import deal_groups

Choose = Literal["auto", "val", "cv"]
Method = Literal["val", "cv", "none"]
InnerScores = Literal["chosen", "all"]

ENOUGH_PATIENTS = 100
"""`auto` chooses on val from so many labelled val patients on: an AUROC of 0.7 then has a standard error of 0.05, of 16
patients 0.13, which is more than what candidates usually differ by."""

ENOUGH_OF_RAREST = 15
"""And from so many val patients of the rarest class on: a sensitivity moves by at most 0.07 with one of them."""

FOLDS, NETWORK_FOLDS = 5, 3
"""Inner folds for probes, which take seconds, and for networks, which are trained once per fold and learning rate."""

REPEATS, FEW_PATIENTS = 3, 500
"""Draws of the folds for probes with fewer patients than this; with more of them one draw says as much as several."""


@dataclass(frozen=True)
class ChoiceRules:
    """How choices are made.

    `choose`: on `val`, by cross-validation inside train and val (`cv`), or by what val has (`auto`). `select_by` names
    the metric; None: MCC for classes, mean AUROC for findings. `decision` says how a class is decided for (see
    `protocols.decisions`). With `one_standard_error` the most strongly regularised candidate within one standard error
    of the best is taken. `inner_folds` names the column whose groups inner folds leave out whole: `auto` is the site
    where the cohort leaves sites out in turn, `patient` mixes groups (see `radapt.cohorts.fold_groups`).

    Only what was chosen by inner folds has a score inside training. With `inner_scores` `all` a classifier that chooses
    nothing is fitted again on `NETWORK_FOLDS` of them for its own, which takes as many times longer.
    """

    choose: Choose = "auto"
    select_by: str | None = None
    decision: Rule = "auto"
    one_standard_error: bool = False
    inner_folds: str = AUTO
    inner_scores: InnerScores = "chosen"

    def __post_init__(self) -> None:
        """Raises UsageError for a value that is not known, or a metric that is no number of the whole task."""
        words = {"choose": get_args(Choose), "decision": get_args(Rule), "inner_scores": get_args(InnerScores)}
        for name, known in words.items():
            if getattr(self, name) not in known:
                given = getattr(self, name)
                raise UsageError(f"{name} = {given!r} is not known. {suggest(str(given), known)}")
        if self.select_by is not None:
            known = tuple(name for name, metric in METRICS.items() if metric.overall)
            if self.select_by not in known:
                raise UsageError(
                    f"select_by = {self.select_by!r} is no metric of a task. {suggest(self.select_by, known)}"
                )

    def check(self, cohort: Cohort) -> None:
        """Raises UsageError where the cohort lacks the column of `inner_folds`."""
        fold_groups(cohort, self.inner_folds)

    def facts(self, cohort: Cohort) -> dict[str, Any]:
        """All that decides choices in a cohort, for digests. Raises UsageError for an unknown column."""
        groups = fold_groups(cohort, self.inner_folds)
        own = {name: value for name, value in asdict(self).items() if name != "inner_scores" or value == "all"}
        return own | {"groups": None if groups is None else groups.groups.tolist()}

    def metric(self, cohort: Cohort) -> Metric:
        """What candidates are compared by. Raises UsageError for a metric of ordered classes where they are not."""
        metric = METRICS[self.select_by or ("auroc" if cohort.task == "multilabel" else "mcc")]
        if metric.ordered_only and not cohort.ordered:
            raise UsageError(
                f"select_by = {metric.name!r} is for ordered classes, and those of cohort {cohort.name!r} are not. "
                "Write 'ordered: true' into its file, or choose by another metric, such as mcc."
            )
        return metric


@dataclass(frozen=True)
class InnerFold:
    """Cases to learn from, and cases of other patients to answer for: indices into the cohort."""

    train: np.ndarray
    held_out: np.ndarray


@dataclass(frozen=True)
class InnerFolds:
    """Repeated folds over the labelled cases of train and val. In each repeat every patient is held out once.

    `rows` are those labelled cases. What is held out may be more: unlabelled val cases of the same patients, which
    are answered for and score nothing. `unit` says what a fold holds out; `mixed` why groups are not left out whole
    where they should be.
    """

    rows: np.ndarray
    repeats: tuple[tuple[InnerFold, ...], ...]
    unit: str = "by patient"
    mixed: str = ""

    @property
    def folds(self) -> int:
        return len(self.repeats[0])

    @property
    def answered(self) -> np.ndarray:
        """Every case that is held out once in each repeat, in order."""
        return np.sort(np.concatenate([fold.held_out for fold in self.repeats[0]]))

    @property
    def words(self) -> str:
        again = f", drawn {len(self.repeats)} times" if len(self.repeats) > 1 else ""
        return f"{self.folds} inner folds {self.unit}{again}"


def method_of(rules: ChoiceRules, cohort: Cohort, usable: np.ndarray, labels: np.ndarray) -> Method:
    """Where choices are made. `usable` (N,) bool are the cases with a label or mask, `labels` those to be stratified
    by.

    `auto` is `cv` without val, with fewer than `ENOUGH_PATIENTS` val patients, and with fewer than `ENOUGH_OF_RAREST`
    of the rarest class (of findings: the rarer answer of the median finding). Where folds cannot be drawn, as no two
    classes have two patients, it is val, and `none` where there is no val either.
    """
    if rules.choose == "val" or (rules.choose == "auto" and _val_is_enough(cohort, usable, labels)):
        return "val"
    if _fold_count(cohort, _rows(cohort, usable), labels, FOLDS) >= 2:
        return "cv"
    return "val" if (usable & (cohort.splits == "val")).any() else "none"


def inner_folds(
    cohort: Cohort,
    usable: np.ndarray,
    labels: np.ndarray,
    folds: int,
    repeats: int,
    rng: np.random.Generator,
    by: str = AUTO,
) -> InnerFolds:
    """At most `folds` folds, fewer where the rarest class has fewer patients, `repeats` times; see `method_of`.

    `by` is that of `ChoiceRules.inner_folds`: whole groups are held out, see `deal_groups`. Where they cannot be, folds
    mix them, which `mixed` explains.
    """
    rows = _rows(cohort, usable)
    count = _fold_count(cohort, rows, labels, folds)
    others = np.flatnonzero(~usable & (cohort.splits == "val"))
    groups = fold_groups(cohort, by)
    whole = None if groups is None else deal_groups(groups, rows, labels, cohort.patients, folds, repeats, rng)
    if whole is not None and whole.dealt:
        split = tuple(_split(cohort, rows, others, fold, int(fold.max()) + 1) for fold in whole.dealt)
        return InnerFolds(rows, split, whole.unit)
    drawn = []
    for own in rng.spawn(repeats):
        every = np.ones(len(rows), dtype=bool)
        fold = draw_folds(labels[rows], cohort.patients[rows], every, count, own).astype(np.int64)
        drawn.append(_split(cohort, rows, others, fold, count))
    return InnerFolds(rows, tuple(drawn), mixed="" if whole is None else whole.problem)


def _split(cohort: Cohort, rows: np.ndarray, others: np.ndarray, fold: np.ndarray, count: int) -> tuple[InnerFold, ...]:
    """The folds of one repeat: `fold` (n,) of each of `rows`, and `others` with those of their patients."""
    of_patient = dict(zip(cohort.patients[rows], fold, strict=True))
    also = np.asarray([of_patient.get(patient, -1) for patient in cohort.patients[others]], dtype=np.int64)
    return tuple(
        InnerFold(rows[fold != f], np.sort(np.concatenate([rows[fold == f], others[also == f]]))) for f in range(count)
    )


def _rows(cohort: Cohort, usable: np.ndarray) -> np.ndarray:
    return np.flatnonzero(usable & np.isin(cohort.splits, CHOOSING_SPLITS))


def _fold_count(cohort: Cohort, rows: np.ndarray, labels: np.ndarray, folds: int) -> int:
    """How many folds can be drawn; 0 where not every fold would leave two classes to learn from."""
    counts = _answers(cohort, rows, labels)
    if labels.ndim == 2:  # findings that have both answers twice
        return min(folds, int(counts.min(axis=1).max(initial=0)))
    counts = np.sort(counts[counts > 0])[::-1]
    if len(counts) > 1 and counts[1] < 2:
        return 0
    patients = len(set(cohort.patients[rows]))
    return min(folds, patients, max(2, int(counts[-1]))) if len(counts) and counts[0] > 1 else 0


def _val_is_enough(cohort: Cohort, usable: np.ndarray, labels: np.ndarray) -> bool:
    val = np.flatnonzero(usable & (cohort.splits == "val"))
    if len(set(cohort.patients[val])) < ENOUGH_PATIENTS:
        return False
    counts = _answers(cohort, val, labels)
    if labels.ndim == 2:
        return bool(np.median(counts.min(axis=1)) >= ENOUGH_OF_RAREST)
    if (labels < 0).all():  # masks have no classes
        return True
    learned = np.unique(labels[usable & (cohort.splits == "train")])
    return bool((counts[learned] >= ENOUGH_OF_RAREST).all())


def _answers(cohort: Cohort, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Patients with each class (C,), or with each answer of each finding (F, 2); (1,) where nothing is stratified."""

    def patients(which: np.ndarray) -> int:
        return len(set(cohort.patients[rows[which]]))

    own = labels[rows]
    if labels.ndim == 2:
        return np.asarray([[patients(own[:, f] == answer) for answer in (0, 1)] for f in range(labels.shape[1])])
    if (labels < 0).all():
        return np.asarray([patients(np.ones(len(rows), dtype=bool))])
    return np.asarray([patients(own == c) for c in range(len(cohort.outputs))])
