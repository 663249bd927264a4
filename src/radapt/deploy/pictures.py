"""The picture of a case for a page: one plane of an image that the model read, with the outlines of its mask, and then
with "Research use only" as part of the picture."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from radapt.cohorts import Case
from radapt.deploy.burnt_in import burnt_in
from radapt.errors import DataError
from radapt.images import Recipe, SliceCache, Volume, same_grid
from radapt.studies.segmentation_overlays import outline

LEAST_PX = 224
"""Smaller planes are enlarged by an integer factor."""

THUMBNAIL_PX = 96

_DOUBTFUL = (255, 0, 200)

_COLOURS = ((255, 140, 0), (64, 200, 96), (90, 170, 255), (230, 90, 200), (240, 220, 60), (160, 110, 255))
"""Of the structures, in the order of their values; then again from the first."""


@dataclass(frozen=True)
class Picture:
    """A plane as a PNG in a data URI. `plane` counts from 1 of `planes`. `uncertain` is the plane once more, with what
    the model doubts of the mask in magenta; '' without a map."""

    uri: str
    modality: str
    plane: int
    planes: int
    uncertain: str = ""


def picture_of(
    case: Case,
    modality: str,
    recipe: Recipe,
    cache: Path,
    mask: Volume | None = None,
    *,
    uncertainty: Volume | None = None,
    plane: int | None = None,
) -> Picture:
    """The plane of `modality` with the largest area of the mask, else `plane`, else the middle one, as the model sees
    it. `uncertainty` lies on the mask, from 0 to 1.

    Raises DataError if the image cannot be read.
    """
    slices = SliceCache(cache)
    if mask is None:
        planes = slices.planes(case.images[modality], recipe, modality)
        number = plane if plane is not None and plane < len(planes) else len(planes) // 2
        return Picture(_uri(_enlarged(_colour(planes[number]))), modality, number + 1, len(planes))
    image = slices.read(case.images[modality], modality)
    planes = recipe.whole.apply(image)
    placed = recipe.whole.place(image) if same_grid(image, mask) is None else None
    labels = None if placed is None else placed.masks(mask)
    number = len(planes) // 2
    if labels is not None and labels.any():
        number = int((labels > 0).sum(axis=(1, 2)).argmax())
    picture, uncertain = _enlarged(_colour(planes[number])), ""
    if placed is not None and labels is not None:
        if uncertainty is not None:
            uncertain = _uri(burnt_in(_shaded(picture, _enlarged(placed.masks(uncertainty)[number]))))
        _outline(picture, _enlarged(labels[number]))
        picture = burnt_in(picture)
    return Picture(_uri(picture), modality, number + 1, len(planes), uncertain)


def thumbnail_of(case: Case, recipe: Recipe, cache: Path) -> str:
    """The middle plane of the case's first image as a small PNG in a data URI; '' if it cannot be read."""
    modality = next(iter(case.images), None)
    if modality is None:
        return ""
    try:
        planes = SliceCache(cache).planes(case.images[modality], recipe, modality)
    except DataError:
        return ""
    small = Image.fromarray(np.ascontiguousarray(_colour(planes[len(planes) // 2])))
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    return _uri(np.asarray(small))


def _enlarged(plane: np.ndarray) -> np.ndarray:
    """(H, W, …) with every pixel repeated."""
    factor = -(-LEAST_PX // min(plane.shape[:2]))
    return np.repeat(np.repeat(plane, factor, axis=0), factor, axis=1)


def _shaded(picture: np.ndarray, uncertainty: np.ndarray) -> np.ndarray:
    """`picture` (H, W, 3) with `uncertainty` (H, W) laid over; one half and more hides the picture."""
    share = np.clip(2 * uncertainty, 0, 1)[..., None].astype(np.float32)
    return np.rint((1 - share) * picture + share * np.asarray(_DOUBTFUL, np.float32)).astype(np.uint8)


def _colour(plane: np.ndarray) -> np.ndarray:
    """uint8 (C, H, W) → (H, W, 3)"""
    return np.moveaxis(np.repeat(plane, 3, axis=0) if len(plane) == 1 else np.asarray(plane), 0, -1)


def _outline(picture: np.ndarray, labels: np.ndarray) -> None:
    edges = outline(labels, 1)
    for place, value in enumerate(np.unique(labels[labels > 0])):
        picture[edges & (labels == value)] = _COLOURS[place % len(_COLOURS)]


def _uri(picture: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
