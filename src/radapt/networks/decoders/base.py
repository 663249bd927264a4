"""What every decoder is: tokens of a few layers of an encoder in, a logit per pixel and class out."""

import abc
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from radapt.errors import UsageError
from radapt.networks.decoders.parts import resized

SHALLOW = 8
"""A backbone with fewer layers than this is taken to count stages, not blocks: the last ones are read."""


class Decoder(nn.Module, abc.ABC):
    """Logits from tokens: `forward(maps, size)` takes maps (B, h, w, D_i) float32, shallow to deep, and gives
    (B, outputs, *size) at the size of the image, any, odd ones too.

    Maps may differ in rows and columns (stages of a CNN) or not (blocks of a ViT). `layers(depth)` says which layers
    of a backbone it wants; where a backbone has fewer, it reads all there are. The first module a map meets is a norm
    (see `Project`). Logits end in a convolution and a resize: no ReLU cuts them off.
    """

    name: ClassVar[str]
    """What studies call it."""
    reads: ClassVar[int] = 4
    """How many layers it wants: four, as UPerNet and DPT."""

    def __init__(self, widths: Sequence[int], outputs: int) -> None:
        super().__init__()
        if outputs < 2 or not widths or min(widths) < 1:
            raise UsageError(
                f"A decoder needs at least one map and two outputs, the background among them; got {len(widths)} maps "
                f"of widths {list(widths)} and {outputs} outputs."
            )
        self.widths = tuple(int(width) for width in widths)
        self.outputs = outputs

    @classmethod
    def layers(cls, depth: int) -> tuple[int, ...]:
        """Which of a backbone's `depth` layers to read, counted from the end, shallow to deep.

        Blocks are read at even distances, the last one among them, as DINOv2 and DPT do (3, 6, 9, 12 of 12); of
        stages (fewer than `SHALLOW`) the last ones.
        """
        count = min(cls.reads, depth)
        if depth < SHALLOW:
            return tuple(range(-count, 0))
        return tuple((i + 1) * depth // count - 1 - depth for i in range(count))

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        found = tuple(m.shape[-1] for m in maps)
        if found != self.widths or any(m.ndim != 4 for m in maps):
            shapes = ", ".join(str(tuple(m.shape)) for m in maps)
            raise UsageError(
                f"This decoder reads maps (B, h, w, D) with D = {list(self.widths)}; got {shapes or 'none'}."
            )
        return resized(self.decode(list(maps), size), size)

    @abc.abstractmethod
    def decode(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Logits (B, outputs, h, w) at a resolution of the decoder's own, at most `size`."""
