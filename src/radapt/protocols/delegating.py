"""Protocols that stand on another one, and leave to it what is not theirs."""

import abc
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from radapt.protocols.fitted import Aim, Reads
from radapt.protocols.length import Length
from radapt.protocols.protocol import Protocol
from radapt.protocols.scoring import Scorer

if TYPE_CHECKING:
    from radapt.backbones import LazyBackbone, WeightCard
    from radapt.backbones.weights import WeightSource
    from radapt.cohorts import Cohort
    from radapt.features.token_pass import MakeStore
    from radapt.images import Recipe


class Wrapping(Protocol[Any]):
    """A protocol that reads what its `base` reads, of the same encoders and slices, and is as long."""

    base: Protocol

    @property
    def reads(self) -> Reads:  # type: ignore[override]
        return self.base.reads

    @property
    def uses_backbone(self) -> bool:  # type: ignore[override]
        return self.base.uses_backbone

    @property
    def uses_masks(self) -> bool:  # type: ignore[override]
        return self.base.uses_masks

    def recipe_read(self, recipe: "Recipe") -> "Recipe":
        return self.base.recipe_read(recipe)

    def suits(self, card: "WeightCard") -> bool:
        return self.base.suits(card)

    def token_store(
        self, encoder: "LazyBackbone", cohort: "Cohort", recipe: "Recipe", dtype: str, cache: Path
    ) -> "MakeStore | None":
        return self.base.token_store(encoder, cohort, recipe, dtype, cache)

    def settled(self, source: "WeightSource", cohort: "Cohort", modalities: tuple[str, ...] = ()) -> Self:
        return self._with(self.base.settled(source, cohort, modalities))

    def length(self, samples: int) -> Length | None:
        return self.base.length(samples)

    def shortened(self, length: int) -> Self:
        return self._with(self.base.shortened(length))

    @abc.abstractmethod
    def _with(self, base: Protocol) -> Self:
        """The same on another base."""


class Delegating(Wrapping):
    """A protocol that changes the data its `base` is fitted on, and delegates everything else to it."""

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.base.name

    @property
    def aim(self) -> Aim:  # type: ignore[override]
        return self.base.aim

    @property
    def scorer(self) -> Scorer:  # type: ignore[override]
        return self.base.scorer

    @property
    def uses_metadata(self) -> bool:  # type: ignore[override]
        return self.base.uses_metadata

    @property
    def control(self) -> bool:  # type: ignore[override]
        return self.base.control

    def _with(self, base: Protocol) -> Self:
        changed: Self = replace(cast(Any, self), base=base)
        return changed

    @property
    def settings(self) -> dict[str, Any]:
        return self.base.settings
