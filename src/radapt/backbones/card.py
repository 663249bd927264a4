"""What has to be known about a set of weights before its numbers mean anything."""

from dataclasses import dataclass
from typing import Any

HALF = (0.5, 0.5, 0.5)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True)
class WeightCard:
    """One encoder with one set of weights: what it is, where it comes from, how an image must be given to it.

    A weight brings its own normalisation, native size and pretraining data sets, so that a wrong normalisation is
    impossible and contamination of a test set can be computed.
    """

    name: str
    family: str
    architecture: str
    """How the module is built: `timm:<model>` with `options`, `vit` (`options` alone), or `transformers`."""
    repo: str
    """The hub repository the weights come from."""
    licence: str
    pretraining: tuple[str, ...]
    """Data sets the weights have seen; empty when unknown."""
    width: int
    """Dimension of the CLS and patch tokens of the last layer."""
    depth: int
    """Transformer blocks, or stages (the stem counts where it can be asked for)."""
    parameters: int
    """Parameters of the encoder as radapt builds it: no classifier, no projection, no text tower."""
    patch: int
    """Pixels per token and side: the patch of a ViT, the total stride of a CNN."""
    native_size: int
    """Side in pixels of the square images the weights were trained or last tuned on."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    position_recipe: str = "none"
    """How the position embedding follows another image size; see `position.RECIPES`."""
    fixed: bool = False
    """The module takes no other size than its native one, so every image is resized to that."""
    gated: bool = False
    """The hub hands the weights out only to those who accepted its terms."""
    reference: str = ""
    files: tuple[str, ...] = ("model.safetensors", "pytorch_model.bin")
    """Names under which the repository may hold the weights, the first found wins."""
    options: tuple[tuple[str, Any], ...] = ()
    """Arguments of the architecture that differ from its defaults."""

    def saw(self, dataset: str) -> bool:
        """Whether a data set of this name was used in pretraining (`ChestX-ray14` and `chestxray14` are one)."""
        return _letters(dataset) in {_letters(name) for name in self.pretraining}


def _letters(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
