"""The display window of a DICOM file: the values shown, and how they become grey levels."""

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, eq=False)
class Window:
    """Values from `low` (black) to `high` (white), in the units of the voxels.

    `shape` is the VOI LUT function of DICOM PS3.3 C.11.2: `linear`, `sigmoid`, or `table`, where `table` holds grey
    levels in [0, 1] at equal steps from `low` to `high`.
    """

    low: float
    high: float
    shape: Literal["linear", "sigmoid", "table"] = "linear"
    table: np.ndarray | None = None

    def apply(self, values: np.ndarray) -> np.ndarray:
        """`values` as float32 grey levels in [0, 1]. A window of width 0 is a threshold."""
        width = self.high - self.low
        if not width > 0:
            return (values > self.low).astype(np.float32)
        share = (values.astype(np.float32) - np.float32(self.low)) / np.float32(width)
        if self.shape == "sigmoid":
            return 1 / (1 + np.exp(np.clip(-4 * (share - 0.5), -80, 80)))
        if self.shape == "table" and self.table is not None:
            steps = np.linspace(0, 1, len(self.table), dtype=np.float32)
            return np.interp(share, steps, self.table).astype(np.float32)
        return np.clip(share, 0, 1)

    def inverted(self, total: float) -> "Window":
        """The same window for voxels inverted by v → total - v, as for MONOCHROME1."""
        # The grey levels are inverted with the voxels: black becomes white.
        table = None if self.table is None else 1 - self.table[::-1]
        return Window(total - self.high, total - self.low, self.shape, table)
