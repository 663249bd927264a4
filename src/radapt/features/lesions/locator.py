"""A small segmenter on the patch tokens of a frozen encoder, which finds where to look: a ridge regression.

It is fitted in closed form from sums over patches, so that leaving out a group of patients costs a subtraction and a
solution, and no second pass over the tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

RIDGE = 0.01
"""Penalty per patch on the weights of standardised tokens. Judged, not tuned."""

THRESHOLDS = np.linspace(0, 1, 41)
"""Candidates for the share of a patch from which it counts as lesion; the largest Dice on training cases decides."""


@dataclass
class PatchSums:
    """What a ridge regression needs of patches: tokens (n, D) with a 1 behind them, and lesion shares (n,)."""

    gram: np.ndarray  # (D + 1, D + 1) float64
    product: np.ndarray  # (D + 1,) float64

    @classmethod
    def of(cls, tokens: np.ndarray, shares: np.ndarray) -> "PatchSums":
        x = np.concatenate([tokens.astype(np.float64), np.ones((len(tokens), 1))], axis=1)
        return cls(x.T @ x, x.T @ shares.astype(np.float64))

    def __add__(self, other: "PatchSums") -> "PatchSums":
        return PatchSums(self.gram + other.gram, self.product + other.product)

    def __sub__(self, other: "PatchSums") -> "PatchSums":
        return PatchSums(self.gram - other.gram, self.product - other.product)

    def solved(self) -> np.ndarray | None:
        """(D + 1,) float64 weights, the last one the bias; None without patches."""
        count = self.gram[-1, -1]
        if count < 1:
            return None
        mean, target = self.gram[-1, :-1] / count, self.product[-1] / count
        covariance = self.gram[:-1, :-1] / count - np.outer(mean, mean)
        deviation = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
        correlation = covariance / np.outer(deviation, deviation)
        slope = (self.product[:-1] / count - mean * target) / deviation
        weights = np.linalg.solve(correlation + RIDGE * np.eye(len(mean)), slope) / deviation
        return np.append(weights, target - mean @ weights)


@dataclass(frozen=True, eq=False)
class LesionLocator:
    """Predicts which share of each patch is lesion, from its tokens; one regression per modality.

    `weights` are (D + 1,) float64 by modality, the last one the bias. `own_masks` says that a case's own mask is looked
    at first where it has one.
    """

    weights: Mapping[str, np.ndarray]
    threshold: float
    own_masks: bool = False

    def scores(self, tokens: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """float64 (n, h, w): the mean over modalities of predictions from tokens (n, h, w, D); None without any that
        it knows."""
        known = [name for name in tokens if name in self.weights]
        if not known:
            return None
        each = [tokens[name].astype(np.float64) @ self.weights[name][:-1] + self.weights[name][-1] for name in known]
        found: np.ndarray = np.mean(each, axis=0)
        return found


def best_threshold(hits: np.ndarray, chosen: np.ndarray, total: float) -> float:
    """The one of `THRESHOLDS` with the largest Dice: `hits` is the lesion above each, `chosen` all that is above it,
    `total` all lesion. 0.5 without any lesion."""
    if total <= 0:
        return 0.5
    return float(THRESHOLDS[int(np.argmax(2 * hits / (total + chosen)))])
