"""The input and output specification of a network that classifies cases."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from radapt.features.features import SliceReduction
from radapt.features.pooling import ModalityUse
from radapt.images import Recipe

Kind = Literal["xray", "ct", "mri", "other"]


@dataclass(frozen=True)
class InputSpec:
    """The input and output of a network: how images are read, and `columns` of logits.

    `partial` marks the `modalities` that some training cases lack; `slices` and `use` are the study's pooling.
    """

    kind: Kind
    recipe: Recipe
    modalities: tuple[str, ...]
    partial: tuple[bool, ...]
    channels: int
    columns: int
    slices: SliceReduction
    use: ModalityUse

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], kind: Kind, recipe: Recipe) -> "InputSpec":
        modalities, partial = tuple(facts["modalities"]), tuple(facts["partial"])
        return cls(kind, recipe, modalities, partial, **{name: facts[name] for name in _NUMBERS})

    @property
    def facts(self) -> dict[str, Any]:
        """Every field but kind and recipe, JSON-like."""
        return {name: getattr(self, name) for name in ("modalities", "partial", *_NUMBERS)}


_NUMBERS = ("channels", "columns", "slices", "use")
