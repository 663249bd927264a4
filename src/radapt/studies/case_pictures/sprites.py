"""Slices of an image as one small picture file, below each other."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

SLICES = 8
"""Of a volume, evenly spaced."""

PLANE_PX, SLICE_PX, MASKED_SLICE_PX = 256, 128, 192
"""The longer side of the picture of a single plane, of a slice, and of a slice with masks."""

_WEBP_QUALITY = 55


@dataclass(frozen=True)
class Sprite:
    """`planes` are the numbers of its slices, from 1 of `total`; each is `width` × `height` pixels of a WebP."""

    planes: tuple[int, ...]
    total: int
    width: int
    height: int
    image: bytes


def sprite_of(planes: np.ndarray, masks: Sequence[np.ndarray] = ()) -> Sprite:
    """Of uint8 planes (n, C, H, W) with C 1 or 3, and masks (n, H, W) with 0 outside every structure.

    With masks, the slices cover the planes that show a structure in any of them.
    """
    numbers = _chosen(len(planes), masks)
    longest = PLANE_PX if len(planes) == 1 else MASKED_SLICE_PX if len(masks) else SLICE_PX
    height, width = (max(1, round(side * longest / max(planes.shape[2:]))) for side in planes.shape[2:])
    pictures = [_small(np.asarray(planes[number]), width, height) for number in numbers]
    return Sprite(
        tuple(int(number) + 1 for number in numbers), len(planes), width, height,
        _webp(np.concatenate(pictures)),
    )  # fmt: skip


def _chosen(total: int, masks: Sequence[np.ndarray]) -> np.ndarray:
    """Indices of at most `SLICES` planes: inside the structures, else without the outermost ones."""
    if total <= SLICES:
        return np.arange(total)
    shown = (
        np.flatnonzero(np.any([(mask > 0).any(axis=(1, 2)) for mask in masks], axis=0)) if len(masks) else np.zeros(0)
    )
    if len(shown):
        return np.unique(np.linspace(shown[0], shown[-1], SLICES).round().astype(int))
    return np.linspace(0, total - 1, SLICES + 2)[1:-1].round().astype(int)


def _small(plane: np.ndarray, width: int, height: int) -> np.ndarray:
    """(C, H, W) → (height, width, 3)"""
    colour = np.moveaxis(np.repeat(plane, 3, axis=0) if len(plane) == 1 else plane, 0, -1)
    return np.asarray(Image.fromarray(np.ascontiguousarray(colour)).resize((width, height), Image.Resampling.LANCZOS))


def _webp(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="WEBP", quality=_WEBP_QUALITY, method=4)
    return file.getvalue()
