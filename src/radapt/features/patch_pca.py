"""Patch PCA: the patch tokens of an encoder reduced to three colours.

The patches of a few slices share one PCA, so that a colour means the same kind of tissue on every slice (Oquab et al.
2023, DINOv2, figure 1, without its foreground step).
"""

from typing import TYPE_CHECKING

import numpy as np
import torch

from radapt.errors import UsageError

if TYPE_CHECKING:
    from radapt.backbones import Backbone

MAX_FITTED = 8192
"""Patches that the components are fitted on; more cost time without changing the image."""

ROBUST_PERCENTILES = (2.0, 98.0)
"""A component's range is stretched between these, so that a single outlier does not reduce the contrast."""

_BATCH = 8
_MID_GREY = 0.5
_FLAT = 1e-6  # a component this small relative to the tokens is rounding error


def patch_pca(backbone: "Backbone", planes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colour each patch of `planes` by the first three principal components of its token.

    `planes` is uint8 (n, C, H, W) with C = 1 or 3; the result is uint8 (n, H, W, 3), each patch a block of one colour.
    `rng` draws the patches that the components are fitted on if there are more than `MAX_FITTED`. The largest loading
    fixes the sign of a component, so equal input gives an equal image. Where tokens do not vary (constant slices, a
    single patch), the image is mid-grey.
    """
    if planes.ndim != 4 or planes.shape[1] not in (1, 3) or planes.dtype != np.uint8:
        raise UsageError(
            f"Planes have shape {planes.shape} and type {planes.dtype}; "
            "expected uint8 (n, C, H, W) with C = 1 or 3, as a recipe makes them."
        )
    count, _, height, width = planes.shape
    if count == 0:
        return np.empty((0, height, width, 3), dtype=np.uint8)
    tokens = _patch_tokens(backbone, planes)  # (n, h, w, D)
    colours = _colours(tokens.reshape(-1, tokens.shape[-1]), rng)  # (n·h·w, D) -> (n·h·w, 3)
    return _enlarge(colours.reshape(*tokens.shape[:3], 3), height, width)


def _patch_tokens(backbone: "Backbone", planes: np.ndarray) -> np.ndarray:
    tokens_of_batches = []
    for start in range(0, len(planes), _BATCH):
        # A copy, because planes from the slice cache are read-only memory maps.
        images = torch.from_numpy(np.array(planes[start : start + _BATCH])).float().div_(255)
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        with torch.inference_mode():
            tokens_of_batches.append(backbone.tokens(images).patches.float().cpu().numpy())
    return np.concatenate(tokens_of_batches)


def _colours(tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(P, D) tokens -> (P, 3) float in [0, 1]."""
    tokens = tokens.astype(np.float64)
    fitted = tokens
    if len(tokens) > MAX_FITTED:
        fitted = tokens[np.sort(rng.choice(len(tokens), MAX_FITTED, replace=False))]
    centre = fitted.mean(0)
    projected = (tokens - centre) @ _components(fitted - centre)  # (P, D) @ (D, 3)
    low, high = np.percentile(projected, ROBUST_PERCENTILES, axis=0)
    flat = high - low <= _FLAT * max(1.0, float(np.abs(centre).max(initial=0.0)))
    scaled = (projected - low) / np.where(flat, 1.0, high - low)
    return np.where(flat, _MID_GREY, np.clip(scaled, 0.0, 1.0))


def _components(centred: np.ndarray) -> np.ndarray:
    """First three principal directions (D, 3) of centred rows (P, D); zero columns where there are fewer.

    Exact, through the smaller of the two Gram matrices: XᵀX = V S² Vᵀ, or XXᵀ = U S² Uᵀ with V = Xᵀ U / S.
    A randomised PCA would be no faster at this size and would need a seed.
    """
    rows, columns = centred.shape
    wide = columns > rows
    gram = centred @ centred.T if wide else centred.T @ centred
    _, vectors = torch.linalg.eigh(torch.from_numpy(gram))  # eigenvalues ascending
    top = vectors[:, -3:].flip(1).numpy()
    directions = centred.T @ top if wide else top
    norms = np.linalg.norm(directions, axis=0)
    directions = directions / np.where(norms > np.finfo(float).eps, norms, 1.0)
    largest = np.take_along_axis(directions, np.abs(directions).argmax(0)[None], axis=0)
    directions = directions * np.where(largest < 0, -1.0, 1.0)
    return np.pad(directions, ((0, 0), (0, 3 - directions.shape[1])))


def _enlarge(colours: np.ndarray, height: int, width: int) -> np.ndarray:
    """(n, h, w, 3) in [0, 1] -> uint8 (n, H, W, 3), each patch a block (nearest)."""
    _, h, w, _ = colours.shape
    rows = np.arange(height) * h // height
    columns = np.arange(width) * w // width
    return np.round(colours[:, rows][:, :, columns] * 255).astype(np.uint8)
