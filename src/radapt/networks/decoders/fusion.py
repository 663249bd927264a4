"""Fusion of several modalities, each encoded separately, into one map per layer; and the segmentation head on it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from radapt.errors import UsageError
from radapt.networks.decoders.base import Decoder
from radapt.networks.decoders.layers import resized

FUSED_WIDTH = 128
"""Channels of fused maps, or the encoder's width if that is smaller: projecting every modality and layer to the full
width of a ViT-S would cost as much as the decoder."""


class Fusion(nn.Module):
    """Maps of M modalities to one map per layer: at every location the sum of a learned projection per modality.

    A missing modality contributes a learned vector instead, never zeros that look like an image. The sum is scaled by
    1/√M, so that its magnitude does not depend on M. The fusion is linear, so a linear decoder stays linear. With one
    modality maps pass unchanged, and no parameter is added.
    """

    def __init__(self, widths: Sequence[int], modalities: int, width: int = FUSED_WIDTH) -> None:
        super().__init__()
        if modalities < 1:
            raise UsageError(f"A fusion needs at least one modality, not {modalities}.")
        self.modalities = modalities
        single = modalities == 1
        self.widths = tuple(widths) if single else tuple(min(width, tokens) for tokens in widths)
        self.norms = (
            nn.ModuleList()
            if single
            else nn.ModuleList(nn.LayerNorm(tokens, elementwise_affine=False) for tokens in widths)
        )
        self.projections = nn.ParameterList()
        self.absent = nn.ParameterList()
        for tokens, out in [] if single else zip(widths, self.widths, strict=True):
            self.projections.append(nn.Parameter(torch.randn(modalities, tokens, out) / tokens**0.5))
            self.absent.append(nn.Parameter(0.02 * torch.randn(modalities, out)))

    def forward(self, maps: Sequence[Tensor], present: Tensor) -> list[Tensor]:
        """Maps (B, M, h, w, D_i), whatever they hold where `present` (B, M) bool is false -> maps (B, h, w, W_i)."""
        if not self.projections:
            return [m[:, 0] for m in maps]
        layers = zip(maps, self.norms, self.projections, self.absent, strict=True)
        return [_fuse(m, norm, weights, absent, present) for m, norm, weights, absent in layers]


def _fuse(tokens: Tensor, norm: nn.Module, weights: Tensor, absent: Tensor, present: Tensor) -> Tensor:
    available = present[:, :, None, None, None]
    zero = torch.zeros((), dtype=tokens.dtype, device=tokens.device)
    safe = torch.where(available, tokens, zero)  # NaN at missing modalities would spread
    projected = torch.einsum("bmhwd,mdo->bmhwo", norm(safe), weights)
    fused = torch.where(available, projected, absent[:, None, None].to(projected.dtype))
    return fused.sum(1) / weights.shape[0] ** 0.5


class SegmentationHead(nn.Module):
    """Fusion and decoder: everything that is trained on the tokens of a frozen encoder."""

    def __init__(self, fusion: Fusion, decoder: Decoder) -> None:
        super().__init__()
        self.fusion = fusion
        self.decoder = decoder

    def forward(self, maps: Sequence[Tensor], present: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps (B, M, h, w, D_i) shallow to deep, `present` (B, M) bool -> logits (B, outputs, *size) float32."""
        logits: Tensor = self.decoder(self.fusion(maps, present), size)
        return logits.float()

    def coarse(self, maps: Sequence[Tensor], present: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits before the resize to `size`: at the decoder's resolution, at most `size`."""
        logits = self.decoder.decode(self.fusion(maps, present), size)
        height, width = logits.shape[2:]
        return resized(logits, (min(height, size[0]), min(width, size[1]))).float()
