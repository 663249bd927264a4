"""A U-Net decoder on several layers of an encoder."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from radapt.networks.decoders.base import Decoder
from radapt.networks.decoders.layers import ConvBlock, Project, classify, doubled, finest, resized

LEAST_WIDTH = 16
"""Channels are halved at every step, down to this."""


class UNetDecoder(Decoder):
    """The deepest map is doubled in size step by step and joined with the next shallower one, as in U-Net's decoder.

    As in the radiology study (arXiv 2312.02366): five layers, two convolutions per step, and with a ViT encoder the
    skip maps are enlarged to the size of the step. Channels are halved at every step from `width`, by default 128.
    Steps end at 1 / `stride` of the image size, by default half: full size would double the cost for detail that
    patches of 14 px do not hold.
    """

    name = "unet"
    reads = 5

    def __init__(self, widths: Sequence[int], outputs: int, width: int = 128, stride: int = 2) -> None:
        super().__init__(widths, outputs)
        self.stride = stride
        channels = [max(LEAST_WIDTH, width >> step) for step in range(max(2, len(self.widths)))]
        self.project = Project(self.widths[-1], channels[0])
        skips = self.widths[-2::-1]  # deep to shallow
        self.skips = nn.ModuleList(Project(tokens, channels[step + 1]) for step, tokens in enumerate(skips))
        self.steps = nn.ModuleList(
            nn.Sequential(
                ConvBlock(channels[step] + (channels[step + 1] if step < len(skips) else 0), channels[step + 1]),
                ConvBlock(channels[step + 1], channels[step + 1]),
            )
            for step in range(len(channels) - 1)
        )
        self.classify = classify(channels[-1], outputs)

    def decode(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        x = self.project(maps[-1])
        skipped = [skip(m) for skip, m in zip(self.skips, maps[-2::-1], strict=True)]
        for step, mix in enumerate(self.steps):
            x = doubled(x, finest(size, self.stride))
            if step < len(skipped):
                x = torch.cat([x, resized(skipped[step], (x.shape[2], x.shape[3]))], dim=1)
            x = mix(x)
        logits: Tensor = self.classify(x)
        return logits
