"""Smooth shapes in space: signed depths in mm (positive inside) and sums of plane waves.

Points are (3, N) float32 in mm. All operations are element-wise, without matrix products, so that a patient is
bit-identical whatever the number of threads.
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Array = np.ndarray


def ellipsoid(points: Array, centre: Many[float], axes: Many[float]) -> Array:
    """(N,) depth inside an ellipsoid: exact on the surface and first order around it."""
    near = np.zeros(points.shape[1], np.float32)
    far = np.zeros(points.shape[1], np.float32)
    for row, middle, axis in zip(points, centre, axes, strict=True):
        part = (row - np.float32(middle)) / np.float32(axis)
        near += part * part
        part /= np.float32(axis)
        far += part * part
    near, far = np.sqrt(near), np.sqrt(far)
    return near * (1.0 - near) / np.maximum(far, np.float32(1e-6))


def tube(points: Array, line: Many[Many[float]]) -> Array:
    """(N,) depth inside a chain of straight pieces; `line` holds (x, y, z, radius) in mm."""
    best = np.full(points.shape[1], -1e3, np.float32)
    stops = np.asarray(line, np.float32)
    for start, end in pairwise(stops):
        along = end[:3] - start[:3]
        offset = [row - value for row, value in zip(points, start[:3], strict=True)]
        share = sum(step * part for step, part in zip(along, offset, strict=True)) / np.float32(along @ along)
        share = np.clip(share, 0.0, 1.0)
        squared = sum((part - share * step) ** 2 for step, part in zip(along, offset, strict=True))
        np.maximum(best, start[3] + share * (end[3] - start[3]) - np.sqrt(squared), out=best)
    return best


def soft_union(first: Array, second: Array, radius_mm: float) -> Array:
    """The deeper of two depths, with the crease between the shapes filled over `radius_mm`."""
    blend = np.clip(0.5 + 0.5 * (first - second) / np.float32(radius_mm), 0.0, 1.0)
    return second + (first - second) * blend + np.float32(radius_mm) * blend * (1.0 - blend)


def cover(depth: Array, width_mm: float) -> Array:
    """The fraction in [0, 1] of a voxel that is inside, from its depth and the voxel's width."""
    return np.clip(0.5 + depth / np.float32(width_mm), 0.0, 1.0)


def step(value: Array, width: float) -> Array:
    """A smooth step from 0 to 1 around 0."""
    share = np.clip(0.5 + value / np.float32(width), 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


@dataclass(frozen=True, slots=True)
class Waves:
    """A smooth random field of zero mean and unit variance: a sum of cosines with random directions and phases."""

    vectors: Array  # (W, 3) in 1/mm
    phases: Array  # (W,)

    @classmethod
    def draw(cls, rng: np.random.Generator, count: int, shortest_mm: float, longest_mm: float) -> "Waves":
        direction = rng.normal(size=(count, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        length = rng.uniform(shortest_mm, longest_mm, size=(count, 1))
        return cls((direction * 2 * np.pi / length).astype(np.float32), rng.uniform(0, 2 * np.pi, count))

    def at(self, points: Array) -> Array:
        """(N,) value."""
        value = np.zeros(points.shape[1], np.float32)
        for vector, phase in zip(self.vectors, self.phases, strict=True):
            value += np.cos(_turn(points, vector, phase))
        return value * np.float32(np.sqrt(2.0 / len(self.phases)))

    def with_slope(self, points: Array) -> tuple[Array, Array]:
        """(N,) value and (N,) steepness in 1/mm."""
        value = np.zeros(points.shape[1], np.float32)
        slope = np.zeros_like(points)
        for vector, phase in zip(self.vectors, self.phases, strict=True):
            turn = _turn(points, vector, phase)
            value += np.cos(turn)
            sine = np.sin(turn, out=turn)
            for row, rate in zip(slope, vector, strict=True):
                row -= rate * sine
        scale = np.float32(np.sqrt(2.0 / len(self.phases)))
        return value * scale, np.sqrt(np.square(slope).sum(axis=0)) * scale


def _turn(points: Array, vector: Array, phase: float) -> Array:
    return points[0] * vector[0] + points[1] * vector[1] + (points[2] * vector[2] + np.float32(phase))
