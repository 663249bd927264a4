"""Grey beside colour: images of a case brought to the same number of channels, and stacked by modality."""

from collections.abc import Iterable, Mapping

import numpy as np


def with_channels(planes: np.ndarray, channels: int) -> np.ndarray:
    """uint8 (..., C, H, W) of planes uint8 (..., c, H, W), where c and C are 1 or 3.

    Grey is repeated (as a view), colour averaged and rounded half to even; nothing is copied where c is C.
    """
    if planes.shape[-3] == channels:
        return planes
    if channels == 1:
        return np.rint(planes.mean(axis=-3, keepdims=True)).astype(np.uint8)
    return np.broadcast_to(planes, (*planes.shape[:-3], channels, *planes.shape[-2:]))


def most_channels(images: Iterable[np.ndarray]) -> int:
    """3 if any of the images (n, c, H, W) has three channels, else 1."""
    return 3 if any(planes.shape[-3] == 3 for planes in images) else 1


def stacked(images: Mapping[int, np.ndarray], columns: int, channels: int) -> np.ndarray:
    """uint8 (n, `columns`, C, H, W) of at least one image (n, c, H, W) by column; columns without an image are 0.

    The only image of a single column is not copied.
    """
    first = next(iter(images.values()))
    if columns == 1:
        return with_channels(first, channels)[:, None]
    stack = np.zeros((len(first), columns, channels, *first.shape[2:]), dtype=np.uint8)
    for column, planes in images.items():
        stack[:, column] = with_channels(planes, channels)
    return stack
