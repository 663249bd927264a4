"""What a protocol that trains on images may see: everything but the labels and masks of test sets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from radapt.cases import CaseReader
from radapt.cohorts.cohort import Cohort
from radapt.errors import UsageError
from radapt.features import LesionFeatures, Pooling
from radapt.features.lesions.places import LesionPlaces
from radapt.features.lesions.reader import LesionReader
from radapt.images import Recipe, SliceCache
from radapt.progress import ProgressMaker, silent
from radapt.protocols.choice import ChoiceRules, InnerFolds, Method, inner_folds, method_of
from radapt.protocols.fitted import Aim
from radapt.protocols.holdout import blank_test_labels, check_learnable, check_masks, labelled, masked, train_and_val
from radapt.protocols.ratings import Rater
from radapt.protocols.targets import ClassWeight

if TYPE_CHECKING:
    from radapt.backbones import Backbone, LazyBackbone

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Machine:
    """Where training runs. `folder` takes `checkpoints/`, with which a killed training goes on, and the trained
    `model/`; None keeps neither. `precision` is that of matrix products; weights and losses stay float32.

    `devices` is how many processes on this machine share every training: GPUs, or on a CPU gloo. Numbers agree to
    rounding, but for dropout, and for batch normalisation and the mean that stands in for a modality which no training
    case lacks: these are measured in the first process. `progress` then has to be picklable, and a script needs its
    `if __name__ == "__main__":`.
    """

    device: str = "cpu"
    precision: Precision = "float32"
    folder: Path | None = None
    progress: ProgressMaker = silent
    devices: int = 1

    @property
    def checkpoints(self) -> Path | None:
        """The folder of checkpoints. They stay until the model is scored (see `train`), for a kill may come later than
        the last step."""
        return None if self.folder is None else self.folder / "checkpoints"


@dataclass(frozen=True)
class CohortImages:
    """The cases of any cohort, with the cache of their slices, for a trained model to answer for. A model that looks at
    lesions needs their `places`."""

    cohort: Cohort
    slices: SliceCache
    places: LesionPlaces | None = None

    def reader(self, recipe: Recipe, modalities: Sequence[str]) -> CaseReader:
        """Reads each image on its own grid, or crops of the lesion if the recipe looks at these."""
        if recipe.look != "lesion":
            return CaseReader(self.cohort, self.slices, recipe, modalities, grid="own")
        if self.places is None:
            raise UsageError("look: lesion needs the places of lesions, which LesionFeatures finds.")
        return LesionReader(self.cohort, self.slices, recipe, modalities, self.places)


@dataclass(frozen=True, eq=False)
class ImageProblem:
    """Images with the labels and masks of train and val; those of every other split are blank, by construction.

    Make one with `ImageProblem.of`. `fresh` gives a newly loaded backbone in float32 on the machine's device, free
    to be trained; it is None for a protocol that trains a network of its own. Without `choose` nothing is chosen: no
    case is there to choose on, and protocols take their defaults. `rules` say how choices are made. With a recipe that
    looks at `lesions`, a protocol has to read its cases by `images.reader`.
    """

    cohort: Cohort
    aim: Aim
    recipe: Recipe
    slices: SliceCache
    fresh: "Callable[[], Backbone] | None" = None
    pooling: Pooling = field(default_factory=Pooling)
    machine: Machine = field(default_factory=Machine)
    choose: bool = True
    rules: ChoiceRules = field(default_factory=ChoiceRules)
    lesions: LesionFeatures | None = None

    @classmethod
    def of(
        cls,
        cohort: Cohort,
        aim: Aim,
        recipe: Recipe,
        cache: Path,
        backbone: "LazyBackbone | None" = None,
        pooling: Pooling | None = None,
        machine: Machine | None = None,
        rules: ChoiceRules | None = None,
        lesions: LesionFeatures | None = None,
    ) -> "ImageProblem":
        """Blank what must not be seen, and check that there is something to learn.

        Raises UsageError if the cohort has no labels (or masks) at all or lacks the column of `inner_folds`, DataError
        if train has too few of them.
        """
        blank = blank_test_labels(cohort)
        (check_learnable if aim == "classification" else check_masks)(blank)
        fresh = None if backbone is None else lambda: backbone.load_as("float32")
        pooling, machine, rules = pooling or Pooling(), machine or Machine(), rules or ChoiceRules()
        rules.check(blank)
        return cls(blank, aim, recipe, SliceCache(cache), fresh, pooling, machine, rules=rules, lesions=lesions)

    @cached_property
    def places(self) -> LesionPlaces | None:
        """Where lesions are looked for, found by the masks of training cases; None for another look."""
        return None if self.lesions is None else self.lesions.places_on(self.cohort)

    @property
    def images(self) -> CohortImages:
        return CohortImages(self.cohort, self.slices, self.places)

    @property
    def usable(self) -> np.ndarray:
        """(N,) bool: cases with a label, or with a mask, that may be seen."""
        return labelled(self.cohort.labels) if self.aim == "classification" else masked(self.cohort)

    def limited_to(self, cohort: Cohort) -> "ImageProblem":
        """The problem with fewer labels, those of `cohort`."""
        return replace(self, cohort=cohort)

    def rows(self, split: str) -> np.ndarray:
        """Indices of the cases of a split that have a label, or a mask."""
        return np.flatnonzero((self.cohort.splits == split) & self.usable)

    @property
    def method(self) -> Method:
        """Where choices are made (see `method_of`)."""
        return method_of(self.rules, self.cohort, self.usable, self._strata) if self.choose else "none"

    def inner_folds(self, folds: int, rng: np.random.Generator, repeats: int = 1) -> InnerFolds:
        """At most `folds` inner folds of the labelled (or masked) cases of train and val."""
        return inner_folds(self.cohort, self.usable, self._strata, folds, repeats, rng, self.rules.inner_folds)

    def rater(self, class_weight: ClassWeight = "none") -> Rater:
        """Compares candidates that classify and weigh classes by `class_weight`."""
        return Rater(self.rules.metric(self.cohort), self.cohort.task, self.rules.decision, class_weight)

    @property
    def _strata(self) -> np.ndarray:
        """Labels that draws are stratified by; masks are not."""
        return self.cohort.labels if self.aim == "classification" else np.full(len(self.cohort), -1)

    def choosing(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the cases to learn from and of those to choose on (see `train_and_val`)."""
        if not self.choose:
            return self.rows("train"), np.empty(0, dtype=np.int64)
        return train_and_val(self._strata, self.usable, self.cohort, rng)

    @property
    def everything(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices of all cases of train and val, to learn from, and of none to choose on."""
        return np.sort(np.concatenate([self.rows("train"), self.rows("val")])), np.empty(0, dtype=np.int64)

    def backbone(self) -> "Backbone":
        """A newly loaded backbone. Raises UsageError where the problem has none."""
        if self.fresh is None:
            raise UsageError("This protocol adapts a backbone, and none was given.")
        return self.fresh()
