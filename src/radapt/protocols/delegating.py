"""Protocols that change the data another protocol is fitted on, and delegate everything else to it."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from radapt.protocols.fitted import Aim, Reads
from radapt.protocols.length import Length
from radapt.protocols.protocol import Protocol
from radapt.protocols.scoring import Scorer

if TYPE_CHECKING:
    from radapt.backbones import WeightCard
    from radapt.backbones.weights import WeightSource
    from radapt.cohorts import Cohort
    from radapt.images import Recipe


class Delegating(Protocol[Any]):
    """A protocol that delegates everything but `fit` to `base`."""

    base: Protocol

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.base.name

    @property
    def aim(self) -> Aim:  # type: ignore[override]
        return self.base.aim

    @property
    def reads(self) -> Reads:  # type: ignore[override]
        return self.base.reads

    @property
    def uses_backbone(self) -> bool:  # type: ignore[override]
        return self.base.uses_backbone

    @property
    def scorer(self) -> Scorer:  # type: ignore[override]
        return self.base.scorer

    @property
    def uses_masks(self) -> bool:  # type: ignore[override]
        return self.base.uses_masks

    def recipe_read(self, recipe: "Recipe") -> "Recipe":
        return self.base.recipe_read(recipe)

    @property
    def uses_metadata(self) -> bool:  # type: ignore[override]
        return self.base.uses_metadata

    @property
    def control(self) -> bool:  # type: ignore[override]
        return self.base.control

    def suits(self, card: "WeightCard") -> bool:
        return self.base.suits(card)

    def settled(self, source: "WeightSource", cohort: "Cohort", modalities: tuple[str, ...] = ()) -> "Delegating":
        return self._with(self.base.settled(source, cohort, modalities))

    def length(self, samples: int) -> Length | None:
        return self.base.length(samples)

    def shortened(self, length: int) -> "Delegating":
        return self._with(self.base.shortened(length))

    def _with(self, base: Protocol) -> "Delegating":
        changed: Delegating = replace(cast(Any, self), base=base)
        return changed

    @property
    def settings(self) -> dict[str, Any]:
        return self.base.settings
