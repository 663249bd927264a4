"""The U-Net of a plan: MONAI's dynamic U-Net with deep supervision of every resolution except the two lowest."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from radapt.errors import UsageError
from radapt.networks.unet.architecture import UNetPlan

if TYPE_CHECKING:
    from monai.networks.nets import DynUNet


class UNet(nn.Module):
    """Encoder and decoder of plain convolutions with instance norm and leaky ReLU, as in nnU-Net (Isensee et al. 2021),
    from the blocks of MONAI's DynUNet.

    In training it returns logits at several resolutions, the full one first; in evaluation mode those of the full one.
    """

    def __init__(self, plan: UNetPlan, in_channels: int, outputs: int) -> None:
        super().__init__()
        net = dynunet(plan, in_channels, outputs)
        self.divisor = plan.divisor
        # DynUNet registers each block under two names, and upsamples every map to full size, which is expensive; so
        # its blocks are used without its forward.
        self.down = nn.ModuleList([net.input_block, *net.downsamples])
        self.bottom = net.bottleneck
        self.up = net.upsamples  # the lowest resolution first
        self.last = net.output_block
        self.heads = net.deep_supervision_heads  # half the resolution first

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """(B, C, *S) -> (B, K, *S), in training a list of (B, K, *S / stride), the finest first.

        Raises UsageError if a side of S is not a multiple of the total pooling stride.
        """
        if any(side % steps for side, steps in zip(x.shape[2:], self.divisor, strict=True)):
            raise UsageError(f"A patch {tuple(x.shape[2:])} must be a multiple of {self.divisor} along each axis.")
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        x, maps = self.bottom(x), []
        for block, skip in zip(self.up, reversed(skips), strict=True):
            x = block(x, skip)
            maps.append(x)
        logits: Tensor = self.last(x)
        if not self.training:
            return logits
        return [logits, *(head(level) for head, level in zip(self.heads, reversed(maps[:-1]), strict=False))]


def dynunet(plan: UNetPlan, in_channels: int, outputs: int) -> "DynUNet":
    """MONAI's network of a plan."""
    from monai.networks.nets import DynUNet

    return DynUNet(
        spatial_dims=plan.dims,
        in_channels=in_channels,
        out_channels=outputs,
        kernel_size=plan.kernels,
        strides=plan.strides,
        upsample_kernel_size=plan.strides[1:],
        filters=plan.features,
        norm_name=("INSTANCE", {"affine": True}),
        deep_supervision=True,
        # The decoder has a map per stage except the lowest; the lowest two of these are not supervised (paper).
        deep_supr_num=max(1, len(plan.strides) - 3),
    )


def build_unet(plan: UNetPlan, in_channels: int, outputs: int, seed: int = 0) -> UNet:
    """A new U-Net with weights from `seed`; torch's random state is unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet(plan, in_channels, outputs)
