"""The small convolutional decoder, which is the default."""

from collections.abc import Sequence

from torch import Tensor, nn

from radapt.networks.decoders.base import Decoder
from radapt.networks.decoders.layers import ConvBlock, Project, classify, doubled, finest, joined, largest


class ConvDecoder(Decoder):
    """Multi-scale convolutional decoder: maps are projected, joined at the finest grid, mixed, and refined upwards.

    With a ViT-S at 224 px it costs 3 % of the encoder's forward pass, so that stored tokens pay off. The last 3 × 3
    convolution runs at 1 / `stride` of the image size, 4 as in SegFormer and UPerNet.
    """

    name = "conv"

    def __init__(self, widths: Sequence[int], outputs: int, width: int = 48, stride: int = 4) -> None:
        super().__init__(widths, outputs)
        self.stride = stride
        self.project = nn.ModuleList(Project(tokens, width) for tokens in self.widths)
        self.mix = ConvBlock(width * len(self.widths), width)
        first, last = max(8, 2 * width // 3), max(8, width // 3)
        self.refine = nn.ModuleList([ConvBlock(width, first), ConvBlock(first, last)])
        self.classify = classify(last, outputs)

    def decode(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        projected = [project(m) for project, m in zip(self.project, maps, strict=True)]
        x = self.mix(joined(projected, largest(projected)))  # (B, width, h, w)
        for refine in self.refine:
            x = refine(doubled(x, finest(size, self.stride)))
        logits: Tensor = self.classify(x)
        return logits
