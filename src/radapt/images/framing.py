"""Planes of any size and spacing on a canvas of fixed size, with the aspect ratio in millimetres."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Framing:
    """The position of the resized plane on the canvas: `inner` (h, w) pixels at (`top`, `left`) of `canvas` (H, W)."""

    canvas: tuple[int, int]
    inner: tuple[int, int]

    @classmethod
    def fit(cls, shape: tuple[int, int], spacing_mm: tuple[float, float], canvas: tuple[int, int]) -> "Framing":
        """The largest plane with square pixels in mm that fits; at least one pixel per side."""
        height_mm, width_mm = shape[0] * spacing_mm[0], shape[1] * spacing_mm[1]
        scale = min(canvas[0] / height_mm, canvas[1] / width_mm)
        inner = (_within(height_mm * scale, canvas[0]), _within(width_mm * scale, canvas[1]))
        return cls(canvas, inner)

    @classmethod
    def pad(cls, shape: tuple[int, int], spacing_mm: tuple[float, float], canvas: tuple[int, int]) -> "Framing":
        """The plane with the pixels it has, whatever its spacing; as `fit` if it is larger than the canvas."""
        if shape[0] > canvas[0] or shape[1] > canvas[1]:
            return cls.fit(shape, spacing_mm, canvas)
        return cls(canvas, shape)

    @property
    def top(self) -> int:
        return (self.canvas[0] - self.inner[0]) // 2

    @property
    def left(self) -> int:
        return (self.canvas[1] - self.inner[1]) // 2

    def apply(self, levels: np.ndarray, border: int = 0) -> np.ndarray:
        """(n, C, h, w) float32 in [0, 255] → (n, C, H, W) uint8, resized bilinearly with antialiasing.

        Around the plane the canvas has the grey level `border`. `levels` may be overwritten. Planes of the inner size
        keep their values. torch resizes all planes at once; MONAI's Resize with antialiasing blurs first and takes
        eight times as long.
        """
        if levels.shape[2:] != self.inner:
            import torch

            planes = torch.from_numpy(levels)
            levels = torch.nn.functional.interpolate(planes, size=self.inner, mode="bilinear", antialias=True).numpy()
        # Rounded by NumPy: torch wakes all its threads for each small step, which costs more on a busy machine.
        levels += 0.5
        rounded = levels.astype(np.uint8)
        if self.inner == self.canvas:
            return rounded
        out = np.full((*rounded.shape[:2], *self.canvas), border, dtype=np.uint8)
        height, width = self.inner
        out[:, :, self.top : self.top + height, self.left : self.left + width] = rounded
        return out

    def pick(self, planes: np.ndarray) -> np.ndarray:
        """(n, h, w) label maps → (n, H, W) of the same type: the nearest pixel of the plane, padded with 0."""
        height, width = self.inner
        rows, columns = _nearest(planes.shape[1], height), _nearest(planes.shape[2], width)
        out = np.zeros((len(planes), *self.canvas), dtype=planes.dtype)
        out[:, self.top : self.top + height, self.left : self.left + width] = planes[:, rows[:, None], columns]
        return out

    def back(self, shape: tuple[int, int], scores: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The separable linear map from h × w `scores` over the canvas to the pixels of a plane of `shape`.

        Two float32 matrices, (rows of the plane, h) and (columns, w), whose rows sum to 1: bilinear interpolation, with
        antialiasing if the plane is coarser than the scores. Scores in the padding are ignored.
        """
        rows = _weights(shape[0], self.inner[0], self.top, self.canvas[0], scores[0])
        return rows, _weights(shape[1], self.inner[1], self.left, self.canvas[1], scores[1])


def _nearest(size: int, inner: int) -> np.ndarray:
    """The index among `size` pixels that holds the centre of each of `inner` pixels over the same length."""
    return (2 * np.arange(inner) + 1) * size // (2 * inner)


def _weights(size: int, inner: int, start: int, canvas: int, scores: int) -> np.ndarray:
    """(size, scores) weights of scores over a canvas side for `size` pixels that cover `inner` pixels from `start`."""
    share = scores / canvas
    centres = (start + (np.arange(size) + 0.5) * inner / size) * share - 0.5
    reach = max(1.0, inner / size * share)
    weights = np.maximum(0, 1 - np.abs(np.arange(scores) - centres[:, None]) / reach)
    weights[:, : int(start * share)] = 0
    weights[:, int(np.ceil((start + inner) * share)) :] = 0
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _within(length: float, most: int) -> int:
    return max(1, min(most, round(length)))
