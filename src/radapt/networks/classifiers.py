"""Convolutional classifiers for training from scratch: ResNet and DenseNet in 2D and 3D."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from radapt.errors import UsageError, suggest

NetworkName = Literal["resnet18", "resnet50", "densenet121"]
Stem = Literal["standard", "small"]

WIDTHS: dict[str, int] = {"resnet18": 512, "resnet50": 2048, "densenet121": 1024}
"""Length of the pooled vector before the last layer."""

SMALL_STEM_PX = 64
"""Images with a shorter side of at most this get the small stem: 28 and 64 px are MedMNIST's small sizes."""

_SMALLEST: dict[tuple[str, str], int] = {("densenet121", "standard"): 32, ("densenet121", "small"): 8}
"""DenseNet halves sides without padding, so shorter sides would vanish. ResNets pad, and accept any side."""


def stem_for(sides: tuple[int, ...]) -> Stem:
    """The stem that keeps enough resolution of images with these sides (pixels)."""
    return "small" if min(sides) <= SMALL_STEM_PX else "standard"


def scratch_classifier(
    name: str, dims: int, in_channels: int, outputs: int, *, stem: Stem = "standard", seed: int = 0
) -> nn.Module:
    """The network `name` with random weights: (B, in_channels, *S) -> logits (B, outputs), S of `dims` sides.

    With 0 `outputs` it ends with the pooled vector (B, `WIDTHS[name]`). 2D networks are timm's, 3D networks MONAI's;
    both are initialised as in He et al. (2015) from `seed` alone and do not change torch's random state. The `standard`
    stem divides the sides by four before the first block (7 × 7 convolution of stride 2, maximum pooling); the `small`
    stem keeps them (3 × 3, stride 1, no pooling), as for CIFAR (He et al. 2016, section 4.2) and MedMNIST at 28 px.

    Raises UsageError for an unknown name, stem, or number of dimensions.
    """
    if name not in WIDTHS:
        raise UsageError(f"Unknown network {name!r} to train from scratch. {suggest(str(name), WIDTHS)}")
    if stem not in get_args(Stem):
        raise UsageError(f"Unknown stem {stem!r}. {suggest(str(stem), get_args(Stem))}")
    if dims not in (2, 3):
        raise UsageError(f"A network has 2 or 3 dimensions, not {dims!r}.")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        make = _in_2d if dims == 2 else _in_3d
        return make(name, in_channels, outputs, stem == "small")


def check_sides(name: str, sides: tuple[int, ...], stem: Stem) -> None:
    """Raise UsageError if images of these sides (pixels) would vanish inside the network."""
    least = _SMALLEST.get((name, stem), 1)
    if min(sides) < least:
        shown = " × ".join(map(str, sides))
        raise UsageError(
            f"{name} with the {stem} stem needs sides of at least {least} px; the images have {shown}. "
            + ("Use larger images." if stem == "small" else "Use larger images, the small stem, or a ResNet.")
        )


class PlainEncoder(nn.Module):
    """A network on grey levels in [0, 1], or 0…255 (uint8), which it standardises to about mean 0 and deviation 1."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, *S) -> (B, D) float32."""
        return self.network(standardised(images)).float()


def standardised(images: Tensor) -> Tensor:
    """Grey levels, uint8 or float in [0, 1], with mid-grey at 0 and a quarter of the range as 1.

    This is close to ImageNet's mean and deviation; the norm layers of the network do the rest.
    """
    return ((images.float() / 255 if images.dtype == torch.uint8 else images) - 0.5) / 0.25


def _in_2d(name: str, in_channels: int, outputs: int, small: bool) -> nn.Module:
    import timm

    network = timm.create_model(name, pretrained=False, in_chans=in_channels, num_classes=outputs)
    if small and name == "densenet121":
        network.features.conv0 = _small_stem(nn.Conv2d, in_channels)
        network.features.pool0 = nn.Identity()
    elif small:
        network.conv1 = _small_stem(nn.Conv2d, in_channels)
        network.maxpool = nn.Identity()
    return network


def _in_3d(name: str, in_channels: int, outputs: int, small: bool) -> nn.Module:
    from monai.networks.nets import DenseNet121, resnet18, resnet50

    if name == "densenet121":
        network = DenseNet121(spatial_dims=3, in_channels=in_channels, out_channels=max(outputs, 1))
        if not outputs:
            network.class_layers.out = nn.Identity()
        if small:
            network.features.conv0 = _small_stem(nn.Conv3d, in_channels)
            network.features.pool0 = nn.Identity()
        return network
    stem = {"conv1_t_size": 3, "conv1_t_stride": 1} if small else {"conv1_t_size": 7, "conv1_t_stride": 2}
    make = {"resnet18": resnet18, "resnet50": resnet50}[name]
    return make(
        pretrained=False, spatial_dims=3, n_input_channels=in_channels, num_classes=max(outputs, 1),
        feed_forward=bool(outputs), bias_downsample=False, no_max_pool=small, **stem,
    )  # fmt: skip


def _small_stem(kind: Any, in_channels: int) -> nn.Module:
    stem = kind(in_channels, 64, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    return stem
