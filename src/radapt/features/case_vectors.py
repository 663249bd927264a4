"""Features of cases, one vector per case and modality: for the nearest training cases, and for what is unlike them."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from radapt.durable import atomic_path
from radapt.errors import UsageError
from radapt.features.features import Features
from radapt.features.pooling import select

VECTORS = "training.safetensors"


class Neighbour(NamedTuple):
    """A training case, its label ('' if none) and its cosine similarity, from -1 to 1."""

    case: str
    label: str
    similarity: float


@dataclass(frozen=True, eq=False)
class CaseVectors:
    """`vectors` float32 (n, M, K) of `cases` and `modalities`, NaN where a modality is missing; `labels` in words.

    A vector holds the CLS and the mean patch token of the encoder's last layer, averaged over slices.
    """

    cases: tuple[str, ...]
    labels: tuple[str, ...]
    modalities: tuple[str, ...]
    vectors: np.ndarray

    @classmethod
    def of(cls, features: Features, rows: np.ndarray, labels: tuple[str, ...]) -> "CaseVectors":
        """Of the cases at `rows`, with their labels."""
        columns = select(features.segments, 1, patch_mean=True)
        pooled = features.pooled("mean")[rows]
        vectors = np.concatenate([pooled[:, :, part] for part in columns], axis=2).astype(np.float32)
        cases = tuple(features.cohort.cases[int(row)].case for row in rows)
        return cls(cases, labels, tuple(features.modalities), vectors)

    def at(self, rows: np.ndarray) -> "CaseVectors":
        """Those of the cases at the indices `rows`."""
        names, labels = (tuple(each[row] for row in rows) for each in (self.cases, self.labels))
        return CaseVectors(names, labels, self.modalities, self.vectors[rows])

    @property
    def presence(self) -> np.ndarray:
        """(n, M) bool"""
        return np.isfinite(self.vectors[:, :, 0]) if self.vectors.size else np.zeros(self.vectors.shape[:2], bool)

    @cached_property
    def _centre(self) -> np.ndarray:
        """(M, K): the mean over the cases that have a modality."""
        present = self.presence
        sums = np.where(present[:, :, None], self.vectors, 0).sum(axis=0, dtype=np.float64)
        return sums / np.maximum(present.sum(axis=0), 1)[:, None]

    @cached_property
    def _directions(self) -> np.ndarray:
        return self._unit(self.vectors)

    def _unit(self, vectors: np.ndarray) -> np.ndarray:
        """float32 (n, M, K): the difference from the mean, at unit length; 0 where missing."""
        moved = np.nan_to_num(vectors - self._centre)
        length = np.linalg.norm(moved, axis=2, keepdims=True)
        return (moved / np.where(length == 0, 1, length)).astype(np.float32)

    def nearest(self, others: "CaseVectors", count: int) -> list[tuple[Neighbour, ...]]:
        """The `count` cases most similar to each of `others`, best first: the cosine of the differences from the mean
        of these cases, averaged over the modalities that both have. Cases without a common modality are left out."""
        if others.modalities != self.modalities:
            raise UsageError(f"Features of {others.modalities} cannot be compared with those of {self.modalities}.")
        shared = others.presence.astype(np.float32) @ self.presence.T.astype(np.float32)
        cosine = np.einsum("qmk,nmk->qn", self._unit(others.vectors), self._directions)
        similarity = np.where(shared > 0, cosine / np.maximum(shared, 1), -np.inf)
        found = []
        for row in similarity:
            best = np.argsort(-row, kind="stable")[:count]
            found.append(
                tuple(Neighbour(self.cases[at], self.labels[at], float(row[at])) for at in best if row[at] > -np.inf)
            )
        return found

    def save(self, path: Path) -> None:
        """Write them as one file."""
        from safetensors.numpy import save_file

        facts = {name: json.dumps(getattr(self, name)) for name in ("cases", "labels", "modalities")}
        with atomic_path(path) as part:
            save_file({"vectors": np.ascontiguousarray(self.vectors)}, part, facts)


def read_case_vectors(path: Path) -> CaseVectors:
    """What `save` wrote. Raises UsageError if it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            facts = file.metadata() or {}
            names = {name: tuple(json.loads(facts[name])) for name in ("cases", "labels", "modalities")}
            return CaseVectors(**names, vectors=file.get_tensor("vectors"))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise UsageError(f"{path} cannot be read ({error}). Copy the whole model folder again.") from error
