"""Rows of features as a protocol reads them: gathered a block at a time, standardised by training's statistics."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

BLOCK_VALUES = 1 << 20
"""Numbers gathered at once (8 MB in float64): enough for the matrix products, little beside the stored features."""

_CONSTANT = 1e-6  # relative to its mean: float32 cannot tell such a spread from none


class Source(Protocol):
    """Something that gives feature rows of cases: float32 (n, K), without NaN."""

    @property
    def columns(self) -> int: ...

    def gather(self, rows: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class ArraySource:
    """Rows of an array in memory."""

    values: np.ndarray

    @property
    def columns(self) -> int:
        return int(self.values.shape[1])

    def gather(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self.values[rows], dtype=np.float32)


def blocks(source: Source, rows: np.ndarray) -> Iterator[tuple[slice, Tensor]]:
    """Go through `rows` a block at a time: where the block lies among them, and its float32 values (n, K).

    The values lie in torch's own memory, because numpy's alignment varies and the last bit of a product with it.
    """
    step = max(1, BLOCK_VALUES // source.columns)
    for start in range(0, len(rows), step):
        place = slice(start, min(start + step, len(rows)))
        yield place, aligned(source.gather(rows[place]))


def aligned(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).clone()


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation (population) of each column over training; a constant column has deviation 1."""

    mean: Tensor  # (K,) float64
    deviation: Tensor  # (K,) float64

    @classmethod
    def fit(cls, source: Source, rows: np.ndarray) -> "Scale":
        # Two passes: the difference of two large sums would lose a small spread around a large mean.
        mean = torch.zeros(source.columns, dtype=torch.float64)
        for _, values in blocks(source, rows):
            mean += values.double().sum(0)
        mean /= max(1, len(rows))
        square = torch.zeros_like(mean)
        for _, values in blocks(source, rows):
            square += (values.double() - mean).square().sum(0)
        deviation = (square / max(1, len(rows))).sqrt()
        varies = deviation > _CONSTANT * mean.abs()
        return cls(mean, torch.where(varies & (deviation > 0), deviation, 1.0))

    def apply(self, values: Tensor) -> Tensor:
        """(n, K) float64"""
        return (values.double() - self.mean) / self.deviation
