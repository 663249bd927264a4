"""The interface of a decoder: tokens of a few layers of an encoder in, a logit per pixel and class out."""

import abc
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from radapt.errors import UsageError
from radapt.networks.decoders.layers import resized

SHALLOW = 8
"""A backbone with fewer layers than this counts stages, not blocks: its last layers are read."""


class Decoder(nn.Module, abc.ABC):
    """Logits from tokens: `forward(maps, size)` takes maps (B, h, w, D_i) float32, shallow to deep, and returns
    (B, outputs, *size) at the size of the image, which may be odd.

    Maps may differ in size (stages of a CNN) or not (blocks of a ViT). `layers(depth)` gives the layers of a backbone
    that it reads; it reads all layers of a backbone with fewer. Each map first passes a norm (see `Project`). Logits
    end in a convolution and a resize, without ReLU.
    """

    name: ClassVar[str]
    """What studies call it."""
    reads: ClassVar[int] = 4
    """The number of layers it reads: four, as UPerNet and DPT."""

    def __init__(self, widths: Sequence[int], outputs: int) -> None:
        super().__init__()
        if outputs < 2 or not widths or min(widths) < 1:
            raise UsageError(
                f"A decoder needs at least one map and two outputs, including the background; got {len(widths)} maps "
                f"of widths {list(widths)} and {outputs} outputs."
            )
        self.widths = tuple(int(width) for width in widths)
        self.outputs = outputs

    @classmethod
    def layers(cls, depth: int) -> tuple[int, ...]:
        """The layers to read of a backbone with `depth` layers, counted from the end, shallow to deep.

        Blocks are read at even distances including the last one, as in DINOv2 and DPT (3, 6, 9, 12 of 12); of stages
        (fewer than `SHALLOW`) the last ones are read.
        """
        count = min(cls.reads, depth)
        if depth < SHALLOW:
            return tuple(range(-count, 0))
        return tuple((i + 1) * depth // count - 1 - depth for i in range(count))

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        widths = tuple(m.shape[-1] for m in maps)
        if widths != self.widths or any(m.ndim != 4 for m in maps):
            shapes = ", ".join(str(tuple(m.shape)) for m in maps)
            raise UsageError(
                f"This decoder reads maps (B, h, w, D) with D = {list(self.widths)}; got {shapes or 'none'}."
            )
        return resized(self.decode(list(maps), size), size)

    @abc.abstractmethod
    def decode(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Logits (B, outputs, h, w) at the decoder's resolution, at most `size`."""
