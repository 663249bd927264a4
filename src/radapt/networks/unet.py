"""The U-Net that a plan describes: MONAI's dynamic U-Net with supervision of every resolution but the two lowest."""

import torch
from torch import Tensor, nn

from radapt.errors import UsageError
from radapt.networks.plan import UNetPlan


class UNet(nn.Module):
    """Encoder and decoder of plain convolutions with instance norm and leaky ReLU, as nnU-Net has them (Isensee et al.
    2021), of MONAI's DynUNet.

    In training it gives logits at several resolutions, the full one first; in eval mode those of the full one.
    """

    def __init__(self, plan: UNetPlan, in_channels: int, outputs: int) -> None:
        from monai.networks.nets import DynUNet

        super().__init__()
        self.divisor = plan.divisor
        self.net = DynUNet(
            spatial_dims=plan.dims,
            in_channels=in_channels,
            out_channels=outputs,
            kernel_size=plan.kernels,
            strides=plan.strides,
            upsample_kernel_size=plan.strides[1:],
            filters=plan.features,
            norm_name=("INSTANCE", {"affine": True}),
            deep_supervision=True,
            # The decoder has a map per stage but the lowest; of the rest the lowest two teach too little (paper).
            deep_supr_num=max(1, len(plan.strides) - 3),
        )

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """(B, C, *S) -> (B, K, *S), in training a list of (B, K, *S / stride), the finest first.

        Raises UsageError if a side of S is not a multiple of what pooling divides it by.
        """
        if any(side % steps for side, steps in zip(x.shape[2:], self.divisor, strict=True)):
            raise UsageError(f"A patch {tuple(x.shape[2:])} must be a multiple of {self.divisor} along each axis.")
        # Not DynUNet's own forward, which enlarges every map to full size and costs more than it teaches.
        logits = self.net.output_block(self.net.skip_layers(x))
        found, empty = list(self.net.heads), torch.empty(0)
        # The maps must not stay in the module: it could not be copied, and they would hold their memory.
        self.net.heads[:] = [empty] * len(found)
        return [logits, *found] if self.training else logits


def build_unet(plan: UNetPlan, in_channels: int, outputs: int, seed: int = 0) -> UNet:
    """A new U-Net whose weights `seed` decides; the random state of torch is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet(plan, in_channels, outputs)
