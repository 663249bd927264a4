"""Patch embedding of selected patches only."""

from typing import Any

import torch
from torch import Tensor, nn

from radapt.errors import UsageError


def patches_of(images: Tensor, grid: tuple[int, int], patch: int, places: Tensor) -> Tensor:
    """The pixels of the patches at `places` int64 (T,), flat over (B, M, h, w): (B, M, C, H, W) -> (T, C·p·p).

    Images of another size are resized to the `grid` of patches, bilinearly and with antialiasing, as by
    `Backbone.tokens`.
    """
    # B cases, M modalities, C channels, h × w patches of p × p pixels
    size = (grid[0] * patch, grid[1] * patch)
    if size != images.shape[-2:]:
        unit = images.float() / 255 if images.dtype == torch.uint8 else images.float()
        small = nn.functional.interpolate(unit.flatten(0, 1), size=size, mode="bilinear", antialias=True)
        images = small.unflatten(0, images.shape[:2])
    cut = images.unflatten(4, (-1, patch)).unflatten(3, (-1, patch))  # (B, M, C, h, p, w, p)
    cut = cut.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(0, 3)  # (B·M·h·w, C·p·p)
    return _in_range(cut.index_select(0, places))


def embedded(vit: Any, pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Patch embeddings (T, D) of pixels (T, C·p·p), uint8 or float in [0, 1], C 1 (grey) or 3.

    The normalisation is folded into the kernel; for grey images, so are the three equal channels. With kernel W_c, bias
    b, mean m_c and deviation s_c of channel c and a patch x_c:

        Σ_c W_c (x_c - m_c) / s_c + b  =  Σ_c (W_c / s_c) x_c  +  (b - Σ_c (m_c / s_c) Σ W_c)

    and with x_c = x for all c the first sum is (Σ_c W_c / s_c) x: one channel in place of three. Both are
    computed from the current parameters, in float32, so that gradients reach them.
    """
    layer = vit.patch_embed.proj
    with torch.autocast(pixels.device.type, enabled=False):
        weight = layer.weight.float() / std[:, None, None]  # (D, 3, p, p)
        shift = weight.sum((2, 3)) @ mean  # (D,)
        bias = -shift if layer.bias is None else layer.bias.float() - shift
        grey = pixels.shape[1] * 3 == weight[0].numel()
        kernel = (weight.sum(1) if grey else weight).flatten(1)  # (D, C·p·p)
        if pixels.dtype == torch.uint8:
            kernel = kernel / 255
    dtype = layer.weight.dtype
    x = nn.functional.linear(pixels.to(dtype), kernel.to(dtype), bias.to(dtype))  # (T, D)
    return vit.patch_embed.norm(x)


def _in_range(pixels: Tensor) -> Tensor:
    """`pixels`. Raises UsageError for float pixels far from [0, 1], on a CPU."""
    if pixels.dtype == torch.uint8 or pixels.device.type != "cpu" or not pixels.numel():
        return pixels  # elsewhere the check would wait for the device
    low, high = (float(v) for v in pixels.detach().aminmax())
    if not (low >= -0.5 and high <= 1.5):
        raise UsageError(
            f"Images should be float in [0, 1], not {low:.3g} … {high:.3g}: the backbone normalises them itself."
        )
    return pixels
