"""An encoder with a segmentation head on it: planes of several modalities in, logits out."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from radapt.features.token_store import TokenLayout
from radapt.networks import adapt
from radapt.networks.decoders.fusion import Fusion, SegmentationHead
from radapt.networks.decoders.registry import decoder_layers, make_decoder

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone

Encoder = Literal["frozen", "norm", "bitfit", "lora", "partial", "finetune"]
Size = tuple[int, int]

Subsets = Literal["auto", "all", "none"]
"""Whether test cases are also scored from every subset of modalities; `auto`: where there are at most four."""


@dataclass(frozen=True)
class Parts:
    """The components of a network: the decoder by name with its options, how the encoder is adapted, and sizes.

    `modalities` share the encoder, `outputs` are classes with the background, `size` is that of the planes in pixels.
    """

    decoder: str
    encoder: Encoder
    modalities: int
    outputs: int
    size: Size
    decoder_options: dict[str, Any] = field(default_factory=dict)
    encoder_options: dict[str, Any] = field(default_factory=dict)


class SegmentationNetwork(nn.Module):
    """The module of `backbone`, adapted in place, as `encoder`, and a `head` (fusion and decoder), drawn from `seed`.

    Planes are uint8 (B, M, C, H, W), or float in [0, 1]; a missing modality is not encoded. A frozen
    encoder runs without gradients and stays in evaluation mode.
    """

    def __init__(self, backbone: "Backbone", parts: Parts, seed: int) -> None:
        super().__init__()
        method = "full" if parts.encoder == "finetune" else parts.encoder
        adapt(backbone.module, method, seed=seed, **parts.encoder_options)
        self.backbone, self.parts = backbone, parts
        self.encoder = backbone.module
        self.layers = decoder_layers(parts.decoder, backbone.depth)
        self.trains_encoder = any(parameter.requires_grad for parameter in self.encoder.parameters())
        self.head = make_head(backbone, parts, seed).to(backbone.device)

    def maps(self, planes: Tensor, present: Tensor) -> list[Tensor]:
        """(B, M, C, H, W) with `present` (B, M) bool -> maps (B, M, h, w, D_i), zeros where a modality is missing."""
        mask = present.flatten()
        complete = bool(mask.all())
        images = planes.flatten(0, 1)
        with torch.set_grad_enabled(self.trains_encoder and torch.is_grad_enabled()):
            tokens = self.backbone.tokens(images if complete else images[mask], layers=self.layers, gradients=True)
        maps = [layer.patches for layer in tokens.layers]
        if not complete:
            maps = [m.new_zeros(len(images), *m.shape[1:]).index_put((mask.nonzero()[:, 0],), m) for m in maps]
        return [m.unflatten(0, present.shape) for m in maps]

    def forward(self, planes: Tensor, present: Tensor) -> Tensor:
        """Logits (B, outputs, H, W) float32."""
        size = (planes.shape[3], planes.shape[4])
        logits: Tensor = self.head(self.maps(planes, present), present, size)
        return logits


class CoarseHead(nn.Module):
    """A head at the decoder's resolution, for planes of one `size`: `present` (B, M) bool and maps (B, M, h, w, D_i)
    -> logits (B, outputs, h', w') float32 (see `SegmentationHead.coarse`)."""

    def __init__(self, head: SegmentationHead, size: Size) -> None:
        super().__init__()
        self.head, self.size = head, size

    def forward(self, present: Tensor, *maps: Tensor) -> Tensor:
        return self.head.coarse(maps, present, self.size)


def make_head(backbone: "Backbone", parts: Parts, seed: int) -> SegmentationHead:
    """The head, which is always trained; its initial weights depend on `seed` alone."""
    layers = decoder_layers(parts.decoder, backbone.depth)
    options = dict(parts.decoder_options)
    if parts.decoder in ("upernet", "dpt"):
        options["flat"] = _same_size(backbone, layers, parts.size)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        fusion = Fusion(backbone.widths(layers), parts.modalities)
        return SegmentationHead(fusion, make_decoder(parts.decoder, fusion.widths, parts.outputs, **options))


def _same_size(backbone: "Backbone", layers: tuple[int, ...], size: Size) -> bool:
    """Whether all layers have maps of one size: blocks of a ViT, not stages of a CNN."""
    shapes = TokenLayout.of(backbone, layers, size).shapes
    return len(shapes) > 1 and len({shape[:2] for shape in shapes}) == 1
