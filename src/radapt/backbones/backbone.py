"""`Backbone`: an encoder with its weights, and one call for its tokens."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, final

import torch
from torch import nn

from radapt.backbones.card import WeightCard
from radapt.backbones.encoders import PlainViT, TokenExtractor
from radapt.backbones.own_module import OwnExtractor, OwnTokens, own_card, own_source
from radapt.backbones.token_network import RunnerExtractor
from radapt.backbones.tokens import Tokens
from radapt.backbones.weights import WeightSource, identity_of
from radapt.devices import pick_device
from radapt.errors import UsageError
from radapt.notebook import Described
from radapt.runtimes.runner import Runner
from radapt.runtimes.runtime import JOINTLY, Runtime

if TYPE_CHECKING:
    from radapt.backbones.multimodal_vit.vit import Crops, Encoded, MultiModalViT


@final
class Backbone(Described):
    """An encoder, its weights and their card.

    `module` is the plain nn.Module (timm's, with its named blocks), to be fine-tuned or given adapters; tokens reflect
    its current weights. `notes` say what was renamed or left out when the weights were loaded.

    An adapted backbone also has a `network`, which encodes several modalities of a slice together (see `joint`). Its
    encoder is `module`, so both share their weights. `module` alone encodes one image at a time and does not know its
    modality.
    """

    def __init__(
        self,
        name: str,
        card: WeightCard,
        source: WeightSource,
        module: nn.Module,
        encoder: TokenExtractor,
        notes: tuple[str, ...] = (),
        network: "MultiModalViT | None" = None,
    ) -> None:
        self.name = name
        self.card = card
        self.source = source
        self.module = module
        self.notes = notes
        self.network = network
        self._encoder = encoder

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        *,
        size: int,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        tokens: OwnTokens | None = None,
        name: str = "own",
        licence: str = "unknown",
        pretraining: Sequence[str] = (),
    ) -> "Backbone":
        """A network of your own as a backbone, for every function that takes one.

        Images are resized to `size` × `size` pixels and normalised by `mean` and `std` (ImageNet's by default), as
        they were in its training. Its output, or what `tokens(module, images)` gives, is a vector per image (B, D), a
        feature map (B, D, h, w), or a pair of CLS tokens (B, D) and patches (B, h, w, D). The module is set to
        evaluation mode. Features are stored under a digest of its weights. A model trained on it is loaded with
        `radapt.load_model(folder, backbone=…)`, because radapt cannot build the module itself.

        Raises UsageError for a module without weights, and for outputs of another form.
        """
        module.eval()
        card = own_card(module, tokens, name, size, mean, std, licence, pretraining)
        return cls(name, card, own_source(module, tokens), module, OwnExtractor(tokens, card.width))

    def to(self, device: "str | torch.device") -> "Backbone":
        """Move the weights to `auto`, `cpu`, `cuda` or `cuda:N`; the same backbone.

        Raises UsageError for a device that this machine does not have.
        """
        (self.network or self.module).to(pick_device(str(device)))
        return self

    def computed_by(self, runner: Runner) -> "Backbone":
        """Let `runner` compute tokens from now on; the same backbone. Training needs PyTorch, and so needs `joint`.

        Raises UsageError for an adapted backbone.
        """
        if self.network is not None:
            raise UsageError(f"{self.name} {JOINTLY}")
        inner = self._encoder.extractor if isinstance(self._encoder, RunnerExtractor) else self._encoder
        self._encoder = RunnerExtractor(inner, runner)
        return self

    @property
    def runtime(self) -> Runtime:
        """What computes its tokens."""
        return self._encoder.runner.runtime if isinstance(self._encoder, RunnerExtractor) else "pytorch"

    def __repr__(self) -> str:
        by = "" if self.runtime == "pytorch" else f", {self.runtime}"
        return f"Backbone({self.name!r}, {self.source.where!r}, {self.dtype}, {self.device}{by})"

    @property
    def identity(self) -> str:
        """The digest of what decides the tokens besides images, layers and dtype; see `identity_of`."""
        return identity_of(self.card, self.source)

    @property
    def token_identity(self) -> str:
        """That of the tokens as they are computed: `identity`, and another one for each runtime but PyTorch."""
        return self.identity if self.runtime == "pytorch" else f"{self.identity}@{self.runtime}"

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities of an adapted backbone, in its own order; empty for any other."""
        return () if self.network is None else tuple(self.network.modalities)

    @property
    def width(self) -> int:
        """Dimension of the last layer's tokens."""
        return self.card.width

    @property
    def depth(self) -> int:
        """The number of layers."""
        return len(self._encoder.widths(self.module))

    def widths(self, layers: Sequence[int]) -> tuple[int, ...]:
        """Dimension of the tokens of each of `layers`."""
        widths = self._encoder.widths(self.module)
        return tuple(widths[index] for index in self._indices(layers))

    @property
    def dtype(self) -> torch.dtype:
        return next(p.dtype for p in self.module.parameters() if p.is_floating_point())

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    def tokens(self, images: torch.Tensor, layers: Sequence[int] = (-1,), *, gradients: bool = False) -> Tokens:
        """Tokens of `images` (B, 3, H, W) or (B, 1, H, W), float in [0, 1] or uint8 in 0…255.

        The backbone applies its own normalisation. Images may have any size: sides that are not a multiple of the patch
        (ViT) or of the total stride (CNN) are resized, bilinearly with antialiasing, to the nearest multiple and at
        least one, so that the h × w patches cover the whole image: h = max(1, round(H / patch)), halves up. A module
        that accepts its native size only (some outside the catalog: `card.fixed`) gets every image resized to it.

        `layers` are counted from the end: -1 is the last block (or stage); the final norm is applied to each (see
        `encoders`). Tokens are float32 whatever the module's dtype. Gradients flow only with `gradients`, for training.
        UsageError for a value that is not a tensor, images of another shape or range, and layers that do not exist.
        """
        indices = self._indices(layers)
        with torch.set_grad_enabled(gradients and torch.is_grad_enabled()):
            x = self._normalise(self._resize(_checked(images).to(self.device)))
            return Tokens(tuple(self._encoder(self.module, x, indices)), deepest=indices.index(max(indices)))

    def block_inputs(self, images: torch.Tensor, blocks: int) -> torch.Tensor:
        """The tokens that enter the last `blocks` blocks (all of them: the embeddings), before any norm: float32
        (B, R + h·w, D), CLS and register tokens first.

        Images as for `tokens`. UsageError for anything but a plain vision transformer.
        """
        plain = self._encoder.extractor if isinstance(self._encoder, RunnerExtractor) else self._encoder
        if not isinstance(plain, PlainViT):
            raise UsageError(f"{self.name} is no plain vision transformer, so its last blocks cannot be run alone.")
        x = self._normalise(self._resize(_checked(images).to(self.device)))
        encoder = self._encoder if isinstance(self._encoder, RunnerExtractor) else plain
        return encoder.block_inputs(self.module, x, blocks).float()

    def joint(self, crops: "Crops", layers: Sequence[int] = (-1,)) -> "Encoded":
        """The tokens of an adapted backbone for all modalities of each slice together (see `MultiModalViT.forward`).

        `crops` has one column for each of `modalities`; missing modalities are ignored. Sides are resized and `layers`
        counted as for `tokens`. UsageError for a backbone that is not adapted.
        """
        if self.network is None:
            raise UsageError(f"{self.name} encodes one image at a time; use a backbone of `radapt adapt` for several.")
        return self.network(replace(crops, images=crops.images.to(self.device)), layers=tuple(layers))

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """The rows and columns of patches of an image of `height` × `width` pixels."""
        patch = self.card.patch
        if self.card.fixed:
            return self.card.native_size // patch, self.card.native_size // patch
        return max(1, (height + patch // 2) // patch), max(1, (width + patch // 2) // patch)

    def _resize(self, images: torch.Tensor) -> torch.Tensor:
        size = tuple(count * self.card.patch for count in self.grid(*images.shape[-2:]))
        if size == images.shape[-2:]:
            return images
        return nn.functional.interpolate(_unit(images), size=size, mode="bilinear", antialias=True)

    def _normalise(self, images: torch.Tensor) -> torch.Tensor:
        """(x - mean) / std in one pass, in float32, then to the module's dtype and memory format."""
        mean, std = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in (self.card.mean, self.card.std))
        scale = 1 / (std * 255) if images.dtype == torch.uint8 else 1 / std
        return torch.addcmul(-mean / std, images.float(), scale).to(self.dtype)

    def _indices(self, layers: Sequence[int]) -> list[int]:
        depth = self.depth
        wrong = [layer for layer in layers if not -depth <= layer <= -1]
        if wrong or not len(layers):
            raise UsageError(
                f"{self.name} has {depth} layers, counted from the end: -1 (the last) to {-depth}. "
                f"Asked for: {_listed(layers)}."
            )
        return [layer + depth for layer in layers]


def _listed(layers: Sequence[int]) -> str:
    if len(layers) > 6:
        return f"{len(layers)} layers from {min(layers)} to {max(layers)}"
    return ", ".join(map(str, layers)) or "none"


def _checked(images: torch.Tensor) -> torch.Tensor:
    if not isinstance(images, torch.Tensor):
        kind = f"{type(images).__module__}.{type(images).__qualname__}".removeprefix("builtins.")
        raise UsageError(
            f"Images should be a torch tensor (B, 3, H, W), float in [0, 1] or uint8, not {kind}. "
            "torch.from_numpy turns an array into one."
        )
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise UsageError(f"Images should have the shape (B, 3, H, W) or (B, 1, H, W), not {tuple(images.shape)}.")
    if images.dtype == torch.uint8:
        return images
    if not images.is_floating_point():
        raise UsageError(f"Images should be float in [0, 1] or uint8, not {images.dtype}.")
    if images.device.type == "cpu":  # on other devices the check would force a synchronisation
        low, high = (float(v) for v in images.detach().aminmax())
        if not (low >= -0.5 and high <= 1.5):
            raise UsageError(
                f"Images should be float in [0, 1], not {low:.3g} … {high:.3g}: the backbone normalises them itself."
            )
    return images


def _unit(images: torch.Tensor) -> torch.Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()
