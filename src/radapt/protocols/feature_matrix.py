"""Feature rows as a protocol reads them: gathered in blocks, standardised by the statistics of the training set."""

import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from radapt.features import Design, Features
from radapt.features.features import SliceReduction

BLOCK_VALUES = 1 << 20
"""Numbers gathered at once (8 MB in float64): enough for matrix products, small compared with the stored features."""

CONSTANT = 1e-6
"""Standard deviation, relative to the mean, below which a column is constant within float32."""

_RELEASE_BYTES = 16 << 20
_AROUND_BYTES = 1 << 16  # what the system maps around a page that is read


class FeatureMatrix(Protocol):
    """A source of feature rows of cases: float32 (n, K), without NaN."""

    @property
    def columns(self) -> int: ...

    def gather(self, rows: np.ndarray) -> np.ndarray: ...


class DesignMatrix(FeatureMatrix):
    """Vectors of cases, from pooled features (N, M, D) through a design that was fitted on training cases.

    Rows of a mapped file stay in the memory of the process once read. They are released regularly, so that memory does
    not grow with the cohort; the page cache of the system makes reading them again fast.
    """

    def __init__(self, design: Design, pooled: np.ndarray, presence: np.ndarray, layout: "MatrixLayout") -> None:
        self.design, self.layout = design, layout
        self._pooled, self._presence = pooled, presence
        self._file = file_behind(pooled)
        self._release()

    @classmethod
    def on(cls, features: Features, design: Design, layout: "MatrixLayout") -> "DesignMatrix":
        """The same vectors for the cases of other features, made by the same encoder.

        Modalities that the design does not have are left out; those that the features lack are missing in every case.
        """
        pooled, presence = features.pooled(layout.slices), features.presence
        if features.modalities != layout.modalities:
            pooled, presence = _rearranged(pooled, presence, features.modalities, layout.modalities)
        return cls(design, pooled, presence, layout)

    @property
    def columns(self) -> int:
        return self.design.width

    def pooled(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The inputs of the design for storage: its columns of the pooled features, float32 (n, M, K), and presence
        (n, M)."""
        columns = [self._pooled[rows][:, :, part] for part in self.design.columns]
        return np.concatenate(columns, axis=2), self._presence[rows]

    def gather(self, rows: np.ndarray) -> np.ndarray:
        values = self.design.transform(self._pooled, self._presence, rows)
        self._read += len(rows) * max(self._pooled[0].nbytes, _AROUND_BYTES)
        if self._read > _RELEASE_BYTES:
            self._release()
        return values

    def _release(self) -> None:
        self._read = 0
        if self._file is not None:
            self._file.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class MatrixLayout:
    """The pooled features of a matrix: the names of their M modalities, and how slices were pooled."""

    modalities: tuple[str, ...]
    slices: SliceReduction

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "MatrixLayout":
        return cls(tuple(facts["modalities"]), facts["slices"])

    @property
    def facts(self) -> dict[str, Any]:
        """JSON-like."""
        return {"modalities": list(self.modalities), "slices": self.slices}

    def read_by(self, design: Design) -> tuple[str, ...]:
        """The modalities that a design does not drop."""
        return tuple(name for name, lost in zip(self.modalities, design.dropped, strict=True) if not lost)


def _rearranged(
    pooled: np.ndarray, presence: np.ndarray, given: Sequence[str], wanted: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Pooled features (N, M', D) and presence (N, M') of the `given` modalities as those of the `wanted` ones."""
    values = np.full((len(pooled), len(wanted), pooled.shape[2]), np.nan, dtype=np.float32)
    present = np.zeros((len(pooled), len(wanted)), dtype=bool)
    for place, name in enumerate(wanted):
        if name in given:
            values[:, place] = pooled[:, given.index(name)]
            present[:, place] = presence[:, given.index(name)]
    return values, present


def blocks(source: FeatureMatrix, rows: np.ndarray) -> Iterator[tuple[slice, Tensor]]:
    """Go through `rows` a block at a time: where the block lies among them, and its float32 values (n, K).

    The values are copied into torch's memory, as the alignment of numpy arrays varies, and with it the last bit of a
    product.
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
    def fit(cls, source: FeatureMatrix, rows: np.ndarray) -> "Scale":
        # Two passes: the difference of two large sums would lose a small spread around a large mean.
        mean = torch.zeros(source.columns, dtype=torch.float64)
        for _, values in blocks(source, rows):
            mean += values.double().sum(0)
        mean /= max(1, len(rows))
        square = torch.zeros_like(mean)
        for _, values in blocks(source, rows):
            square += (values.double() - mean).square().sum(0)
        deviation = (square / max(1, len(rows))).sqrt()
        varies = deviation > CONSTANT * mean.abs()
        return cls(mean, torch.where(varies & (deviation > 0), deviation, 1.0))

    def apply(self, values: Tensor) -> Tensor:
        """(n, K) float64"""
        return (values.double() - self.mean) / self.deviation


def file_behind(array: np.ndarray) -> mmap.mmap | None:
    """The read-only file map an array is a view of; None for other memory, which must not be released."""
    if array.flags.writeable or not hasattr(mmap, "MADV_DONTNEED"):
        return None
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None
