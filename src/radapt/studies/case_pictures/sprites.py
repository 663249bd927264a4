"""Slices of an image as one small picture file, below each other, and outlines of its masks on the same slices."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from radapt.studies.segmentation_overlays import PREDICTED_RGB, TRUTH_RGB, outline

SLICES = 8
"""Of a volume, evenly spaced."""

PLANE_PX, SLICE_PX, MASKED_SLICE_PX = 256, 128, 192
"""The longer side of the picture of a single plane, of a slice, and of a slice with masks."""

_WEBP_QUALITY = 55


@dataclass(frozen=True)
class Sprite:
    """`planes` are the numbers of its slices, from 1 of `total`; each is `width` × `height` pixels.

    `image` is WebP. `truth` and `predicted` are transparent PNG with the outlines of the masks, empty without a mask.
    """

    planes: tuple[int, ...]
    total: int
    width: int
    height: int
    image: bytes
    truth: bytes = b""
    predicted: bytes = b""


def sprite_of(planes: np.ndarray, truth: np.ndarray | None = None, predicted: np.ndarray | None = None) -> Sprite:
    """Of uint8 planes (n, C, H, W) with C 1 or 3, and masks (n, H, W) with 0 outside every structure.

    With masks, the slices cover the planes that show a structure in either of them.
    """
    masks = [mask for mask in (truth, predicted) if mask is not None]
    numbers = _chosen(len(planes), masks)
    longest = PLANE_PX if len(planes) == 1 else MASKED_SLICE_PX if masks else SLICE_PX
    height, width = (max(1, round(side * longest / max(planes.shape[2:]))) for side in planes.shape[2:])
    pictures = [_small(np.asarray(planes[number]), width, height) for number in numbers]
    return Sprite(
        tuple(int(number) + 1 for number in numbers), len(planes), width, height,
        _webp(np.concatenate(pictures)),
        _outlines(truth, numbers, (width, height), TRUTH_RGB),
        _outlines(predicted, numbers, (width, height), PREDICTED_RGB),
    )  # fmt: skip


def _chosen(total: int, masks: list[np.ndarray]) -> np.ndarray:
    """Indices of at most `SLICES` planes: inside the structures, else without the outermost ones."""
    if total <= SLICES:
        return np.arange(total)
    shown = np.flatnonzero(np.any([(mask > 0).any(axis=(1, 2)) for mask in masks], axis=0)) if masks else np.zeros(0)
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


def _outlines(
    mask: np.ndarray | None, numbers: np.ndarray, size: tuple[int, int], colour: tuple[int, int, int]
) -> bytes:
    if mask is None:
        return b""
    edges = []
    for number in numbers:
        labels = Image.fromarray(mask[number].astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
        edges.append(outline(np.asarray(labels), 1))
    picture = Image.fromarray(np.concatenate(edges).astype(np.uint8), mode="P")
    picture.putpalette([0, 0, 0, *colour])
    file = io.BytesIO()
    picture.save(file, format="PNG", transparency=0, bits=1, optimize=True)
    return file.getvalue()
