"""The result of fitting a protocol: a model that predicts any case of the cohort, and the fit record."""

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np

from radapt.training.fit_record import FitRecord

if TYPE_CHECKING:
    from torch import nn

    from radapt.images import Volume
    from radapt.models.state import ModelState

Aim = Literal["classification", "segmentation"]
Reads = Literal["features", "images"]


class TrainedModel(abc.ABC):
    """A trained model, independent of any cohort: the content of a model folder (see `radapt.models`)."""

    @abc.abstractmethod
    def state(self, *, self_contained: bool = False) -> "ModelState":
        """The state from which its protocol's `restore` makes an equal model.

        Inside a run the state may refer to files outside its folder by their digests, such as stored features; a
        `self_contained` one needs only its folder and its encoder.
        """

    @property
    def networks(self) -> "Mapping[str, nn.Module]":
        """The modules, besides its encoder, that another runtime may compute: tensors in, one tensor out, the batch as
        the first axis of all."""
        return {}

    @property
    def pytorch_only(self) -> str:
        """Why only PyTorch computes it; '' where other runtimes can."""
        return ""

    @abc.abstractmethod
    def on(self, cases: Any) -> "Model | Segmenter":
        """Bind the model to the cases of a cohort: `Features` if its protocol reads features, else `CohortImages`."""


@dataclass(frozen=True)
class SliceWeights:
    """How much each slice of an image counts in the prediction of a case."""

    modality: str
    """'' if a slice holds all sequences together."""
    planes: tuple[int, ...]
    """The number of each slice among the planes of the image, from 0, ascending."""
    weights: tuple[float, ...]
    """As `planes`; they sum to 1."""


class Model(abc.ABC):
    """A fitted classifier that predicts any case of the cohort."""

    @property
    def trained_model(self) -> TrainedModel | None:
        """The model independent of the cohort; None if it cannot be saved."""
        return None

    def slice_weights(self, row: int) -> tuple[SliceWeights, ...]:
        """The attention to the slices of a case; empty for a model that does not weigh slices by their content."""
        return ()

    def remark(self, row: int) -> str:
        """What is to be said beside the answer for a case: which columns of the table it lacks, and what was done.
        Empty for a case with all of them, and for a model that reads images alone."""
        return ""

    @abc.abstractmethod
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Probabilities of the cases at the indices `rows` (n,): float64 (n, outputs) in [0, 1].

        With classes each row sums to 1 (binary tasks also have both columns); findings are independent.
        """


class SubsetModel(Model):
    """A fitted classifier that predicts from any subset of its sequences; scoring evaluates it on each.

    `modalities` are its sequences. `prior` (outputs,) is the prediction for a case that has no sequence of a subset:
    the class frequencies in training.
    """

    modalities: tuple[str, ...]
    prior: np.ndarray

    @abc.abstractmethod
    def predict_from(self, rows: np.ndarray, modalities: tuple[str, ...]) -> np.ndarray:
        """As `predict`, as if every sequence but `modalities` were missing; each case has at least one of them."""


@dataclass(frozen=True, eq=False)
class DrawnMask:
    """A label map (see `Segmenter.segment`) with how sure the model is of it."""

    mask: "Volume"
    probability: np.ndarray | None = None
    """float16, of the shape of the mask: the probability of each voxel's label; None if the model has none."""
    soft_dice: Mapping[int, float] = field(default_factory=dict)
    """By label value: the Dice that the probabilities p predict, 2 Σ p inside / (voxels drawn + Σ p everywhere), from 0
    to 1; NaN where nothing is drawn. Empty if the model has no probabilities."""


class Segmenter(abc.ABC):
    """A fitted segmentation model that predicts the label map of any case of the cohort."""

    @property
    def trained_model(self) -> TrainedModel | None:
        """The model independent of the cohort; None if it cannot be saved."""
        return None

    @abc.abstractmethod
    def segment(self, row: int) -> "Volume":
        """The label map of the case at `row`: whole numbers of the cohort's `mask_labels`, 0 for background.

        It has the voxels and the affine of the case's reference image as its file stores them.
        """

    def draw(self, row: int) -> DrawnMask:
        """The same label map with how sure the model is of it."""
        return DrawnMask(self.segment(row))


class SubsetSegmenter(Segmenter):
    """A fitted segmentation model that predicts from any subset of its sequences."""

    @property
    @abc.abstractmethod
    def modalities(self) -> tuple[str, ...]:
        """Its sequences."""

    @property
    @abc.abstractmethod
    def evaluates_subsets(self) -> bool:
        """Whether scoring evaluates it on every subset of its sequences, at least two."""

    @abc.abstractmethod
    def segment_from(self, row: int, modalities: tuple[str, ...]) -> "Volume":
        """As `segment`, as if every sequence but `modalities` were missing; the case has at least one of them.

        The label map lies in the grid of the case's reference image, whichever sequences it is predicted from.
        """

    def draw_subsets(self, row: int, subsets: Sequence[tuple[str, ...]]) -> Iterator[DrawnMask]:
        """`draw` from each of `subsets`, one after the other, with the label maps of `segment_from`."""
        return (DrawnMask(self.segment_from(row, modalities)) for modalities in subsets)


F = TypeVar("F", Model, Segmenter, covariant=True)


@dataclass(frozen=True)
class Fitted(Generic[F]):
    """The result of a protocol.

    `final` predicts the test sets, `before_refit` val. They differ if the chosen candidate was refitted on train and
    val together: `final` has then been trained on val. `record` holds the candidates, the choice and the cost.
    """

    final: F
    before_refit: F
    record: FitRecord
