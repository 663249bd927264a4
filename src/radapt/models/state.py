"""What a model folder holds: the model's own state, and the card that says what it is and what it needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from radapt.backbones.reference import BackboneReference
from radapt.images import Recipe

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class ModelState:
    """What a model is made of: `tensors` by name, and JSON-like `facts` from which its protocol builds it again.

    `modalities` are those it reads. `label_encoding` says what a classifier's logits stand for, `mask_labels` {value:
    name} what a segmenter's classes do. Weights of the encoder are among the tensors only where training changed them.
    `attach` writes further files into the folder and returns their names, such as those of an adapted backbone.
    """

    tensors: "Mapping[str, Tensor]"
    modalities: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    label_encoding: Mapping[str, Any] = field(default_factory=dict)
    mask_labels: Mapping[int, str] = field(default_factory=dict)
    attach: Callable[[Path], tuple[str, ...]] | None = None
    holds_encoder: bool = False
    """Whether the files that are attached hold the whole encoder, so that no backbone has to be given or found."""


@dataclass(frozen=True)
class ModelCard:
    """What `model.json` says of a trained model, but for the digests of the files beside it."""

    protocol: str
    options: Mapping[str, Any]
    """Those of the protocol, as `make` takes them."""
    aim: Literal["classification", "segmentation"]
    reads: Literal["features", "images"]
    kind: Literal["xray", "ct", "mri", "other"]
    """Of the images it was trained on."""
    recipe: Recipe
    pooling: Mapping[str, Any]
    """How slices and modalities become one vector: `slices` and `modalities` of `Pooling`."""
    precision: Literal["float32", "bfloat16"]
    """Number format of the encoder's features, or of matrix products where the protocol trains on images."""
    backbone: BackboneReference | None = None
    """The encoder it stands on; None for a network of its own, and where the folder holds the encoder."""
    layers: tuple[int, ...] = ()
    """Layers of the encoder that the features hold; empty for a protocol that reads images."""
    classes: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    mask_labels: Mapping[int, str] = field(default_factory=dict)
    modalities: tuple[str, ...] = ()
    """Those it reads."""
    label_encoding: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the protocol needs to build the model again."""
    fit: Mapping[str, Any] = field(default_factory=dict)
    """What was chosen among what, and why."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of radapt, Python and every library that takes part in a number, when it was trained."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The classes or findings it predicts; empty for a segmenter."""
        return self.findings or self.classes
