"""Position embeddings at other image sizes, by the interpolation recipe of the weights.

With the same interpolation the known implementations give identical tokens; with another recipe DINOv2's patch tokens
change by 4–18 % (relative L2). So the recipe belongs to the weights and is part of their card.
"""

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import interpolate


@dataclass(frozen=True)
class PositionRecipe:
    """Bicubic interpolation of the grid of position embeddings, always in float32.

    `offset`: the grid is scaled by (n + offset) / base instead of to the size n, as in DINO and DINOv2 without
    registers (0.1 there, so that the size is not rounded down). `antialias` applies when the grid shrinks.
    """

    antialias: bool
    offset: float | None = None


RECIPES = {
    "dinov2": PositionRecipe(antialias=False, offset=0.1),  # DINO, and DINOv2 without registers
    "dinov2-registers": PositionRecipe(antialias=True),
    "timm": PositionRecipe(antialias=True),  # timm's resample_abs_pos_embed
    "bicubic": PositionRecipe(antialias=False),  # MSN's code; transformers' ViTs
}


def interpolate_positions(grid: torch.Tensor, size: tuple[int, int], recipe: PositionRecipe) -> torch.Tensor:
    """Position embeddings (1, M·M, D) of a square base grid, at `size` = (h, w): (1, h·w, D) in the dtype of `grid`."""
    base = math.isqrt(grid.shape[1])
    if size == (base, base):
        return grid
    square = grid.float().unflatten(1, (base, base)).permute(0, 3, 1, 2)  # (1, M·M, D) -> (1, D, M, M)
    where: dict[str, tuple[float, ...]] = {"size": size}
    if recipe.offset is not None:
        where = {"scale_factor": tuple((side + recipe.offset) / base for side in size)}
    moved = interpolate(square, mode="bicubic", antialias=recipe.antialias, **where)  # type: ignore[arg-type]
    return moved.flatten(2).transpose(1, 2).contiguous().to(grid.dtype)  # (1, D, h, w) -> (1, h·w, D)


class PositionCache:
    """A cache of the interpolated embeddings of recent sizes, valid while the weights do not change.

    A frozen encoder sees one or two sizes, and interpolating for each batch would cost more than adding. While the
    embedding is trained nothing is cached, so that gradients flow.
    """

    def __init__(self, recipe: PositionRecipe, keep: int = 8) -> None:
        self._recipe = recipe
        self._keep = keep
        self._cached: dict[tuple[object, ...], torch.Tensor] = {}

    def __getstate__(self) -> dict[str, object]:
        """A copy starts empty: entries are keyed by memory addresses, which differ in the copy."""
        return {**self.__dict__, "_cached": {}}

    def __call__(self, grid: torch.Tensor, size: tuple[int, int], source: torch.Tensor) -> torch.Tensor:
        """Embeddings (1, h·w, D) for `size`, from `grid` (1, M·M, D), a view of the parameter `source`."""
        if source.requires_grad and torch.is_grad_enabled():
            return interpolate_positions(grid, size, self._recipe)
        version = 0 if source.is_inference() else source._version
        key = (size, source.data_ptr(), version, source.dtype, source.device)
        if key not in self._cached:
            while len(self._cached) >= self._keep:
                del self._cached[next(iter(self._cached))]
            with torch.inference_mode(False), torch.no_grad():
                self._cached[key] = interpolate_positions(grid.detach(), size, self._recipe)
        return self._cached[key]
