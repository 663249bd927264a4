"""The one shape of every way to evaluate or adapt a backbone: fit on what may be seen, then predict."""

import abc
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import numpy as np

from radapt.errors import UsageError
from radapt.protocols.fitted import Aim, Fitted, Reads, TrainedModel
from radapt.protocols.scoring import ClassificationScorer, Scorer

if TYPE_CHECKING:
    from radapt.backbones import Backbone, WeightCard
    from radapt.models.folder import SavedModel

P = TypeVar("P")


class Protocol(abc.ABC, Generic[P]):
    """A way to evaluate or adapt a backbone. Its options are the fields of the (frozen) class that implements it.

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
    scorer: ClassVar[Scorer] = ClassificationScorer()
    """How its answers are scored on val and the test sets."""

    @classmethod
    def known_options(cls) -> tuple[str, ...]:
        """The names of its options."""
        return tuple(each.name for each in fields(cls))  # type: ignore[arg-type]

    @classmethod
    def of(cls, **options: Any) -> "Protocol[P]":
        """The protocol with these of its `known_options` set."""
        return cls(**options)

    @property
    def settings(self) -> dict[str, Any]:
        """Its options with their values, as `of` takes them."""
        return asdict(cast(Any, self))

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

    def restore(self, saved: "SavedModel", backbone: "Backbone | None") -> TrainedModel:
        """The model that `TrainedModel.state` described, in float32 on the backbone's device or the CPU.

        `backbone` is the encoder it was trained with, free to be changed; None where the protocol reads features or
        trains a network of its own. Raises UsageError if the state is not that of a model of this protocol.
        """
        raise UsageError(f"Models of protocol {self.name!r} cannot be loaded again; it has no `restore`.")
