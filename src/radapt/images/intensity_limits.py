"""Intensity limits, the values shown black and white: CT windows, percentiles of images and of MRI foregrounds."""

from collections.abc import Sequence

import numpy as np

CT_WINDOWS_HU: dict[str, tuple[float, float]] = {
    "lung": (-1350, 150),
    "mediastinum": (-125, 225),
    "soft-tissue": (-150, 250),
    "liver": (-45, 105),
    "bone": (-500, 1300),
    "brain": (0, 80),
    "subdural": (-20, 180),
}
"""(black, white) in Hounsfield units, from the usual window level and width (radiopaedia.org/articles/windowing-ct)."""

BACKGROUND_SHARE = 0.1
"""Voxels below this fraction of the robust range are background, as in BET (Smith, Human Brain Mapping 2002)."""

ROBUST_PERCENTILES = (2.0, 98.0)
"""The robust range of BET."""

_COUNTABLE = 1 << 16  # integers with at most this many different values are counted, not sorted

Limits = tuple[float, float]


def range_limits(values: np.ndarray) -> Limits:
    """The smallest and the largest value."""
    return float(values.min()), float(values.max())


def percentile_limits(values: np.ndarray, percentiles: Sequence[float]) -> Limits:
    """The two percentiles of all values; if they coincide, the range."""
    low, high = percentiles_of(values, percentiles)
    return (low, high) if high > low else range_limits(values)


def foreground_limits(values: np.ndarray, percentiles: Sequence[float]) -> Limits:
    """The two percentiles of the foreground of an MRI volume.

    Values equal to the smallest are excluded first, so that padding and skull stripping change nothing; of the rest,
    the foreground is what exceeds a tenth of the robust range. If the foreground is constant, black is the smallest
    value; a constant volume gives (c, c).
    """
    darkest, brightest = range_limits(values)
    if darkest == brightest:
        return darkest, brightest
    inside = values[values > darkest]
    low, high = percentiles_of(inside, ROBUST_PERCENTILES)
    foreground = inside[inside >= low + BACKGROUND_SHARE * (high - low)]
    black, white = percentiles_of(foreground, percentiles)
    return (black, white) if white > black else (darkest, white)


def percentiles_of(values: np.ndarray, percentiles: Sequence[float]) -> tuple[float, float]:
    """Two percentiles with linear interpolation, as `numpy.percentile`; integers are counted, which is faster."""
    low, high = percentiles
    if values.dtype.kind not in "iu" or int(values.max()) - int(values.min()) >= _COUNTABLE:
        both = np.percentile(values, [low, high])
        return float(both[0]), float(both[1])
    start = int(values.min())
    offset = values.astype(np.int32).ravel(order="K") - start
    total = np.cumsum(np.bincount(offset))
    return _counted(total, low) + start, _counted(total, high) + start


def _counted(total: np.ndarray, percentile: float) -> float:
    rank = percentile / 100 * (int(total[-1]) - 1)
    below = int(np.floor(rank))
    first, second = np.searchsorted(total, [below, min(below + 1, int(total[-1]) - 1)], side="right")
    return float(first + (second - first) * (rank - below))


def grey_levels(values: np.ndarray, limits: Limits, out: np.ndarray) -> None:
    """Write grey levels in [0, 255] into float32 `out`, black at the lower limit; zeros if the limits coincide."""
    low, high = limits
    if not high > low:
        out[...] = 0
        return
    np.subtract(values, np.float32(low), out=out, dtype=np.float32, casting="unsafe")
    out *= np.float32(255 / (high - low))
    np.clip(out, 0, 255, out=out)
