"""Token extraction from each kind of module, behind one interface.

An extractor takes normalised images (B, 3, H, W) whose sides are multiples of the patch, and the indices (from 0) of
the layers; it gives one `LayerTokens` per index, in that order. It holds no weights: the module may be trained, moved
or given adapters in the meantime.
"""

import inspect
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Protocol

import torch
from torch import nn

from radapt.backbones.position import RECIPES, PositionCache
from radapt.backbones.tokens import LayerTokens


class TokenExtractor(Protocol):
    """Extracts tokens from a module."""

    def __call__(self, module: Any, images: torch.Tensor, layers: Sequence[int]) -> list[LayerTokens]: ...

    def widths(self, module: Any) -> tuple[int, ...]:
        """The token dimension of every layer, first to last."""
        ...


class PlainViT:
    """timm's VisionTransformer: learned position embeddings, with CLS and register tokens, or attention pooling.

    The final norm is applied to every layer, as in DINOv2's `get_intermediate_layers`. Without a CLS token, cls is the
    model's own pooling: its attention pooling head (SigLIP), else the mean of the patches.
    """

    def __init__(self, recipe: str) -> None:
        self._positions: Callable[[torch.Tensor, tuple[int, int], torch.Tensor], torch.Tensor] = PositionCache(
            RECIPES[recipe]
        )

    def baked(self, module: Any, images: torch.Tensor) -> "PlainViT":
        """The same for images of this size alone, with their position embedding as a constant."""
        fixed = copy(self)
        if module.pos_embed is not None:
            rows, columns = (
                side // patch for side, patch in zip(images.shape[2:], module.patch_embed.patch_size, strict=True)
            )
            first = 0 if module.no_embed_class else module.num_prefix_tokens
            table = self._positions(module.pos_embed[:, first:], (rows, columns), module.pos_embed).detach().clone()
            fixed._positions = lambda grid, size, source: table
        return fixed

    def widths(self, module: Any) -> tuple[int, ...]:
        return (module.embed_dim,) * len(module.blocks)

    def __call__(self, module: Any, images: torch.Tensor, layers: Sequence[int]) -> list[LayerTokens]:
        # B images, h × w patches, R prefix tokens, D dimensions
        x = self.embed(module, images)  # (B, R + h·w, D)
        size = (
            images.shape[2] // module.patch_embed.patch_size[0],
            images.shape[3] // module.patch_embed.patch_size[1],
        )
        tokens: dict[int, LayerTokens] = {}
        for index, block in enumerate(module.blocks[: max(layers) + 1]):
            x = block(x)
            if index in layers:
                tokens[index] = self._split(module, module.norm(x), size)
        return [tokens[index] for index in layers]

    def block_inputs(self, module: Any, images: torch.Tensor, blocks: int) -> torch.Tensor:
        """The tokens that enter the last `blocks` blocks: (B, 3, H, W) -> (B, R + h·w, D)."""
        x = self.embed(module, images)
        for block in module.blocks[: len(module.blocks) - blocks]:
            x = block(x)
        return x

    def embed(self, module: Any, images: torch.Tensor) -> torch.Tensor:
        """The tokens that enter the first block: (B, 3, H, W) -> (B, R + h·w, D)."""
        grid = module.patch_embed.proj(images)  # (B, D, h, w)
        size = (grid.shape[2], grid.shape[3])
        x = module.patch_embed.norm(grid.flatten(2).transpose(1, 2))  # (B, h·w, D)
        prefix = [token for token in (module.cls_token, module.reg_token) if token is not None]
        if module.pos_embed is not None:
            n_prefix = 0 if module.no_embed_class else module.num_prefix_tokens
            x = x + self._positions(module.pos_embed[:, n_prefix:], size, module.pos_embed)
            if n_prefix:
                prefix = [torch.cat(prefix, dim=1) + module.pos_embed[:, :n_prefix]]
        if prefix:
            x = torch.cat([*(token.expand(x.shape[0], -1, -1) for token in prefix), x], dim=1)
        return module.norm_pre(module.patch_drop(module.pos_drop(x)))

    def _split(self, module: Any, x: torch.Tensor, size: tuple[int, int]) -> LayerTokens:
        patches = x[:, module.num_prefix_tokens :].unflatten(1, size).float()  # (B, R + h·w, D) -> (B, h, w, D)
        if module.attn_pool is not None:
            return LayerTokens(module.attn_pool(x).float(), patches)
        return LayerTokens(x[:, 0].float() if module.cls_token is not None else patches.mean((1, 2)), patches)


class Intermediates:
    """Any timm model with `forward_intermediates`: CNNs, hierarchical and rotary transformers (DINOv3, SAM, Swin…).

    Transformers with a CLS token give it; for all others cls is the mean of the patches. Layers are blocks or stages.
    The final norm is applied to every layer if all layers have the same width; where a ConvNeXt has its last norm in
    the head (DINOv3 pools, then normalises both the mean and the patches), it is applied to the last stage. SAM's neck,
    which belongs to its mask decoder, is not used: tokens are those of the blocks.
    """

    def widths(self, module: Any) -> tuple[int, ...]:
        if hasattr(module, "blocks") and hasattr(module, "embed_dim") and isinstance(module.embed_dim, int):
            return (module.embed_dim,) * len(module.blocks)
        return tuple(stage["num_chs"] for stage in module.feature_info)

    def __call__(self, module: Any, images: torch.Tensor, layers: Sequence[int]) -> list[LayerTokens]:
        accepted = inspect.signature(module.forward_intermediates).parameters
        with_cls = getattr(module, "cls_token", None) is not None and "return_prefix_tokens" in accepted
        more = {"return_prefix_tokens": True} if with_cls else {}
        wanted = sorted(set(layers))
        outputs = module.forward_intermediates(
            images,
            indices=wanted,
            norm=not hasattr(module, "neck"),
            stop_early=True,
            output_fmt="NCHW",
            intermediates_only=True,
            **more,
        )
        last = len(self.widths(module)) - 1
        tokens = {index: self._tokens(module, out, index == last) for index, out in zip(wanted, outputs, strict=True)}
        return [tokens[index] for index in layers]

    def _tokens(self, module: Any, output: Any, is_last: bool) -> LayerTokens:
        if isinstance(output, tuple):
            grid, prefix = output
            return LayerTokens(prefix[:, 0].float(), grid.permute(0, 2, 3, 1).float())
        patches = output.permute(0, 2, 3, 1).float()  # (B, D, h, w) -> (B, h, w, D)
        cls = patches.mean((1, 2))
        norm = getattr(getattr(module, "head", None), "norm", None)
        if is_last and isinstance(norm, nn.LayerNorm):
            weight, bias = (None if p is None else p.float() for p in (norm.weight, norm.bias))
            cls = nn.functional.layer_norm(cls, cls.shape[-1:], weight, bias, norm.eps)
            patches = nn.functional.layer_norm(patches, patches.shape[-1:], weight, bias, norm.eps)
        return LayerTokens(cls, patches)


def extractor_for(module: nn.Module, recipe: str) -> TokenExtractor:
    """The extractor for a module; `recipe` is the card's position recipe."""
    from timm.layers import PatchEmbed
    from timm.models.vision_transformer import VisionTransformer

    # Subclasses and other patch embeddings arrange their tokens differently, which timm handles.
    if type(module) is VisionTransformer and type(module.patch_embed) is PatchEmbed and recipe in RECIPES:
        return PlainViT(recipe)
    if type(module).__module__.startswith("transformers."):
        from radapt.backbones.transformers_models import TransformersEncoder

        return TransformersEncoder()
    return Intermediates()
