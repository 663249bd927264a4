"""What a protocol may see of one cohort through one backbone: everything but the labels of test sets."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from radapt.cohorts.cohort import Cohort
from radapt.features import Design, Features, Pooling, select
from radapt.features.lesions.places import LesionPlaces
from radapt.protocols.choice import FEW_PATIENTS, REPEATS, ChoiceRules, InnerFolds, Method, inner_folds, method_of
from radapt.protocols.feature_matrix import DesignMatrix, MatrixLayout
from radapt.protocols.holdout import blank_test_labels, check_learnable, labelled, train_and_val
from radapt.protocols.ratings import Rater
from radapt.protocols.targets import ClassWeight


@dataclass(frozen=True, eq=False)
class FeatureProblem:
    """Features with the labels of train and val; those of every other split are blank, by construction.

    Make one with `FeatureProblem.of`. N cases, M modalities, D stored columns. `refit` says whether the choice made on
    val is fitted again with the cohort's val; a learning curve forbids it, or val would be mixed into its few cases.
    Without `choose` nothing is chosen: no case is there to choose on, and protocols take their defaults. `rules` say
    how choices are made. `devices` is how many processes share the training of a network (see `radapt.training.train`).
    """

    features: Features
    pooling: Pooling
    refit: bool = True
    choose: bool = True
    devices: int = 1
    rules: ChoiceRules = field(default_factory=ChoiceRules)

    @classmethod
    def of(
        cls,
        features: Features,
        pooling: Pooling | None = None,
        *,
        refit: bool = True,
        devices: int = 1,
        rules: ChoiceRules | None = None,
    ) -> "FeatureProblem":
        """Blank what must not be seen, and check that there is something to learn.

        Raises UsageError if the cohort has no labels of its own or lacks the column of `inner_folds`, DataError if
        train has too few labels.
        """
        cohort, rules = blank_test_labels(features.cohort), rules or ChoiceRules()
        check_learnable(cohort)
        rules.check(cohort)
        return cls(replace(features, cohort=cohort), pooling or Pooling(), refit, devices=devices, rules=rules)

    @property
    def cohort(self) -> Cohort:
        return self.features.cohort

    @property
    def places(self) -> LesionPlaces | None:
        """Where lesions were looked for; None for another look, and for features that were made from arrays."""
        return getattr(self.features, "places", None)

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

    def limited_to(self, cohort: Cohort) -> "FeatureProblem":
        """The problem with fewer labels, which are few: val is not mixed into them (see `refit`)."""
        return replace(self, features=replace(self.features, cohort=cohort), refit=False)

    def rows(self, split: str) -> np.ndarray:
        """Indices of the labelled cases of a split: with findings, those of which at least one is known."""
        return np.flatnonzero((self.splits == split) & labelled(self.labels))

    @property
    def method(self) -> Method:
        """Where choices are made. Without `refit` never by inner folds, which mix val into what is learned from."""
        if not self.choose:
            return "none"
        rules = self.rules if self.refit else replace(self.rules, choose="val")
        return method_of(rules, self.cohort, labelled(self.labels), self.labels)

    def inner_folds(self, folds: int, rng: np.random.Generator, repeats: int | None = None) -> InnerFolds:
        """At most `folds` inner folds of the labelled cases of train and val, more than once with few patients."""
        usable = labelled(self.labels)
        if repeats is None:
            repeats = REPEATS if len(set(self.patients[usable])) < FEW_PATIENTS else 1
        return inner_folds(self.cohort, usable, self.labels, folds, repeats, rng, self.rules.inner_folds)

    def rater(self, class_weight: ClassWeight = "none") -> Rater:
        """Compares candidates that weigh classes by `class_weight`."""
        return Rater(self.rules.metric(self.cohort), self.task, self.rules.decision, class_weight)

    def choosing(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the labelled cases to learn from and of those to choose on (see `train_and_val`)."""
        if not self.choose:
            return self.rows("train"), np.empty(0, dtype=np.int64)
        return train_and_val(self.labels, labelled(self.labels), self.cohort, rng)

    def source(
        self, rows: np.ndarray, blocks: int = 1, patch_mean: bool = False, *, unit_length: bool = False
    ) -> DesignMatrix:
        """Vectors of cases: the CLS of the last `blocks` stored layers, with the last patch mean if asked.

        Slices and modalities are pooled; missing modalities are filled with what the training `rows` say. With
        `unit_length` no modality outweighs another by the size of its numbers (see `Design`).
        """
        design = self._design(rows, select(self.features.segments, blocks, patch_mean), unit_length)
        layout = MatrixLayout(tuple(self.features.modalities), self.pooling.slices)
        return DesignMatrix(design, self.pooled, self.features.presence, layout)

    def notes(self, rows: np.ndarray, *, unit_length: bool = False) -> tuple[str, ...]:
        """What a reader should know about missing modalities among the training `rows`."""
        any_column = (slice(0, 1),)
        return self._design(rows, any_column, unit_length).notes(self.features.modalities)

    def _design(self, rows: np.ndarray, columns: tuple[slice, ...], unit_length: bool) -> Design:
        presence, modalities = self.features.presence, self.pooling.modalities
        return Design.fit(self.pooled, presence, rows, columns, modalities, unit_length)
