"""What is stored of a slice of a sequence: pooled tokens of a frozen encoder, or those that enter its last blocks."""

import abc
import copy
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from radapt.errors import UsageError
from radapt.features.batches import SliceSource
from radapt.features.token_store import Precision, TokenLayout, TokenSource, TokenStore
from radapt.mmdino.fusion.fusion_options import FusionOptions
from radapt.progress import Advance

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone
    from radapt.backbones.tokens import LayerTokens


class TokenKind(abc.ABC):
    """`prefix` tokens of the whole slice, CLS first, then those of side × side patches; D = `width` numbers each."""

    prefix: int
    side: int
    width: int

    @property
    def places(self) -> int:
        """The number of tokens of a slice."""
        return self.prefix + self.side**2

    @abc.abstractmethod
    def store(self, cache: Path) -> TokenStore:
        """The store of these tokens under a cache folder."""


@dataclass(frozen=True)
class PooledTokens(TokenKind):
    """CLS, then the means of the patch tokens in side × side parts of the slice. Layers stand side by side in each."""

    source: "PooledSource"
    side: int
    width: int
    prefix: int = 1

    @classmethod
    def of(cls, backbone: "Backbone", options: FusionOptions, precision: Precision) -> "PooledTokens":
        width = sum(backbone.widths(options.layers))
        layout = TokenLayout(options.layers, ((1, 1 + options.grid**2, width),))
        source = PooledSource(backbone.name, backbone.token_identity, layout, precision, options.grid)
        return cls(source, options.grid, width)

    def store(self, cache: Path) -> TokenStore:
        return PooledTokenStore(cache, self.source)


@dataclass(frozen=True)
class BlockInputs(TokenKind):
    """The tokens that enter the last blocks of a plain vision transformer: CLS, registers, and every patch."""

    source: "BlockSource"
    prefix: int
    side: int
    width: int

    @classmethod
    def of(cls, backbone: "Backbone", blocks: int, size: int, precision: Precision) -> "BlockInputs":
        """Of slices of `size` × `size` pixels. Raises UsageError for an encoder of another kind or fewer blocks."""
        if not 1 <= blocks <= backbone.depth:
            raise UsageError(f"blocks is {blocks}, and {backbone.name} has {backbone.depth}; choose 1 to that many.")
        with torch.inference_mode():
            black = torch.zeros(1, 1, size, size, dtype=torch.uint8)
            tokens, width = backbone.block_inputs(black, blocks).shape[1:]
        side = backbone.grid(size, size)[0]
        layout = TokenLayout((-1 - blocks,), ((1, tokens, width),))
        source = BlockSource(backbone.name, backbone.token_identity, layout, precision, blocks, size)
        return cls(source, tokens - side**2, side, width)

    def store(self, cache: Path) -> TokenStore:
        return BlockTokenStore(cache, self.source)


@dataclass(frozen=True)
class PooledSource(TokenSource):
    """What decides a row of `PooledTokens`."""

    grid: int = 4

    @property
    def facts(self) -> dict[str, object]:
        weights = {} if self.precision == "float32" else {"weights": self.precision}  # these kept their digests
        return {**super().facts, "pooled": self.grid, **weights}


@dataclass(frozen=True)
class BlockSource(TokenSource):
    """What decides a row of `BlockInputs`."""

    blocks: int = 1
    size: int = 98

    @property
    def facts(self) -> dict[str, object]:
        return {**super().facts, "enter the last": self.blocks, "pixels": self.size}


class PooledTokenStore(TokenStore):
    """A token store of `PooledSource`."""

    source: PooledSource

    def fill(
        self,
        backbone: "Backbone",
        images: Iterable[tuple[SliceSource, np.ndarray, Sequence[str]]],
        advance: Advance,
        batch: int | None = None,
    ) -> int:
        """Encode the missing slices by weights of the precision of the rows, as features are extracted."""
        dtype = getattr(torch, self.source.precision)
        if backbone.runtime == "pytorch" and backbone.dtype != dtype:
            backbone = copy.deepcopy(backbone)
            backbone.module.to(dtype)
        return super().fill(backbone, images, advance, batch)

    def rows(self, layers: Sequence["LayerTokens"]) -> Tensor:
        cls = torch.cat([layer.cls.float() for layer in layers], dim=1)[:, None]  # (B, 1, D)
        pooled = [adaptive_avg_pool2d(layer.patches.float().permute(0, 3, 1, 2), self.source.grid) for layer in layers]
        patches = torch.cat(pooled, dim=1).flatten(2).transpose(1, 2)  # (B, grid², D)
        return torch.cat([cls, patches], dim=1).flatten(1).half()

    def _encoded(self, backbone: "Backbone", pixels: Tensor, layers: tuple[int, ...]) -> Tensor:
        return self.rows(backbone.tokens(pixels, layers=layers).layers)


class BlockTokenStore(TokenStore):
    """A token store of `BlockSource`."""

    source: BlockSource

    def _encoded(self, backbone: "Backbone", pixels: Tensor, layers: tuple[int, ...]) -> Tensor:
        """float16 (B, width) of uint8 (B, C, H, W), which is made smaller first."""
        size, half = self.source.size, self.source.precision == "bfloat16"
        images = pixels
        if pixels.shape[-2:] != (size, size):
            images = interpolate(pixels.float() / 255, size=(size, size), mode="bilinear", antialias=True).clamp(0, 1)
        with torch.autocast(pixels.device.type, torch.bfloat16) if half else nullcontext():
            tokens = backbone.block_inputs(images, self.source.blocks)
        return tokens.flatten(1).half()
