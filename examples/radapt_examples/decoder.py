"""A decoder: SegFormer's head (Xie et al. 2021), a linear map of every layer and one of them all."""

from collections.abc import Sequence

from torch import Tensor, nn

from radapt.networks.decoders.base import Decoder
from radapt.networks.decoders.layers import ConvBlock, Project, classify, joined, largest


class MLPDecoder(Decoder):
    """Tokens of four layers, each projected to `width` channels, joined at the finest grid and mixed once."""

    name = "mlp"

    def __init__(self, widths: Sequence[int], outputs: int, width: int = 64) -> None:
        super().__init__(widths, outputs)
        self.project = nn.ModuleList(Project(tokens, width) for tokens in self.widths)
        self.mix = ConvBlock(width * len(self.widths), width)
        self.classify = classify(width, outputs)

    def decode(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        projected = [project(tokens) for project, tokens in zip(self.project, maps, strict=True)]
        logits: Tensor = self.classify(self.mix(joined(projected, largest(projected))))
        return logits  # (B, outputs, h, w); the base class resizes them to `size`
