"""How far an image's features lie from those of training images, by two measures.

The Mahalanobis distance knows which directions the training images vary in; its covariance is shrunk towards a
multiple of the identity (Ledoit and Wolf 2004), as there are usually fewer images than columns. The distance to the
nearest neighbours needs no shape of the cloud. Columns are standardised first.
"""

from dataclasses import dataclass

import numpy as np

NEIGHBOURS = 5
MEASURES = ("mahalanobis", "neighbours")
_LEAST_SHRINKAGE = 1e-6
_BLOCK = 512


@dataclass(frozen=True, eq=False)
class TrainingCloud:
    """The training images of one sequence, r = min(n, D) directions."""

    mean: np.ndarray
    """(D,)"""
    scale: np.ndarray
    """(D,) standard deviations; 1 for a constant column."""
    basis: np.ndarray
    """(r, D) principal axes of the standardised features."""
    gains: np.ndarray
    """(r,) what each axis's squared coordinate adds to that of all directions alike."""
    floor: np.ndarray
    """(1,) variance of every direction outside of the axes."""
    rows: np.ndarray
    """(n, D) float32 standardised features."""

    @classmethod
    def fit(cls, features: np.ndarray) -> "TrainingCloud":
        """From features (n, D) of two images or more."""
        given = np.asarray(features, dtype=np.float64)
        mean, scale = given.mean(axis=0), given.std(axis=0)
        scale = np.where(scale > 1e-6 * np.maximum(np.abs(mean), 1e-6), scale, 1.0)
        rows = (given - mean) / scale
        shrinkage, target = ledoit_wolf(rows)
        _, singular, basis = np.linalg.svd(rows, full_matrices=False)
        variances = singular**2 / len(rows)
        floor = shrinkage * target
        gains = 1 / ((1 - shrinkage) * variances + floor) - 1 / floor
        return cls(mean, scale, basis, gains, np.array([floor]), rows.astype(np.float32))

    def distances(self, features: np.ndarray) -> np.ndarray:
        """(n, 2) distance of features (n, D) by each of `MEASURES`, in standard deviations of a column."""
        found = np.empty((len(features), len(MEASURES)))
        for start in range(0, len(features), _BLOCK):
            part = slice(start, start + _BLOCK)
            rows = (np.asarray(features[part], dtype=np.float64) - self.mean) / self.scale
            found[part, 0] = self._mahalanobis(rows)
            found[part, 1] = self._to_neighbours(rows)
        return found / np.sqrt(len(self.mean))

    def _mahalanobis(self, rows: np.ndarray) -> np.ndarray:
        squared = (rows @ self.basis.T) ** 2 @ self.gains + (rows**2).sum(axis=1) / self.floor[0]
        return np.sqrt(np.maximum(squared, 0))

    def _to_neighbours(self, rows: np.ndarray) -> np.ndarray:
        """Mean distance to the nearest training images."""
        own = self.rows.astype(np.float64)
        squared = (rows**2).sum(axis=1)[:, None] + (own**2).sum(axis=1) - 2 * rows @ own.T
        nearest = min(NEIGHBOURS, len(own))
        return np.sqrt(np.maximum(np.partition(squared, nearest - 1, axis=1)[:, :nearest], 0)).mean(axis=1)


def ledoit_wolf(rows: np.ndarray) -> tuple[float, float]:
    """Shrinkage in (0, 1] and target variance of the covariance (1 - shrinkage) S + shrinkage · target · I.

    `rows` (n, D) have mean 0.
    """
    cases, columns = rows.shape
    lengths = (rows**2).sum(axis=1)
    target = float(lengths.sum() / (cases * columns))
    gram = rows @ rows.T if cases < columns else rows.T @ rows
    square = float((gram**2).sum()) / cases**2  # of the Frobenius norm of S
    spread = (float((lengths**2).sum()) / cases - square) / (cases * columns)
    distance = square / columns - target**2
    if distance <= 0:
        return 1.0, max(target, _LEAST_SHRINKAGE)
    return float(np.clip(spread / distance, _LEAST_SHRINKAGE, 1.0)), max(target, _LEAST_SHRINKAGE)
