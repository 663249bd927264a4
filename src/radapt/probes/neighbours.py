"""Nearest training cases by cosine similarity: matrix products in blocks, and the top k of each row.

A matrix product finds the candidates; their similarities are then computed row by row, so that neither these nor the
order of near ties depend on the other queries.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from radapt.protocols.feature_matrix import DesignMatrix, blocks
from radapt.protocols.row_products import paired_products

_DOUBLE_BYTES = 160 << 20  # a larger gallery is held in float32
_SPARE = 8  # candidates beyond k, of which some may be as near as the k-th to within rounding
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
            candidates = torch.topk(self._similarity(vectors), min(k + _SPARE, len(self.vectors))).indices
            yield block, *self._exactly(vectors, candidates, k)

    def _exactly(self, vectors: Tensor, candidates: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k best of the `candidates` (q, c) of each query, best first, by similarities computed row by row."""
        step = max(1, _BLOCK_VALUES // (candidates.shape[1] * vectors.shape[1]))
        index = candidates.sort(dim=1).values
        parts = [
            paired_products(vectors[i : i + step].numpy(), self.vectors[index[i : i + step]].numpy())
            for i in range(0, len(index), step)
        ]
        similarity = torch.from_numpy(np.concatenate(parts)) if parts else torch.zeros(candidates.shape).double()
        order = similarity.argsort(dim=1, descending=True, stable=True)[:, :k]
        return similarity.gather(1, order), index.gather(1, order)

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
