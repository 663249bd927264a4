"""How far an image's features lie from those of training images: the Mahalanobis distance.

It knows which directions the training images vary in. Columns are standardised first, and the covariance is shrunk
towards a multiple of the identity (Ledoit and Wolf 2004), as there are usually fewer images than columns.
"""

from dataclasses import dataclass

import numpy as np

_LEAST_SHRINKAGE = 1e-6


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
    floor: float
    """Variance of every direction outside of the axes."""

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
        return cls(mean, scale, basis, gains, float(floor))

    def distances(self, features: np.ndarray) -> np.ndarray:
        """(n,) distance of features (n, D)."""
        rows = (np.asarray(features, dtype=np.float64) - self.mean) / self.scale
        squared = (rows @ self.basis.T) ** 2 @ self.gains + (rows**2).sum(axis=1) / self.floor
        return np.sqrt(np.maximum(squared, 0))


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
