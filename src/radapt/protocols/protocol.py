"""The interface of every way to evaluate or adapt a backbone: fit on train and val, then predict."""

import abc
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import numpy as np

from radapt.cohorts.cohort import Cohort
from radapt.errors import UsageError
from radapt.images import Recipe
from radapt.protocols.fitted import Aim, Fitted, Reads, TrainedModel
from radapt.protocols.length import Length
from radapt.protocols.scoring import ClassificationScorer, Scorer

if TYPE_CHECKING:
    from radapt.backbones import Backbone, LazyBackbone, WeightCard
    from radapt.backbones.weights import WeightSource
    from radapt.features.token_pass import MakeStore
    from radapt.models.folder import SavedModel

P = TypeVar("P")


class Protocol(abc.ABC, Generic[P]):
    """A way to evaluate or adapt a backbone. Its options are the fields of the (frozen) class that implements it.

    `aim` is what it predicts: a class or findings per case, or a label map. `reads` is what it is fitted on: features
    of a frozen backbone (`FeatureProblem`), or images (`ImageProblem`). A protocol without a backbone trains a network
    from scratch. `uses_masks` marks a classification protocol whose results depend on the masks of training
    cases, if there are any, and `uses_metadata` one whose results depend on the metadata of the cases. A `control`
    shows what is reached without what is evaluated: it is shown beside the others and ranked apart.
    """

    name: ClassVar[str]
    aim: ClassVar[Aim] = "classification"
    reads: ClassVar[Reads] = "features"
    uses_backbone: ClassVar[bool] = True
    uses_masks: ClassVar[bool] = False
    uses_metadata: ClassVar[bool] = False
    control: ClassVar[bool] = False
    renamed_options: ClassVar[Mapping[str, str]] = {}
    """{earlier name of an option: current name}, for error messages."""
    scorer: ClassVar[Scorer] = ClassificationScorer()
    """How its predictions are scored on val and the test sets."""

    @classmethod
    def known_options(cls) -> tuple[str, ...]:
        """The names of its options."""
        return tuple(field.name for field in fields(cls))  # type: ignore[arg-type]

    @classmethod
    def of(cls, **options: Any) -> "Protocol[P]":
        """The protocol with these of its `known_options` set."""
        return cls(**options)

    @property
    def settings(self) -> dict[str, Any]:
        """Its options with their values, as `of` takes them."""
        return asdict(cast(Any, self))

    def recipe_read(self, recipe: Recipe) -> Recipe:
        """What it reads of planes that a study makes by `recipe`: whole planes for masks, whose grid they share.

        Raises UsageError for a protocol without an encoder that is to look at the lesion.
        """
        if self.aim == "segmentation":
            return recipe.whole
        if recipe.look == "lesion" and not self.uses_backbone:
            raise UsageError(
                f"Protocol {self.name!r} has no encoder, and look: lesion finds its place by the tokens of one. Use "
                "look: foreground, or two studies."
            )
        return recipe

    def suits(self, card: "WeightCard") -> bool:
        """Whether it can be fitted on an encoder of this kind, as far as its card tells."""
        return True

    def token_store(
        self, encoder: "LazyBackbone", cohort: Cohort, recipe: Recipe, dtype: str, cache: Path
    ) -> "MakeStore | None":
        """What makes the store of the tokens that it reads of the slices of a recipe, all of them and whole; None if
        there is none. An extraction of features from the same slices fills it."""
        return None

    def settled(self, source: "WeightSource", cohort: Cohort, modalities: tuple[str, ...] = ()) -> "Protocol[P]":
        """The protocol with what the weights of an encoder, adapted to `modalities`, and the cohort decide."""
        return self

    def length(self, samples: int) -> Length | None:
        """How long it trains on so many cases, or planes of cases with masks, at all learning rates together; None for
        a protocol that cannot be `shortened`: it reads features, which takes seconds, or has no epochs."""
        return None

    def shortened(self, length: int) -> "Protocol[P]":
        """The protocol with so many epochs or steps, in the unit of its `length`, and without a search."""
        raise TypeError(f"Protocol {self.name!r} has no length.")

    @abc.abstractmethod
    def fit(self, problem: P, rng: np.random.Generator) -> Fitted:
        """Fit on a problem, whose test labels are already blanked. Equal `rng` states give equal results.

        Raises DataError if there is too little to learn from.
        """

    def restore(self, saved: "SavedModel", backbone: "Backbone | None") -> TrainedModel:
        """The model that `TrainedModel.state` described, in float32 on the backbone's device or the CPU.

        `backbone` is the encoder it was trained with, which may be modified; None if the protocol reads features or
        trains a network from scratch. Raises UsageError if the state is not that of a model of this protocol.
        """
        raise UsageError(f"Models of protocol {self.name!r} cannot be loaded again; it has no `restore`.")
