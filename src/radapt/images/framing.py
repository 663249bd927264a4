"""Planes of any size and spacing onto a canvas of fixed size, true to millimetres."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Framing:
    """Where the resized plane lies on the canvas: `inner` (h, w) pixels at (`top`, `left`) of `canvas` (H, W)."""

    canvas: tuple[int, int]
    inner: tuple[int, int]

    @classmethod
    def fit(cls, shape: tuple[int, int], spacing_mm: tuple[float, float], canvas: tuple[int, int]) -> "Framing":
        """As large as fits with square pixels in mm; at least one pixel each way."""
        height_mm, width_mm = shape[0] * spacing_mm[0], shape[1] * spacing_mm[1]
        scale = min(canvas[0] / height_mm, canvas[1] / width_mm)
        inner = (_within(height_mm * scale, canvas[0]), _within(width_mm * scale, canvas[1]))
        return cls(canvas, inner)

    @property
    def top(self) -> int:
        return (self.canvas[0] - self.inner[0]) // 2

    @property
    def left(self) -> int:
        return (self.canvas[1] - self.inner[1]) // 2

    def apply(self, levels: np.ndarray) -> np.ndarray:
        """(n, C, h, w) float32 in [0, 255] → (n, C, H, W) uint8, resized bilinearly with antialiasing, black around.

        `levels` may be overwritten. Planes that already have the inner size keep their values. torch resizes all planes
        at once; MONAI's Resize with antialiasing blurs first, which takes eight times as long.
        """
        if levels.shape[2:] != self.inner:
            import torch

            planes = torch.from_numpy(levels)
            levels = torch.nn.functional.interpolate(planes, size=self.inner, mode="bilinear", antialias=True).numpy()
        # Rounded by NumPy: torch would wake all its threads for each small step, which costs more on a busy machine.
        levels += 0.5
        whole = levels.astype(np.uint8)
        if self.inner == self.canvas:
            return whole
        out = np.zeros((*whole.shape[:2], *self.canvas), dtype=np.uint8)
        height, width = self.inner
        out[:, :, self.top : self.top + height, self.left : self.left + width] = whole
        return out


def _within(length: float, most: int) -> int:
    return max(1, min(most, round(length)))
