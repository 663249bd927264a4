"""Layers of decoders. Maps enter as tokens (B, h, w, D) and are (B, C, h, w) inside.

Norms are GroupNorm and LayerNorm, which treat every sample separately, so that results do not depend on how a batch is
split or composed.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 8
"""Groups of a GroupNorm (Wu & He 2018 use 32 for hundreds of channels; decoders have a few dozen)."""


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, h, w) -> (B, C, *size), bilinear, with aligned borders (align_corners=False).

    The result equals torch's interpolate. It is computed by two matrix products, rows then columns, whose gradient is
    two products as well: three to eight times faster on a CPU, and deterministic on a GPU.
    """
    height, width = maps.shape[2:]
    if (height, width) == tuple(size):
        return maps
    rows, columns = _weights(height, size[0]), _weights(width, size[1])
    return rows.to(maps) @ maps @ columns.T.to(maps)  # (H, h) · (B, C, h, w) · (w, W)


@lru_cache(maxsize=64)
def _weights(before: int, after: int) -> Tensor:
    """(after, before) interpolation weights; rows sum to 1."""
    with torch.inference_mode(False), torch.no_grad():
        identity = torch.eye(before)[None]  # (1, before, before)
        return F.interpolate(identity, size=after, mode="linear", align_corners=False)[0].T.contiguous()


def doubled(maps: Tensor, limit: tuple[int, int]) -> Tensor:
    """Maps with twice as many rows and columns, up to `limit`, which may be odd."""
    height, width = maps.shape[2:]
    return resized(maps, (max(height, min(2 * height, limit[0])), max(width, min(2 * width, limit[1]))))


def group_norm(channels: int) -> nn.GroupNorm:
    """A GroupNorm of GROUPS groups, or the most that divide `channels`."""
    return nn.GroupNorm(
        next(groups for groups in range(min(GROUPS, channels), 0, -1) if channels % groups == 0), channels
    )


class Project(nn.Module):
    """Tokens to `width` channels: LayerNorm and a 1 × 1 convolution, (B, h, w, D) -> (B, width, h, w).

    The norm makes a learning rate comparable between backbones: tokens of a ViT are already normalised, maps of a CNN
    differ by orders of magnitude. DINOv2's linear head uses a batch norm instead. It has no weights, which would be
    redundant with the convolution.
    """

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(tokens, elementwise_affine=False)
        self.linear = nn.Linear(tokens, width)

    def forward(self, tokens: Tensor) -> Tensor:
        projected: Tensor = self.linear(self.norm(tokens))
        return projected.permute(0, 3, 1, 2)


class ConvBlock(nn.Sequential):
    """3 × 3 convolution, GroupNorm, ReLU."""

    def __init__(self, channels: int, width: int, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False),
            group_norm(width),
            nn.ReLU(inplace=True),
        )


def classify(width: int, outputs: int) -> nn.Conv2d:
    """The last layer, which gives the logits; no activation follows."""
    return nn.Conv2d(width, outputs, kernel_size=1)


def largest(maps: list[Tensor]) -> tuple[int, int]:
    """The finest grid among maps (B, C, h, w)."""
    return max(m.shape[2] for m in maps), max(m.shape[3] for m in maps)


def finest(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """`size` divided by `stride`, rounded up."""
    return -(-size[0] // stride), -(-size[1] // stride)


def scaled(maps: Tensor, factor: float) -> Tensor:
    """Resized by a factor; at least one row and column."""
    height, width = (max(1, round(side * factor)) for side in maps.shape[2:])
    return resized(maps, (height, width))


def joined(maps: list[Tensor], size: tuple[int, int]) -> Tensor:
    """All maps resized to one size and concatenated by channels."""
    return torch.cat([resized(m, size) for m in maps], dim=1)


def pyramid_factors(widths: Sequence[int], flat: bool | None) -> tuple[float, ...]:
    """The factors that resize several maps to a pyramid: ×4, ×2, ×1, ×½ for four `flat` ones.

    With `flat` None, maps of equal width count as maps of equal size. A single map is not resized, nor are maps that
    already form a pyramid.
    """
    count = len(widths)
    if flat is None:
        flat = len(set(widths)) == 1
    if not flat:
        return (1.0,) * count
    return tuple(2.0 ** (count - 2 - level) if count > 1 else 1.0 for level in range(count))
