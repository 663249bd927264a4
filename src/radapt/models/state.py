"""The contents of a model folder: the state of the model, and the card that describes what it is and needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from radapt.backbones.reference import BackboneReference
from radapt.images import Recipe
from radapt.runtimes.runtime import Runtime
from radapt.training.fit_record import FitRecord

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class ModelState:
    """The state of a model: `tensors` by name, and JSON-like `facts` from which its protocol rebuilds it.

    The model reads `modalities`. `label_encoding` defines the logits of a classifier, `mask_labels` {value: name} the
    classes of a segmenter. The tensors include encoder weights only where training changed them. `attach` writes
    further files into the folder, such as those of an adapted backbone, and returns their names.
    """

    tensors: "Mapping[str, Tensor]"
    modalities: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    label_encoding: Mapping[str, Any] = field(default_factory=dict)
    mask_labels: Mapping[int, str] = field(default_factory=dict)
    attach: Callable[[Path], tuple[str, ...]] | None = None
    holds_encoder: bool = False
    """Whether the attached files hold the whole encoder, so that the model needs no other backbone."""


@dataclass(frozen=True)
class ModelCard:
    """The content of `model.json` apart from the digests of the other files."""

    protocol: str
    options: Mapping[str, Any]
    """Options of the protocol, as `make` takes them."""
    aim: Literal["classification", "segmentation"]
    reads: Literal["features", "images"]
    kind: Literal["xray", "ct", "mri", "other"]
    """Kind of the training images."""
    recipe: Recipe
    pooling: Mapping[str, Any]
    """How slices and modalities become one vector: `slices` and `modalities` of `Pooling`."""
    precision: Literal["float32", "bfloat16"]
    """Precision of the encoder's features, or of training if the protocol trains on images."""
    fit: FitRecord
    """What was tried, what was chosen and why, and what it cost."""
    backbone: BackboneReference | None = None
    """The encoder of the model; None for a network without a backbone, or if the folder holds the encoder."""
    layers: tuple[int, ...] = ()
    """Layers of the encoder whose features are read; empty for a protocol that reads images."""
    classes: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    mask_labels: Mapping[int, str] = field(default_factory=dict)
    modalities: tuple[str, ...] = ()
    """Modalities that the model reads."""
    label_encoding: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the protocol needs to rebuild the model."""
    runtime: Runtime = "pytorch"
    """What computed the features that it was fitted on."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of radapt, Python and every library that affects results, at training time."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The classes or findings it predicts; empty for a segmenter."""
        return self.findings or self.classes
