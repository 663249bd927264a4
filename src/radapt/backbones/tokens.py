"""Tokens of an encoder: a CLS token per image and a token per patch, for each requested layer."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class LayerTokens:
    """Tokens of one layer in float32: `cls` (B, D), `patches` (B, h, w, D), row 0 at the top of the image."""

    cls: torch.Tensor
    patches: torch.Tensor


@dataclass(frozen=True)
class Tokens:
    """Tokens of the requested layers, in that order; `cls` and `patches` are those of the deepest layer."""

    layers: tuple[LayerTokens, ...]
    deepest: int = -1

    @property
    def cls(self) -> torch.Tensor:
        return self.layers[self.deepest].cls

    @property
    def patches(self) -> torch.Tensor:
        return self.layers[self.deepest].patches
