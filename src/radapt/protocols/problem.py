"""What a protocol may see of one cohort through one backbone: everything but the labels of test sets."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from radapt.cohorts.cohort import CHOOSING_SPLITS, Case, Cohort
from radapt.cohorts.config import Fractions
from radapt.cohorts.splits import draw_splits
from radapt.errors import DataError, UsageError
from radapt.features import Design, Features, Pooling, select
from radapt.protocols.source import DesignSource

INNER_VAL = 0.2
"""Share of training patients that choices are made on when the cohort has no labelled val case."""

TASKS = ("binary", "multiclass", "multilabel")


@dataclass(frozen=True, eq=False)
class Problem:
    """Features with the labels of train and val; those of every other split are blank, by construction.

    Make one with `Problem.of`. N cases, M modalities, D stored columns.
    """

    features: Features
    pooling: Pooling

    @classmethod
    def of(cls, features: Features, pooling: Pooling | None = None) -> "Problem":
        """Blank what must not be seen, and check that there is something to learn.

        Raises UsageError if the cohort has no labels of its own, DataError if train has too few of them.
        """
        cohort = features.cohort
        if cohort.task not in TASKS:
            raise UsageError(
                f"Cohort {cohort.name!r} cannot be classified: it has neither a 'label' column nor 'label:<finding>' "
                "columns. Add one, with empty cells where the label is unknown."
            )
        problem = cls(replace(features, cohort=blank_test_labels(cohort)), pooling or Pooling())
        _check_train(problem)
        return problem

    @property
    def cohort(self) -> Cohort:
        return self.features.cohort

    @property
    def task(self) -> str:
        return self.cohort.task

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.cohort.outputs

    @property
    def labels(self) -> np.ndarray:
        """(N,) class index, -1 unlabelled or blank; or (N, F) findings, NaN unknown or blank."""
        return self.cohort.labels

    @property
    def patients(self) -> np.ndarray:
        return self.cohort.patients

    @property
    def splits(self) -> np.ndarray:
        return self.cohort.splits

    @cached_property
    def pooled(self) -> np.ndarray:
        """(N, M, D) float32, memory-mapped, NaN where a modality is missing."""
        return self.features.pooled(self.pooling.slices)

    @property
    def depth(self) -> int:
        """How many layers are stored."""
        return len({segment.layer for segment in self.features.segments})

    def rows(self, split: str) -> np.ndarray:
        """Indices of the labelled cases of a split: with findings, those of which at least one is known."""
        return np.flatnonzero((self.splits == split) & labelled(self.labels))

    def choosing(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the cases to learn from and of those to choose on.

        The cohort's own train and val. Without a labelled val case, a share `INNER_VAL` of the training patients
        is drawn, stratified; no patient stands on both sides. A training set too small for that (each class
        must stay in train) gives no cases to choose on.
        """
        train, val = self.rows("train"), self.rows("val")
        if len(val):
            return train, val
        blank = np.full(len(train), "", dtype=object)
        share = Fractions(val=INNER_VAL, test=0.0)
        drawn = draw_splits(self.labels[train], self.patients[train], blank, share, rng)
        return train[drawn == "train"], train[drawn == "val"]

    def source(
        self, rows: np.ndarray, blocks: int = 1, patch_mean: bool = False, *, unit_length: bool = False
    ) -> DesignSource:
        """Vectors of cases: the CLS of the last `blocks` stored layers, with the last patch mean if asked.

        Slices and modalities are pooled; missing modalities are filled with what the training `rows` say. With
        `unit_length` no modality outweighs another by the size of its numbers (see `Design`).
        """
        design = self._design(rows, select(self.features.segments, blocks, patch_mean), unit_length)
        return DesignSource(design, self.pooled, self.features.presence)

    def notes(self, rows: np.ndarray, *, unit_length: bool = False) -> tuple[str, ...]:
        """What a reader should know about missing modalities among the training `rows`."""
        any_column = (slice(0, 1),)
        return self._design(rows, any_column, unit_length).notes(self.cohort.modalities)

    def _design(self, rows: np.ndarray, columns: tuple[slice, ...], unit_length: bool) -> Design:
        presence, modalities = self.features.presence, self.pooling.modalities
        return Design.fit(self.pooled, presence, rows, columns, modalities, unit_length)


def labelled(labels: np.ndarray) -> np.ndarray:
    """(N,) bool: cases with a class, or with at least one known finding."""
    return labels >= 0 if labels.ndim == 1 else np.isfinite(labels).any(axis=1)


def blank_test_labels(cohort: Cohort) -> Cohort:
    """The cohort with label, findings and mask of every case outside train and val taken away."""
    return replace(cohort, cases=tuple(_blank(case) for case in cohort.cases))


def _blank(case: Case) -> Case:
    if case.split in CHOOSING_SPLITS:
        return case
    return replace(case, label=None, findings=(None,) * len(case.findings), mask=None)


def _check_train(problem: Problem) -> None:
    name, train = problem.cohort.name, problem.rows("train")
    if not len(train):
        raise DataError(
            f"Cohort {name!r} has no labelled case in split 'train', so nothing can be learned. Label some of its "
            "training cases, or give labelled cases the split 'train'."
        )
    if problem.task == "multilabel":
        found = problem.labels[train]
        if not ((found == 1).any(axis=0) & (found == 0).any(axis=0)).any():
            raise DataError(
                f"Cohort {name!r} has in split 'train' no finding with both a positive and a negative case, so nothing "
                f"can be told apart ({', '.join(problem.outputs)}). Label more training cases."
            )
        return
    classes = problem.outputs
    if len(train) < len(classes):
        raise DataError(
            f"Cohort {name!r} has {len(train)} labelled cases in split 'train', fewer than its {len(classes)} "
            f"classes ({', '.join(classes)}). Label more training cases, or name fewer classes."
        )
    present = np.unique(problem.labels[train])
    if len(present) < 2:
        raise DataError(
            f"Cohort {name!r} has only class {classes[present[0]]!r} in split 'train' ({len(train)} labelled cases), "
            "so nothing can be told apart. Give 'train' labelled cases of at least two classes."
        )
