"""Ranks of numbers, from 1, ties sharing their mean (mid-ranks)."""

import numpy as np


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """(N,) the ranks of the values (N,), the smallest first; as `scipy.stats.rankdata`, which takes long to import."""
    return mid_ranks(np.unique(values, return_inverse=True)[1])


def mid_ranks(order: np.ndarray) -> np.ndarray:
    """(N,) the ranks of N cases from the index of the value of each among the distinct values."""
    counts = np.bincount(order)
    return (np.cumsum(counts) - (counts - 1) / 2)[order]
