"""The one shape of every way to judge or adapt a backbone: fit on what may be seen, then predict."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import numpy as np

if TYPE_CHECKING:
    from radapt.backbones import WeightCard
    from radapt.images import Volume

P = TypeVar("P")

Aim = Literal["classification", "segmentation"]
Reads = Literal["features", "images"]


class Model(abc.ABC):
    """A fitted classifier that answers for any case of the cohort."""

    @abc.abstractmethod
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Probabilities of the cases at the indices `rows` (n,): float64 (n, outputs) in [0, 1].

        With classes each row sums to 1 (binary too has both columns); findings are independent.
        """


class SubsetModel(Model):
    """A fitted classifier that answers from any subset of the sequences it knows; `judge` judges it on every one.

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

    @abc.abstractmethod
    def segment(self, row: int) -> "Volume":
        """The label map of the case at `row`: whole numbers of the cohort's `mask_labels`, 0 for background.

        It has the voxels and the affine of the case's reference image as its file stores them.
        """


@dataclass(frozen=True)
class Cost:
    """What fitting took. `trained` of `parameters` numbers of the live model were trained, counted from the model.

    The live model of a protocol that reads features is its head; the frozen encoder is not among its numbers.
    `peak_memory_mb` is the most that training added: memory of the device, or on a CPU of the process; NaN where it was
    not measured. `seconds` is the whole fit with every candidate.
    """

    trained: int
    parameters: int
    peak_memory_mb: float
    seconds: float


F = TypeVar("F", Model, Segmenter, covariant=True)


@dataclass(frozen=True)
class Fitted(Generic[F]):
    """What a protocol ends with.

    `final` answers for test sets, `before_refit` for val. They differ where the choice made on val was fitted
    again with val, which `final` then has learned by heart. `chosen` is JSON-like: what was chosen among
    what, with the numbers on val that decided.
    """

    final: F
    before_refit: F
    chosen: Mapping[str, Any]
    cost: Cost | None = None


class Protocol(abc.ABC, Generic[P]):
    """A way to judge or adapt a backbone. Its options are the fields of the (frozen) class that implements it.

    `aim` says what it answers: a class or findings per case, or a label map. `reads` says what it is fitted on:
    features of a frozen backbone (`Problem`), or images (`ImageProblem`). A protocol that does not use a backbone
    trains a network of its own from scratch. `uses_masks` says that masks of training cases, where there are any,
    decide its numbers, though labels are what it answers.
    """

    name: ClassVar[str]
    aim: ClassVar[Aim] = "classification"
    reads: ClassVar[Reads] = "features"
    uses_backbone: ClassVar[bool] = True
    uses_masks: ClassVar[bool] = False
    renamed_options: ClassVar[Mapping[str, str]] = {}
    """Names of options in earlier versions and their names today, for error messages."""

    @classmethod
    def known_options(cls) -> tuple[str, ...]:
        """The names of its options."""
        return tuple(each.name for each in fields(cls))  # type: ignore[arg-type]

    @classmethod
    def of(cls, **options: Any) -> "Protocol[P]":
        """The protocol with these of its `known_options` set."""
        return cls(**options)

    def suits(self, card: "WeightCard") -> bool:
        """Whether it can be fitted on an encoder of this kind, as far as its card tells."""
        return True

    def passes(self, slices: int, cases: int, images: int) -> float | None:
        """How often, at most, training sends each of its slices forward through the backbone on average.

        Training has `slices` in all, those of `images` of `cases`. A step back counts as two passes more; looks at val
        are not counted. 0 for what reads features, None where it cannot be foreseen.
        """
        return 0.0 if self.reads == "features" else None

    @abc.abstractmethod
    def fit(self, problem: P, rng: np.random.Generator) -> Fitted:
        """Fit on a problem, whose test labels are already blanked. Equal `rng` states give equal results.

        Raises DataError if there is too little to learn from.
        """
