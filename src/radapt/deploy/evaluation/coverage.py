"""Whether prediction sets hold the truth as often as stated: coverage with the band that chance allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import binom

Verdict = Literal["inside", "below", "above"]
BAND = 0.95


@dataclass(frozen=True)
class Coverage:
    """Of a group of cases."""

    group: str
    patients: int
    covered: float
    """Share of cases whose set holds the truth, each patient counted once."""
    low: float
    """The band: where the share lies in 95 of 100 samples of so many patients, if the coverage is as stated."""
    high: float
    verdict: Verdict
    mean_size: float
    """Mean number of outputs in a set."""


def coverage_of(group: str, inside: np.ndarray, sizes: np.ndarray, patients: np.ndarray, stated: float) -> Coverage:
    """Of cases (n,), one or more: `inside`, whether the set holds the truth, and the `sizes` of the sets."""
    _, unit, counts = np.unique(patients, return_inverse=True, return_counts=True)
    weights = 1 / counts[unit]
    covered = float(weights @ inside / len(counts))
    low, high = (float(binom.ppf(level, len(counts), stated)) / len(counts) for level in _LEVELS)
    verdict: Verdict = "below" if covered < low - 1e-9 else "above" if covered > high + 1e-9 else "inside"
    return Coverage(group, len(counts), covered, low, high, verdict, float(weights @ sizes / len(counts)))


_LEVELS = (1 - BAND) / 2, (1 + BAND) / 2


def coverage_table(
    held: np.ndarray,
    truths: np.ndarray,
    patients: np.ndarray,
    sequences: Sequence[tuple[str, ...]],
    outputs: Sequence[str],
    stated: float,
) -> tuple[Coverage, ...]:
    """Of all cases, of each class or finding, and of each pattern of sequences.

    `held` (n, C) says which classes are in the set of each case, or (n, F, 2) whether absence and presence are.
    """
    rows = np.arange(len(truths))
    patterns = np.asarray([" + ".join(each) or "no sequence" for each in sequences], dtype=object)
    if held.ndim == 3:
        return _of_findings(held, truths, patients, outputs, stated)
    inside, sizes = held[rows, truths], held.sum(axis=1)
    groups = [("all", np.ones(len(truths), dtype=bool))]
    groups += [(name, truths == label) for label, name in enumerate(outputs)]
    if len(set(patterns)) > 1:
        groups += [(name, patterns == name) for name in dict.fromkeys(patterns)]
    return tuple(
        coverage_of(name, inside[group], sizes[group], patients[group], stated) for name, group in groups if group.any()
    )


def _of_findings(
    held: np.ndarray, truths: np.ndarray, patients: np.ndarray, outputs: Sequence[str], stated: float
) -> tuple[Coverage, ...]:
    found = []
    for column, name in enumerate(outputs):
        known = np.flatnonzero(np.isfinite(truths[:, column]))
        if len(known):
            truth = truths[known, column].astype(np.int64)
            inside, sizes = held[known, column, truth], held[known, column].sum(axis=1)
            found.append(coverage_of(name, inside, sizes, patients[known], stated))
    return tuple(found)
