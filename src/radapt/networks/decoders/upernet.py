"""UPerNet: pyramid pooling on the deepest map and a feature pyramid from deep to shallow."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from radapt.networks.decoders.base import Decoder
from radapt.networks.decoders.layers import ConvBlock, Project, classify, joined, pyramid_factors, resized, scaled

POOLS = (1, 2, 3, 6)
"""Sides of the pooled grids (PSPNet, Zhao et al. 2017; UPerNet)."""


class UPerNetDecoder(Decoder):
    """UPerNet (Xiao et al. 2018, arXiv 1807.10221).

    Maps of equal size (`flat`, from a ViT) first become a pyramid of ×4, ×2, ×1 and ×½ as in BEiT, but by resizing the
    projected maps, which needs no weights. `width` is 64; the paper's 512 costs several times a ViT-S.
    """

    name = "upernet"

    def __init__(self, widths: Sequence[int], outputs: int, width: int = 64, flat: bool | None = None) -> None:
        super().__init__(widths, outputs)
        self.factors = pyramid_factors(self.widths, flat)
        self.project = nn.ModuleList(Project(tokens, width) for tokens in self.widths)
        self.pools = nn.ModuleList(ConvBlock(width, width, kernel=1) for _ in POOLS)
        self.pooled = ConvBlock(width * (1 + len(POOLS)), width)
        self.smooth = nn.ModuleList(ConvBlock(width, width) for _ in self.widths[1:])
        self.fuse = ConvBlock(width * len(self.widths), width)
        self.classify = classify(width, outputs)

    def decode(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        levels = [
            scaled(project(m), factor) for project, m, factor in zip(self.project, maps, self.factors, strict=True)
        ]
        levels[-1] = self._pool(levels[-1])
        for index in range(len(levels) - 2, -1, -1):  # deep to shallow, each on top of the next
            levels[index] = levels[index] + resized(levels[index + 1], _size(levels[index]))
        levels = [*(smooth(level) for smooth, level in zip(self.smooth, levels, strict=False)), levels[-1]]
        logits: Tensor = self.classify(self.fuse(joined(levels, _size(levels[0]))))
        return logits

    def _pool(self, deepest: Tensor) -> Tensor:
        pooled = [block(F.adaptive_avg_pool2d(deepest, side)) for block, side in zip(self.pools, POOLS, strict=True)]
        out: Tensor = self.pooled(joined([deepest, *pooled], _size(deepest)))
        return out


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[2], maps.shape[3]
