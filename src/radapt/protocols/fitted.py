"""What fitting a protocol gives: a model that answers for any case of the cohort, and the record of the fit."""

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np

from radapt.training.fit_record import FitRecord

if TYPE_CHECKING:
    from radapt.images import Volume
    from radapt.models.state import ModelState

Aim = Literal["classification", "segmentation"]
Reads = Literal["features", "images"]


class TrainedModel(abc.ABC):
    """A trained model apart from any cohort: what a model folder holds (see `radapt.models`)."""

    @abc.abstractmethod
    def state(self, *, self_contained: bool = False) -> "ModelState":
        """What it is made of, from which its protocol's `restore` makes an equal one.

        Inside a run it may refer to files outside its folder by their digests, such as stored features; a
        `self_contained` one needs nothing but its folder and its encoder.
        """

    @abc.abstractmethod
    def on(self, cases: Any) -> "Model | Segmenter":
        """The model for the cases of a cohort: `Features` for a protocol that reads features, else `CohortImages`."""


class Model(abc.ABC):
    """A fitted classifier that answers for any case of the cohort."""

    @property
    def trained_model(self) -> TrainedModel | None:
        """The model apart from the cohort; None if it cannot be saved."""
        return None

    @abc.abstractmethod
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Probabilities of the cases at the indices `rows` (n,): float64 (n, outputs) in [0, 1].

        With classes each row sums to 1 (binary too has both columns); findings are independent.
        """


class SubsetModel(Model):
    """A fitted classifier that answers from any subset of the sequences it knows; scoring evaluates it on each.

    `modalities` are the sequences it knows, `prior` (outputs,) what answers for a case that has none of a subset: the
    shares of the classes in training.
    """

    modalities: tuple[str, ...]
    prior: np.ndarray

    @abc.abstractmethod
    def predict_from(self, rows: np.ndarray, modalities: tuple[str, ...]) -> np.ndarray:
        """As `predict`, as if every sequence but `modalities` were missing; each case has one of these at least."""


class Segmenter(abc.ABC):
    """A fitted segmentation model that draws the label map of any case of the cohort."""

    @property
    def trained_model(self) -> TrainedModel | None:
        """The model apart from the cohort; None if it cannot be saved."""
        return None

    @abc.abstractmethod
    def segment(self, row: int) -> "Volume":
        """The label map of the case at `row`: whole numbers of the cohort's `mask_labels`, 0 for background.

        It has the voxels and the affine of the case's reference image as its file stores them.
        """


F = TypeVar("F", Model, Segmenter, covariant=True)


@dataclass(frozen=True)
class Fitted(Generic[F]):
    """What a protocol ends with.

    `final` answers for test sets, `before_refit` for val. They differ where the choice made on val was fitted
    again with val, which `final` then has learned by heart. `record` says what was chosen among what, and at what cost.
    """

    final: F
    before_refit: F
    record: FitRecord
