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
from radapt.images import Recipe, SliceCache, Volume, same_grid
from radapt.studies.segmentation_overlays import outline

LEAST_PX = 224
"""Smaller planes are enlarged by an integer factor."""

_COLOURS = ((255, 140, 0), (64, 200, 96), (90, 170, 255), (230, 90, 200), (240, 220, 60), (160, 110, 255))
"""Of the structures, in the order of their values; then again from the first."""


@dataclass(frozen=True)
class Picture:
    """A plane as a PNG in a data URI. `plane` counts from 1 of `planes`."""

    uri: str
    modality: str
    plane: int
    planes: int


def picture_of(case: Case, modality: str, recipe: Recipe, cache: Path, mask: Volume | None = None) -> Picture:
    """The plane of `modality` with the largest area of the mask, else the middle one, as the model sees it.

    Raises DataError if the image cannot be read.
    """
    slices = SliceCache(cache)
    if mask is None:
        planes = slices.planes(case.images[modality], recipe, modality)
        number = len(planes) // 2
        colour, marked = _colour(planes[number]), None
    else:
        image = slices.read(case.images[modality], modality)
        planes = recipe.whole.apply(image)
        labels = recipe.whole.place(image).masks(mask) if same_grid(image, mask) is None else None
        number = len(planes) // 2
        if labels is not None and labels.any():
            number = int((labels > 0).sum(axis=(1, 2)).argmax())
        colour, marked = _colour(planes[number]), None if labels is None else labels[number]
    factor = -(-LEAST_PX // min(colour.shape[:2]))
    picture = np.repeat(np.repeat(colour, factor, axis=0), factor, axis=1)
    if marked is not None:
        _outline(picture, np.repeat(np.repeat(marked, factor, axis=0), factor, axis=1))
        picture = burnt_in(picture)
    return Picture(_uri(picture), modality, number + 1, len(planes))


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
