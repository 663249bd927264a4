"""Matrices of how often a level stands in runs, zones or neighbourhoods of a size, and what is said of each of them."""

from collections.abc import Sequence

import numpy as np

from radapt.probes.controls.radiomics.neighbours import Offset, pair

NAMES = (
    "small emphasis", "large emphasis", "low level emphasis", "high level emphasis", "small low emphasis",
    "small high emphasis", "large low emphasis", "large high emphasis", "level non-uniformity",
    "normalised level non-uniformity", "size non-uniformity", "normalised size non-uniformity", "share",
    "level variance", "size variance", "entropy",
)  # fmt: skip


def run_lengths(levels: np.ndarray, count: int, steps: Sequence[Offset]) -> np.ndarray:
    """float64 (count, L): runs of a level along the directions `steps`, merged, by their length from 1 (Galloway 1975).

    `levels` int (Z, Y, X) are 1 to `count` in the region and 0 outside.
    """
    matrix = np.zeros((count, max(levels.shape)))
    bordered = np.pad(levels, 1)
    for step in steps:
        same = np.zeros(bordered.shape, bool)  # the neighbour one step on has the same level
        first, second = pair(bordered, step)
        pair(same, step)[0][:] = (first == second) & (first > 0)
        before = np.zeros(bordered.shape, bool)
        pair(before, step)[1][:] = pair(same, step)[0]
        at = np.stack(np.nonzero((bordered > 0) & ~before))  # where runs begin
        length, begun = 1, bordered[tuple(at)] - 1
        while at.shape[1]:
            goes_on = same[tuple(at)]
            matrix[:, length - 1] += np.bincount(begun[~goes_on], minlength=count)
            at, begun, length = at[:, goes_on] + np.asarray(step)[:, None], begun[goes_on], length + 1
    return matrix


def zone_sizes(levels: np.ndarray, count: int, *, in_plane: bool) -> np.ndarray:
    """float64 (count, S): connected zones of a level by their number of voxels (Thibault 2009); in each plane by
    itself, or through all."""
    from scipy import ndimage  # heavy, and needed by few

    structure = np.ones((3, 3, 3), bool)
    if in_plane:
        structure[[0, 2]] = False
    sizes = [np.zeros(0, np.int64)] * count
    for level in np.unique(levels[levels > 0]).tolist():
        parts, _ = ndimage.label(levels == level, structure)
        sizes[level - 1] = np.bincount(parts.ravel())[1:]
    largest = max((int(own.max(initial=0)) for own in sizes), default=0)
    return np.stack([np.bincount(own, minlength=largest + 1)[1:] for own in sizes]).astype(np.float64)


def dependence(levels: np.ndarray, count: int, steps: Sequence[Offset]) -> np.ndarray:
    """float64 (count, 2 · directions + 1): voxels by how many of their neighbourhood, themselves included, have their
    level (Sun and Wee 1983)."""
    alike = (levels > 0).astype(np.int64)
    for step in steps:
        first, second = pair(levels, step)
        same = (first == second) & (first > 0)
        for view in pair(alike, step):
            view += same
    inside, most = levels > 0, 2 * len(steps) + 1
    flat = (levels[inside].astype(np.int64) - 1) * most + alike[inside] - 1
    return np.bincount(flat, minlength=count * most).reshape(count, most).astype(np.float64)


def emphases(matrix: np.ndarray, voxels: float) -> np.ndarray:
    """(len(NAMES),) of a matrix (levels, sizes), both counted from 1; NaN if it is empty.

    `voxels` are those that each entry would fill alone: the share is the number of entries relative to them.
    """
    total = matrix.sum()
    if not total:
        return np.full(len(NAMES), np.nan)
    level, size = np.arange(1.0, len(matrix) + 1)[:, None], np.arange(1.0, matrix.shape[1] + 1)[None]
    p = matrix / total
    of_level, of_size = matrix.sum(axis=1), matrix.sum(axis=0)
    present = p[p > 0]
    return np.asarray([
        (p / size**2).sum(), (p * size**2).sum(), (p / level**2).sum(), (p * level**2).sum(),
        (p / size**2 / level**2).sum(), (p * level**2 / size**2).sum(), (p * size**2 / level**2).sum(),
        (p * size**2 * level**2).sum(), (of_level**2).sum() / total, (of_level**2).sum() / total**2,
        (of_size**2).sum() / total, (of_size**2).sum() / total**2, total / voxels,
        (p * (level - (p * level).sum()) ** 2).sum(), (p * (size - (p * size).sum()) ** 2).sum(),
        -(present * np.log2(present)).sum(),
    ])  # fmt: skip
