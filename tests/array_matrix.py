"""Feature rows that lie in memory, for what reads a `Source`."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ArrayMatrix:
    """Rows of an array in memory."""

    values: np.ndarray

    @property
    def columns(self) -> int:
        return int(self.values.shape[1])

    def gather(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self.values[rows], dtype=np.float32)
