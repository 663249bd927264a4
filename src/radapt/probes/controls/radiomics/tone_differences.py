"""The neighbourhood grey-tone difference (Amadasun and King 1989): how much voxels differ from those around them."""

from collections.abc import Sequence

import numpy as np

from radapt.probes.controls.radiomics.neighbours import Offset, pair

NAMES = ("coarseness", "tone contrast", "busyness", "complexity", "strength")

_COARSEST = 1e6  # of a region in which no voxel differs from those around it


def tone_differences(levels: np.ndarray, count: int, steps: Sequence[Offset]) -> tuple[np.ndarray, np.ndarray]:
    """(count,) each: voxels of a level with a neighbour in the region, and the sum of their differences from the mean
    of their neighbours."""
    total, number = np.zeros(levels.shape), np.zeros(levels.shape)
    for step in steps:
        first, second = pair(levels, step)
        both = (first > 0) & (second > 0)
        for sums, counts, other in zip(pair(total, step), pair(number, step), (second, first), strict=True):
            sums += np.where(both, other, 0)
            counts += both
    known = (levels > 0) & (number > 0)
    own = levels[known].astype(np.int64)
    difference = np.abs(own - total[known] / number[known])
    return (
        np.bincount(own - 1, minlength=count).astype(np.float64),
        np.bincount(own - 1, difference, minlength=count),
    )


def tone_numbers(voxels: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """(len(NAMES),) of what `tone_differences` gives; NaN without a neighbour. Of a single level the contrast, the
    busyness and the strength are 0."""
    total = voxels.sum()
    if not total:
        return np.full(len(NAMES), np.nan)
    here = voxels > 0
    p, s, level = voxels[here] / total, differences[here], np.flatnonzero(here) + 1.0
    apart, weight = level[:, None] - level[None], p[:, None] + p[None]
    levels, moved = len(p), p @ s
    contrast = 0.0
    if levels > 1:
        contrast = (np.outer(p, p) * apart**2).sum() / (levels * (levels - 1)) * s.sum() / total
    swing = np.abs((level * p)[:, None] - (level * p)[None]).sum()
    change = np.abs(apart) * ((p * s)[:, None] + (p * s)[None]) / weight
    return np.asarray([
        1 / moved if moved else _COARSEST, contrast, moved / swing if swing else 0.0, change.sum() / total,
        (weight * apart**2).sum() / s.sum() if s.sum() else 0.0,
    ])  # fmt: skip
