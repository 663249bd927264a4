"""What a network that classifies cases has to fit."""

from dataclasses import dataclass
from typing import Literal

from radapt.features.features import SliceReduction
from radapt.features.pooling import ModalityUse
from radapt.images import Recipe


@dataclass(frozen=True)
class InputSpec:
    """What a network has to fit: the images as they are read, and `columns` of logits.

    `partial` says which of the `modalities` some training cases lack; `slices` and `use` are the study's pooling.
    """

    kind: Literal["xray", "ct", "mri", "other"]
    recipe: Recipe
    modalities: tuple[str, ...]
    partial: tuple[bool, ...]
    channels: int
    columns: int
    slices: SliceReduction
    use: ModalityUse
