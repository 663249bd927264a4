"""The linear decoder."""

from collections.abc import Sequence

from torch import Tensor

from radapt.networks.decoders.base import Decoder
from radapt.networks.decoders.layers import Project


class LinearDecoder(Decoder):
    """A linear map of the last layer's patch tokens, resized bilinearly: what the tokens say by themselves.

    As in the radiology study (arXiv 2312.02366) and DINOv2's linear segmentation (arXiv 2304.07193).
    """

    name = "linear"
    reads = 1

    def __init__(self, widths: Sequence[int], outputs: int) -> None:
        super().__init__(widths, outputs)
        self.project = Project(self.widths[-1], outputs)

    def decode(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        logits: Tensor = self.project(maps[-1])
        return logits
