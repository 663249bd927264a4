"""Whether two groups of patients differ: in their features, in a number, or in a category."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import chi2_contingency, kstwobign

from radapt.errors import DataError

PERMUTATIONS = 999
MOST = 1000
"""Larger groups are represented by as many members, drawn at random: all pairs are compared."""


def energy_test(
    first: np.ndarray, second: np.ndarray, rng: np.random.Generator, permutations: int = PERMUTATIONS
) -> tuple[float, float]:
    """Energy coefficient in [0, 1] of two samples (n, D) and (m, D), and its permutation p-value.

    The coefficient is (2 E|X - Y| - E|X - X'| - E|Y - Y'|) / (2 E|X - Y|), 0 for equal distributions (Székely and Rizzo
    2013). Columns are divided by their standard deviation in `first`. The p-value is of the hypothesis that members
    could be exchanged between the groups; each row is one patient. (NaN, NaN) if a group has fewer than two members.
    Raises DataError for values that are not finite and widths that differ.
    """
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise DataError(f"Samples of shapes {first.shape} and {second.shape}; expected (n, D) and (m, D).")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise DataError("The samples hold NaN or infinity; expected finite features.")
    if min(len(first), len(second)) < 2:
        return float("nan"), float("nan")
    first, second = _drawn(first, rng), _drawn(second, rng)
    scale = first.std(axis=0, dtype=np.float64)
    scale = np.where(scale > 0, scale, 1.0)
    distances = _distances(np.concatenate([first, second]) / scale)
    own = np.arange(len(distances)) >= len(first)
    members = np.empty((len(own), permutations + 1))
    members[:, 0] = own
    for column in range(1, permutations + 1):
        members[:, column] = rng.permutation(own)
    found = _coefficients(distances, members)
    return float(found[0]), float((1 + (found[1:] >= found[0] - 1e-12).sum()) / (1 + permutations))


def number_test(quantiles: Sequence[float], members: int, values: np.ndarray) -> tuple[float, float]:
    """Largest difference between the distribution function of `values` (m,) and that of a group of so many `members`
    of which only evenly spaced `quantiles` are known, and its p-value (Kolmogorov–Smirnov, for large samples).

    The K quantiles are those of the levels (1 / 2K, 3 / 2K …); between them the function is linear. NaN among the
    values is left out; (NaN, NaN) if nothing is left, or without members.
    """
    given = np.sort(values[np.isfinite(values)])
    if not len(given) or not members or not len(quantiles):
        return float("nan"), float("nan")
    known = np.interp(given, quantiles, levels(len(quantiles)))
    known[given < quantiles[0]], known[given > quantiles[-1]] = 0.0, 1.0
    after = np.searchsorted(given, given, side="right") / len(given)
    before = np.searchsorted(given, given, side="left") / len(given)
    largest = float(np.maximum(np.abs(after - known), np.abs(known - before)).max())
    # The tails that the quantiles leave open count for nothing.
    found = max(0.0, largest - 1 / (2 * len(quantiles)))
    return found, float(kstwobign.sf(found * np.sqrt(members * len(given) / (members + len(given)))))


def levels(count: int) -> np.ndarray:
    """(count,) evenly spaced levels of quantiles, the first and the last half a step from 0 and 1."""
    return (np.arange(count) + 0.5) / count


def category_test(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Total variation in [0, 1] between two tables of counts of the same categories, and the p-value of a chi-square
    test. (NaN, NaN) if one is empty; categories that neither has are left out."""
    table = np.asarray([first, second], dtype=np.float64)
    table = table[:, table.sum(axis=0) > 0]
    if (table.sum(axis=1) == 0).any():
        return float("nan"), float("nan")
    shares = table / table.sum(axis=1, keepdims=True)
    return float(np.abs(shares[0] - shares[1]).sum() / 2), float(chi2_contingency(table).pvalue)


def _drawn(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= MOST else rows[rng.choice(len(rows), MOST, replace=False)]


def _distances(rows: np.ndarray) -> np.ndarray:
    """(n, n) Euclidean distances."""
    rows = rows.astype(np.float64)
    rows = rows - rows.mean(axis=0)  # smaller numbers lose fewer digits
    square = (rows**2).sum(axis=1)
    squared = np.maximum(square[:, None] + square - 2 * rows @ rows.T, 0)
    np.fill_diagonal(squared, 0)
    return np.sqrt(squared)


def _coefficients(distances: np.ndarray, members: np.ndarray) -> np.ndarray:
    """(R,) energy coefficient of each column of `members` (n, R), 1 for those of the second group."""
    count = len(distances)
    second = members.sum(axis=0)[0]
    first = count - second
    inside = (members * (distances @ members)).sum(axis=0)  # both in the second group
    across = members.T @ distances.sum(axis=1) - inside
    outside = distances.sum() - 2 * across - inside
    between = 2 * across / (first * second)
    energy = between - outside / first**2 - inside / second**2
    return np.asarray(np.divide(energy, between, out=np.zeros_like(energy), where=between > 0))
