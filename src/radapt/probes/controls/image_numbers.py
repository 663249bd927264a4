"""First-order intensity and shape numbers of an image: what a histogram and an outline say about it."""

import numpy as np

VERSION = 1
"""Raise it when the same planes give other numbers."""

LEVELS = 256
_PERCENTILES = (5, 10, 25, 50, 75, 90, 95)
_BINS = 32  # of the entropy: 256 grey levels of a small foreground are mostly empty

INTENSITY = (
    "mean", "sd", "skewness", "kurtosis", *(f"p{percent}" for percent in _PERCENTILES), "iqr", "mad", "entropy",
    "uniformity",
)  # fmt: skip
"""Of the grey values of the foreground, 0 to 255."""

SHAPE = ("area", "area max", "area sd", "height", "width", "centre y", "centre x", "compactness", "planes")
"""Of the foreground: shares of the plane, averaged over planes that show any; `planes` counts all."""

NAMES = (*INTENSITY, *SHAPE, "mean of all")


def first_order(planes: np.ndarray, dark: np.ndarray) -> np.ndarray:
    """(len(NAMES),) float64 of planes uint8 (n, C, H, W) whose foreground is brighter than `dark` (C,) in any channel.

    Without any foreground the intensities are those of the whole image, and the shape numbers are 0.
    """
    inside = np.asarray((planes > dark[:, None, None]).any(axis=1))
    grey = np.rint(planes.mean(axis=1)).astype(np.uint8) if planes.shape[1] > 1 else planes[:, 0]
    chosen = grey[inside] if inside.any() else grey.ravel()
    return np.concatenate([intensities(np.bincount(chosen, minlength=LEVELS)), shape(inside), [grey.mean()]])


def intensities(counts: np.ndarray) -> np.ndarray:
    """(len(INTENSITY),) of a histogram (256,) of at least one pixel. Skewness and kurtosis of one value are 0."""
    levels, share = np.arange(LEVELS, dtype=np.float64), counts / counts.sum()
    mean = share @ levels
    centred = levels - mean
    variance = share @ centred**2
    skewness, kurtosis = 0.0, 0.0
    if variance > 0:
        skewness = share @ centred**3 / variance**1.5
        kurtosis = share @ centred**4 / variance**2 - 3
    percentiles = np.searchsorted(np.cumsum(share), np.asarray(_PERCENTILES) / 100 - 1e-12)
    binned = share.reshape(_BINS, -1).sum(axis=1)
    present = binned[binned > 0]
    return np.asarray([
        mean, np.sqrt(variance), skewness, kurtosis, *percentiles,
        percentiles[_PERCENTILES.index(75)] - percentiles[_PERCENTILES.index(25)],
        share @ np.abs(centred), -(present * np.log2(present)).sum(), (binned**2).sum(),
    ])  # fmt: skip


def shape(inside: np.ndarray) -> np.ndarray:
    """(len(SHAPE),) of a region bool (n, H, W); 0 without any pixel, but for the number of planes.

    The compactness of a plane is 4π · area / perimeter², the perimeter counted in edges of pixels.
    """
    planes = len(inside)
    areas = inside.mean(axis=(1, 2))
    some = inside[areas > 0]
    if not len(some):
        return np.asarray([0.0] * (len(SHAPE) - 1) + [planes])
    rows, columns = some.any(axis=2), some.any(axis=1)
    weight = some.sum(axis=(1, 2))
    centre_y = (some.sum(axis=2) @ (np.arange(some.shape[1]) + 0.5)) / weight / some.shape[1]
    centre_x = (some.sum(axis=1) @ (np.arange(some.shape[2]) + 0.5)) / weight / some.shape[2]
    padded = np.pad(some, ((0, 0), (1, 1), (1, 1)))
    edges = sum((padded != np.roll(padded, 1, axis=axis)).sum(axis=(1, 2)) for axis in (1, 2))
    return np.asarray([
        areas.mean(), areas.max(), areas.std(), _extent(rows).mean(), _extent(columns).mean(), centre_y.mean(),
        centre_x.mean(), (4 * np.pi * weight / edges**2).mean(), planes,
    ])  # fmt: skip


def _extent(lines: np.ndarray) -> np.ndarray:
    """(n,) share of the lines (n, size) from the first to the last that is True."""
    first, last = lines.argmax(axis=1), lines.shape[1] - lines[:, ::-1].argmax(axis=1)
    return np.asarray((last - first) / lines.shape[1])
