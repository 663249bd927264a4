"""A picture of a label map over its image, marked as being for research use only."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from radapt.deploy.dicom.algorithm import RESEARCH_ONLY
from radapt.deploy.dicom.structures import structure_of
from radapt.durable import atomic_path
from radapt.errors import DataError
from radapt.images.plausibility import same_grid
from radapt.images.volume import Volume

SMALLEST = 384
"""Pixels along the shorter side of a picture, so that the words in it can be read."""

OPACITY = 0.35
"""Of the colour inside a structure; its outline is opaque."""


def write_overlay(
    path: Path,
    image: Volume,
    mask: Volume,
    labels: Mapping[int, str],
    context: str = "",
    axis: str = "axial",
    plane: int | None = None,
) -> None:
    """Write a PNG of one plane of `image` with `mask` in the colours of `structure_of`, in true proportions.

    `plane` is the number of the plane in `Volume.planes(axis)`; without one, the plane where most is labelled, or the
    middle one of an empty mask. "Research use only" is part of the picture. Raises DataError if the mask lies on
    another grid than the image.
    """
    if difference := same_grid(image, mask):
        raise DataError(f"The mask does not lie on its image: it has {difference}.")
    drawn = Volume(mask.stored_like(image).array, image.affine).planes(axis)
    if plane is None:
        filled = np.isin(drawn, list(labels)).sum(axis=(1, 2))
        plane = int(filled.argmax()) if filled.any() else len(drawn) // 2
    grey = _grey(image, axis, plane)
    numbers = drawn[plane]
    rows, columns = image.plane_spacing_mm(axis)
    height, width = grey.shape[0] * rows, grey.shape[1] * columns
    scale = max(1.0 / min(rows, columns), SMALLEST / min(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    picture = _enlarged(grey, size).astype(np.float32)
    numbers = _enlarged(numbers, size)
    for value, name in labels.items():
        _paint(picture, numbers == value, structure_of(name, context).rgb)
    _save(path, picture.round().astype(np.uint8))


def _grey(image: Volume, axis: str, plane: int) -> np.ndarray:
    """The plane (H, W, 3) from 0 to 255 in the window of the file, else between percentiles of the volume."""
    shown = image.planes(axis)[plane]
    if image.is_colour:
        return np.asarray(shown, np.uint8)
    if image.window is not None:
        grey = image.window.apply(shown)
    else:
        low, high = np.percentile(image.array, (0.5, 99.5))
        grey = np.clip((shown - low) / max(high - low, 1e-6), 0, 1)
    return np.repeat((255 * grey).astype(np.uint8)[..., None], 3, axis=-1)


def _enlarged(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Nearest neighbour, so that a picture shows the voxels there are."""
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, array.shape[:2], strict=True))
    return array[rows][:, columns]


def _paint(picture: np.ndarray, inside: np.ndarray, rgb: tuple[int, int, int]) -> None:
    from scipy.ndimage import binary_erosion

    picture[inside] += OPACITY * (np.asarray(rgb, np.float32) - picture[inside])
    picture[inside & ~binary_erosion(inside, iterations=2)] = rgb


def _save(path: Path, picture: np.ndarray) -> None:
    from PIL import Image, ImageDraw, ImageFont

    canvas = Image.fromarray(picture)
    size = max(12, canvas.width // 24)
    ImageDraw.Draw(canvas).text(
        (size // 2, canvas.height - size // 2),
        RESEARCH_ONLY,
        fill="white",
        anchor="ls",
        font=ImageFont.load_default(size),
        stroke_width=max(1, size // 8),
        stroke_fill="black",
    )
    with atomic_path(path) as part:
        canvas.save(part, format="PNG")
