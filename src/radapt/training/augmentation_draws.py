"""The random augmentation parameters of a batch, drawn before they are applied."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Range(NamedTuple):
    """A number drawn uniformly from `low` to `high`, with probability `chance` per sample."""

    chance: float
    low: float
    high: float


@dataclass(frozen=True)
class Draws:
    """The augmentation of each of B samples; a neutral value leaves the sample unchanged."""

    seeds: np.ndarray  # (B,) uint64, for the noise
    flips: np.ndarray  # (B, dims) bool
    matrix: np.ndarray  # (B, dims, dims): output to input position in mm (or voxels), from the centre
    shift: np.ndarray  # (B, dims), as a fraction of the image size
    bends: np.ndarray  # (B, dims, *knots), as a fraction of the image size
    brightness: np.ndarray  # (B,) factor
    contrast: np.ndarray  # (B,) factor about the mean
    gamma: np.ndarray  # (B,) exponent
    inverted: np.ndarray  # (B,) bool: gamma on the inverted image
    noise: np.ndarray  # (B,) standard deviation, as a fraction of the intensity range
    blur: np.ndarray  # (B,) standard deviation, in voxels
    resolution: np.ndarray  # (B,) fraction of the resolution kept along each axis

    def __len__(self) -> int:
        return len(self.seeds)
