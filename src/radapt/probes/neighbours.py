"""Nearest training cases by cosine similarity: matrix products in blocks, and the top k of each row."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from radapt.protocols.feature_matrix import DesignMatrix, blocks

_DOUBLE_BYTES = 160 << 20  # a larger gallery is held in float32
_BLOCK_VALUES = 4 << 20  # similarities, or feature values of the queries, held at once: 32 MB


@dataclass(frozen=True)
class Gallery:
    """Training cases, each vector divided by its length (a zero vector stays zero), and their patients.

    Similarities are computed in float64: float32 does not order near ties reliably.
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
        """For each block of `queries`: its slice, and the similarity and gallery position of the k most similar cases,
        best first, (q, k) each."""
        step = max(1, _BLOCK_VALUES // max(self.vectors.shape))  # limited by both: few cases may have long vectors
        for start in range(0, len(queries), step):
            block = slice(start, min(start + step, len(queries)))
            vectors = torch.cat([_unit(values) for _, values in blocks(self.source, queries[block])])
            yield block, *torch.topk(self._similarity(vectors), k)

    def nearest_others(self, k: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """The same for the gallery's own cases among those of other patients; -inf if there are fewer than k."""
        step = max(1, _BLOCK_VALUES // len(self.rows))
        for start in range(0, len(self.rows), step):
            block = slice(start, min(start + step, len(self.rows)))
            similarity = self._similarity(self.vectors[block].double())
            similarity[self.owners[block, None] == self.owners] = -torch.inf
            yield block, *torch.topk(similarity, k)

    def _similarity(self, vectors: Tensor) -> Tensor:
        """(q, K) -> (q, n)"""
        if self.vectors.dtype == torch.float64:
            return vectors @ self.vectors.T
        return torch.cat([vectors @ block.double().T for block in torch.split(self.vectors, 4096)], dim=1)


def _unit(values: Tensor) -> Tensor:
    values = values.double()
    length = values.norm(dim=1, keepdim=True)
    return values / torch.where(length > 0, length, 1.0)
