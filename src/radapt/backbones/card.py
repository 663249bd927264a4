"""The weight card: normalisation, native size, licence and pretraining data of a set of weights."""

from dataclasses import dataclass
from typing import Any

HALF = (0.5, 0.5, 0.5)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True)
class WeightCard:
    """One encoder with one set of weights: its architecture, its origin, and how images are normalised for it.

    Every set of weights brings its own normalisation, native size and pretraining data sets, so that a wrong
    normalisation is impossible and contamination of a test set can be detected.
    """

    name: str
    family: str
    architecture: str
    """How the module is built: `timm:<model>` with `options`, `vit` (`options` alone), or `transformers`."""
    repo: str
    """The hub repository the weights come from."""
    licence: str
    pretraining: tuple[str, ...]
    """Data sets of the pretraining; empty if unknown."""
    width: int
    """Dimension of the CLS and patch tokens of the last layer."""
    depth: int
    """Transformer blocks, or stages (including the stem where timm exposes it)."""
    parameters: int
    """Parameters of the encoder as radapt builds it: no classifier, no projection, no text tower."""
    patch: int
    """Pixels per token and side: the patch of a ViT, the total stride of a CNN."""
    native_size: int
    """Side in pixels of the square images of the training or the last fine-tuning."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    position_recipe: str = "none"
    """How the position embedding is interpolated to another image size; see `position.RECIPES`."""
    fixed: bool = False
    """The module accepts its native size only, so every image is resized to it."""
    gated: bool = False
    """The hub requires users to accept terms before they download the weights."""
    reference: str = ""
    files: tuple[str, ...] = ("model.safetensors", "pytorch_model.bin")
    """Possible file names of the weights in the repository; the first that exists is used."""
    options: tuple[tuple[str, Any], ...] = ()
    """Arguments of the architecture that differ from its defaults."""

    def saw(self, dataset: str) -> bool:
        """Whether a data set of this name was used in pretraining (`ChestX-ray14` equals `chestxray14`)."""
        return _letters(dataset) in {_letters(name) for name in self.pretraining}


def _letters(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
