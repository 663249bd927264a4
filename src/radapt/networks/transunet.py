"""TransUNet: a ResNet whose last map becomes the tokens of a transformer, and a decoder with skips from the ResNet.

Chen et al., TransUNet: transformers make strong encoders for medical image segmentation, 2021. The hybrid encoder is
timm's, so that weights pretrained on ImageNet-21k can be used, as in the paper.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from radapt.errors import UsageError, suggest
from radapt.networks.decoders.layers import ConvBlock, resized

Size = Literal["tiny", "small", "base"]


@dataclass(frozen=True)
class Hybrid:
    """A hybrid encoder: its name in timm ('' for one without pretrained weights), or its layers, width and depth."""

    timm: str = ""
    layers: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    width: int = 0
    depth: int = 0
    heads: int = 0


HYBRIDS: dict[str, Hybrid] = {
    "base": Hybrid("vit_base_r50_s16_224.orig_in21k"),  # R50-ViT-B_16: the paper's
    "small": Hybrid("vit_small_r26_s32_224.augreg_in21k"),  # 40 % of its parameters, an eighth of its tokens
    "tiny": Hybrid("", (1, 1, 1), (128, 256, 512), 192, 4, 3),  # for processors without an accelerator
}

DROPOUT = 0.1
"""Dropout in the transformer, as in the paper."""

TOKEN_CHANNELS = 512
"""Channels of the projected transformer tokens (paper)."""

WIDTHS = (256, 128, 64, 32, 16)
"""Channels of the decoder from deep to full size. The paper's four steps have 256, 128, 64 and 16; 32 is for encoders
with a fifth step."""


class TransUNet(nn.Module):
    """Logits (B, K, H, W) from images (B, C, H, W) in [0, 1], any size.

    Sides that are not a multiple of the encoder's stride are padded with black at the right and bottom, then cropped.
    """

    def __init__(self, size: Size, in_channels: int, outputs: int, image: tuple[int, int], *, pretrained: bool) -> None:
        super().__init__()
        self.vit = _encoder(size, in_channels, pretrained)
        resnet = self.vit.patch_embed.backbone
        widths = [info["num_chs"] for info in resnet.feature_info]  # stem, then stages
        self.stride = 2 ** len(widths)
        self.skips = widths[:-1][::-1]  # deep to shallow; the last map goes through the transformer
        self._size_positions(image)
        self.seen = ConvBlock(self.vit.embed_dim, TOKEN_CHANNELS)
        steps = len(widths)
        channels = [*WIDTHS[: steps - 1], WIDTHS[-1]]
        self.steps = nn.ModuleList(
            _Step(before, skip, after)
            for before, skip, after in zip([TOKEN_CHANNELS, *channels], [*self.skips, 0], channels, strict=False)
        )
        self.last = nn.Conv2d(channels[-1], outputs, kernel_size=3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        padded = nn.functional.pad(images, (0, -width % self.stride, 0, -height % self.stride))
        x, maps = self._encoded((padded - 0.5) / 0.5)  # timm's mean and deviation for these encoders
        x = self.seen(x)
        for step, skip in zip(self.steps, [*maps, None], strict=True):
            x = step(x, skip)
        logits: Tensor = self.last(x)
        return logits[:, :, :height, :width]

    def _encoded(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The tokens as a map (B, D, h, w), and the ResNet's earlier maps from deep to shallow."""
        embed, maps = self.vit.patch_embed, []
        for name, layer in embed.backbone.stem.named_children():
            if name == "pool":
                maps.append(x)
            x = layer(x)
        for stage in embed.backbone.stages:
            x = stage(x)
            maps.append(x)
        tokens = embed.proj(embed.backbone.norm(x))  # (B, D, h, w)
        rows, columns = tokens.shape[2:]
        y = self.vit.norm_pre(self.vit._pos_embed(tokens.permute(0, 2, 3, 1)))
        y = self.vit.norm(self.vit.blocks(y))[:, self.vit.num_prefix_tokens :]
        return y.transpose(1, 2).unflatten(2, (rows, columns)), maps[-2::-1]

    def _size_positions(self, image: tuple[int, int]) -> None:
        """Resize the position embedding to the grid of `image`, so that it is trained as it is used."""
        rows, columns = (-(-side // self.stride) for side in image)
        with torch.no_grad():
            own = self.vit.pos_embed
            n_prefix = 0 if self.vit.no_embed_class else self.vit.num_prefix_tokens
            grid = own[:, n_prefix:].unflatten(1, self.vit.patch_embed.grid_size).permute(0, 3, 1, 2)
            fitted = resized(grid, (rows, columns)).flatten(2).transpose(1, 2)
            self.vit.pos_embed = nn.Parameter(torch.cat([own[:, :n_prefix], fitted], dim=1))
        self.vit.patch_embed.grid_size = (rows, columns)


class _Step(nn.Module):
    """Doubles rows and columns, concatenates the encoder's map of that size, and applies two convolutions."""

    def __init__(self, before: int, skip: int, after: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(ConvBlock(before + skip, after), ConvBlock(after, after))

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        height, width = x.shape[2:]
        x = resized(x, (2 * height, 2 * width))
        out: Tensor = self.blocks(x if skip is None else torch.cat([x, skip], dim=1))
        return out


def build_transunet(
    size: Size, in_channels: int, outputs: int, image: tuple[int, int], *, pretrained: bool = False, seed: int = 0
) -> TransUNet:
    """A new TransUNet for images of (H, W) pixels, with random weights from `seed`.

    `pretrained` loads the encoder's weights from timm. Raises UsageError for an unknown size, a size without pretrained
    weights, and weights that cannot be downloaded.
    """
    if size not in HYBRIDS:
        raise UsageError(f"Unknown size {size!r} of TransUNet. {suggest(size, HYBRIDS)}")
    if pretrained and not HYBRIDS[size].timm:
        known = [name for name, hybrid in HYBRIDS.items() if hybrid.timm]
        raise UsageError(f"There are no pretrained weights for a TransUNet of size {size!r}, only for {known}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TransUNet(size, in_channels, outputs, image, pretrained=pretrained)


def _encoder(size: Size, in_channels: int, pretrained: bool) -> Any:
    """timm's VisionTransformer around a ResNet, without a head."""
    import timm

    hybrid = HYBRIDS[size]
    options = {
        "num_classes": 0, "global_pool": "", "dynamic_img_size": True, "in_chans": in_channels,
        "proj_drop_rate": DROPOUT, "pos_drop_rate": DROPOUT,
    }  # fmt: skip
    if not hybrid.timm:
        return _own(hybrid, in_channels)
    try:
        return timm.create_model(hybrid.timm, pretrained=pretrained, **options)
    except (OSError, RuntimeError) as error:
        raise UsageError(
            f"The pretrained weights of {hybrid.timm} cannot be loaded ({str(error).splitlines()[0]}). Download them "
            "once while online, or use weights: random."
        ) from error


def _own(hybrid: Hybrid, in_channels: int) -> Any:
    from timm.layers import HybridEmbed, StdConv2dSame
    from timm.models.resnetv2 import ResNetV2
    from timm.models.vision_transformer import VisionTransformer

    resnet = ResNetV2(
        hybrid.layers, hybrid.channels, num_classes=0, global_pool="", in_chans=in_channels, preact=False,
        stem_type="same", conv_layer=partial(StdConv2dSame, eps=1e-8),
    )  # fmt: skip
    return VisionTransformer(
        patch_size=1, in_chans=in_channels, num_classes=0, global_pool="", embed_dim=hybrid.width, depth=hybrid.depth,
        num_heads=hybrid.heads, embed_layer=partial(HybridEmbed, backbone=resnet), dynamic_img_size=True,
        proj_drop_rate=DROPOUT, pos_drop_rate=DROPOUT,
    )  # fmt: skip
