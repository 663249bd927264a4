"""The grey-level co-occurrence matrix (Haralick 1973): how often two levels are neighbours."""

from collections.abc import Sequence

import numpy as np

from radapt.probes.controls.radiomics.neighbours import Offset, pair

NAMES = (
    "joint maximum", "joint average", "joint variance", "joint entropy", "difference average", "difference variance",
    "difference entropy", "sum average", "sum variance", "sum entropy", "angular second moment", "contrast",
    "dissimilarity", "inverse difference", "normalised inverse difference", "inverse difference moment",
    "normalised inverse difference moment", "inverse variance", "correlation", "autocorrelation", "cluster tendency",
    "cluster shade", "cluster prominence", "information correlation 1", "information correlation 2",
)  # fmt: skip


def cooccurrence(levels: np.ndarray, count: int, steps: Sequence[Offset]) -> np.ndarray:
    """float64 (count, count), symmetric: pairs of neighbours in any of the directions `steps`, merged.

    `levels` int (Z, Y, X) are 1 to `count` in the region and 0 outside, where nothing is counted.
    """
    matrix = np.zeros((count, count))
    for step in steps:
        first, second = pair(levels, step)
        both = (first > 0) & (second > 0)
        flat = (first[both].astype(np.int64) - 1) * count + second[both] - 1
        matrix += np.bincount(flat, minlength=count * count).reshape(count, count)
    return matrix + matrix.T


def cooccurrence_numbers(matrix: np.ndarray) -> np.ndarray:
    """(len(NAMES),) of a symmetric matrix (G, G); NaN without a pair, and the correlation of a single level."""
    if not matrix.sum():
        return np.full(len(NAMES), np.nan)
    p, count = matrix / matrix.sum(), len(matrix)
    i, j = np.meshgrid(np.arange(1.0, count + 1), np.arange(1.0, count + 1), indexing="ij")
    alone, apart = p.sum(axis=1), np.abs(i - j)
    mean = alone @ np.arange(1.0, count + 1)
    variance = (p * (i - mean) ** 2).sum()
    difference = np.bincount(apart.astype(int).ravel(), p.ravel(), minlength=count)
    total = np.bincount((i + j).astype(int).ravel(), p.ravel(), minlength=2 * count + 1)
    sums, gaps = np.arange(len(total)), np.arange(count)
    gap = difference @ gaps
    upper = apart > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = (p * (i - mean) * (j - mean)).sum() / variance if variance else np.nan
    product = np.outer(alone, alone)
    joint, single = _entropy(p), _entropy(alone)
    crossed = -(p[p > 0] * np.log2(product[p > 0])).sum()
    return np.asarray([
        p.max(), mean, variance, joint, gap, difference @ (gaps - gap) ** 2, _entropy(difference), total @ sums,
        total @ (sums - 2 * mean) ** 2, _entropy(total), (p**2).sum(), (p * apart**2).sum(), gap,
        (p / (1 + apart)).sum(), (p / (1 + apart / count)).sum(), (p / (1 + apart**2)).sum(),
        (p / (1 + apart**2 / count**2)).sum(), (p[upper] / apart[upper] ** 2).sum(), correlation, (p * i * j).sum(),
        *((p * (i + j - 2 * mean) ** power).sum() for power in (2, 3, 4)),
        (joint - crossed) / single if single else np.nan,
        np.sqrt(max(0.0, 1 - np.exp(-2 * (_entropy(product) - joint)))),
    ])  # fmt: skip


def _entropy(share: np.ndarray) -> float:
    present = share[share > 0]
    return float(-(present * np.log2(present)).sum())
