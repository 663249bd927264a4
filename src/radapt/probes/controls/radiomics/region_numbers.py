"""All numbers of a region of one image: grey values and texture."""

import numpy as np

from radapt.probes.controls.image_numbers import INTENSITY, LEVELS, intensities
from radapt.probes.controls.radiomics import cooccurrence, emphases, tone_differences
from radapt.probes.controls.radiomics.neighbours import IN_PLANE

BINS = 32
"""Grey levels of a texture: the 256 of a plane in bins of 8, so that those of two patients mean the same."""

FIRST_ORDER = (*INTENSITY, "contrast to the rest")
TEXTURE = (
    *cooccurrence.NAMES, *(f"run {name}" for name in emphases.NAMES), *(f"zone {name}" for name in emphases.NAMES),
    *(f"dependence {name}" for name in emphases.NAMES if name != "share"), *tone_differences.NAMES,
)  # fmt: skip
"""In-plane matrices, merged over all planes, whose distance then does not matter; 77 numbers."""


def first_order_numbers(grey: np.ndarray, inside: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """(len(FIRST_ORDER),) of uint8 grey (n, H, W) in the region `inside`, bool (n, H, W); the rest is what is `shown`
    of the patient outside of it. NaN where there are no such pixels."""
    if not inside.any():
        return np.full(len(FIRST_ORDER), np.nan)
    rest = shown & ~inside
    contrast = grey[inside].mean() - grey[rest].mean() if rest.any() else np.nan
    return np.append(intensities(np.bincount(grey[inside], minlength=LEVELS)), contrast)


def texture_numbers(grey: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(len(TEXTURE),) of uint8 grey (n, H, W) in the region `inside`, bool (n, H, W); NaN for an empty one."""
    if not inside.any():
        return np.full(len(TEXTURE), np.nan)
    at = np.nonzero(inside)
    box = tuple(slice(own.min(), own.max() + 1) for own in at)
    levels = np.where(inside[box], grey[box].astype(np.int64) * BINS // LEVELS + 1, 0)
    voxels = float(len(at[0]))
    depends = emphases.emphases(emphases.dependence(levels, BINS, IN_PLANE), voxels)
    return np.concatenate([
        cooccurrence.cooccurrence_numbers(cooccurrence.cooccurrence(levels, BINS, IN_PLANE)),
        emphases.emphases(emphases.run_lengths(levels, BINS, IN_PLANE), voxels * len(IN_PLANE)),
        emphases.emphases(emphases.zone_sizes(levels, BINS, in_plane=True), voxels),
        np.delete(depends, emphases.NAMES.index("share")),  # every voxel has a neighbourhood: 1
        tone_differences.tone_numbers(*tone_differences.tone_differences(levels, BINS, IN_PLANE)),
    ])  # fmt: skip
