"""What is drawn for the samples of a batch, before anything is done to them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Range(NamedTuple):
    """A number drawn evenly from `low` to `high` in a share `chance` of the samples."""

    chance: float
    low: float
    high: float


@dataclass(frozen=True)
class Draws:
    """What is done to each of B samples; the neutral value stands where nothing is."""

    seeds: np.ndarray  # (B,) uint64, of the noise
    flips: np.ndarray  # (B, dims) bool
    matrix: np.ndarray  # (B, dims, dims): output to input position in mm (or voxels), from the centre
    shift: np.ndarray  # (B, dims), in shares of the size
    bends: np.ndarray  # (B, dims, *knots), in shares of the size
    brightness: np.ndarray  # (B,) factor
    contrast: np.ndarray  # (B,) factor about the mean
    gamma: np.ndarray  # (B,) exponent
    inverted: np.ndarray  # (B,) bool: gamma on the negative
    noise: np.ndarray  # (B,) standard deviation, in shares of the range
    blur: np.ndarray  # (B,) standard deviation, in voxels
    resolution: np.ndarray  # (B,) share of the samples kept along each axis

    def __len__(self) -> int:
        return len(self.seeds)
