"""The nearest training cases by cosine similarity: matrix products in blocks, and the best few of each row."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from radapt.protocols.feature_matrix import DesignMatrix, blocks

_DOUBLE_BYTES = 160 << 20  # a larger gallery is held in float32
_BLOCK_VALUES = 4 << 20  # similarities, or numbers of the cases that ask, held at once: 32 MB


@dataclass(frozen=True)
class Gallery:
    """Training cases, each vector divided by its length (a zero vector stays zero), and whose they are.

    Similarities are made in float64: in float32 near ties between neighbours fall either way.
    """

    source: DesignMatrix
    rows: np.ndarray
    vectors: Tensor  # (n, K)
    owners: Tensor  # (n,) int64 patient

    @classmethod
    def of(cls, source: DesignMatrix, rows: np.ndarray, patients: np.ndarray) -> "Gallery":
        dtype = torch.float64 if len(rows) * source.columns * 8 <= _DOUBLE_BYTES else torch.float32
        vectors = torch.empty(len(rows), source.columns, dtype=dtype)
        for place, values in blocks(source, rows):
            vectors[place] = _unit(values).to(dtype)
        owners = torch.from_numpy(np.unique(patients[rows].astype(str), return_inverse=True)[1].astype(np.int64))
        return cls(source, rows, vectors, owners)

    def nearest(self, queries: np.ndarray, k: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """For blocks of `queries`: their place, and the k most similar cases, best first: similarity and position
        in the gallery, (q, k) each."""
        step = max(1, _BLOCK_VALUES // max(self.vectors.shape))  # by either: few cases may have long vectors
        for start in range(0, len(queries), step):
            part = slice(start, min(start + step, len(queries)))
            asked = torch.cat([_unit(values) for _, values in blocks(self.source, queries[part])])
            yield part, *torch.topk(self._similarity(asked), k)

    def nearest_others(self, k: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """The same for the gallery's own cases among those of other patients; -inf where there are fewer than k."""
        step = max(1, _BLOCK_VALUES // len(self.rows))
        for start in range(0, len(self.rows), step):
            part = slice(start, min(start + step, len(self.rows)))
            similarity = self._similarity(self.vectors[part].double())
            similarity[self.owners[part, None] == self.owners] = -torch.inf
            yield part, *torch.topk(similarity, k)

    def _similarity(self, asked: Tensor) -> Tensor:
        """(q, K) -> (q, n)"""
        if self.vectors.dtype == torch.float64:
            return asked @ self.vectors.T
        return torch.cat([asked @ part.double().T for part in torch.split(self.vectors, 4096)], dim=1)


def _unit(values: Tensor) -> Tensor:
    values = values.double()
    length = values.norm(dim=1, keepdim=True)
    return values / torch.where(length > 0, length, 1.0)
