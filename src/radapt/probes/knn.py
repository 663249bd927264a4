"""k nearest neighbours by cosine similarity of the last layer's CLS; k chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from radapt.features import Features
from radapt.features.stored_rows import StoredRows
from radapt.models.folder import SavedModel
from radapt.probes.knn_classifiers import FindingTables
from radapt.probes.knn_model import KnnModels, NearestNeighbours, restore_neighbours
from radapt.probes.neighbours import Gallery
from radapt.protocols.candidates import Family
from radapt.protocols.fitted import Fitted
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.protocol import Protocol
from radapt.protocols.selection import fit_chosen
from radapt.protocols.targets import Targets

if TYPE_CHECKING:
    from radapt.backbones import Backbone

DEFAULT_K = (5, 10, 20, 50, 100, 200)
"""The range of the radiology study (arXiv 2312.02366); 20 is DINO's own choice."""

_PREFERRED = 20


@dataclass(frozen=True)
class KnnFamily(Family):
    """One candidate per k."""

    unit_length: ClassVar[bool] = True
    ks: tuple[int, ...]
    temperature: float

    @property
    def candidates(self) -> Sequence[Mapping[str, Any]]:
        return [{"kind": "knn", "k": k} for k in self.ks]

    @property
    def default(self) -> int:
        return int(np.argmin(np.abs(np.asarray(self.ks) - _PREFERRED)))

    @property
    def paths(self) -> Sequence[Sequence[int]]:
        """From the most neighbours, which is nearest to answering the same for all."""
        return [list(reversed(range(len(self.ks))))]

    def fit(
        self, problem: FeatureProblem, rows: np.ndarray, rng: np.random.Generator, only: int | None = None
    ) -> KnnModels:
        gallery = Gallery.of(problem.source(rows, unit_length=self.unit_length), rows, problem.patients)
        ks = tuple(min(k, len(rows)) for k in (self.ks if only is None else (self.ks[only],)))
        labels = problem.labels[rows]
        targets = Targets.of(labels, len(problem.outputs))
        tables = FindingTables.fit(gallery, labels, ks) if labels.ndim == 2 else None
        stored = StoredRows.of(problem.features, rows) if isinstance(problem.features, Features) else None
        return KnnModels(gallery, labels, targets, tables, ks, self.temperature, problem.outputs, stored)


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Knn(Protocol):
    """Cosine nearest neighbours on the last CLS, after pooling; k chosen from `k`.

    The CLS of each modality has unit length before modalities are joined, so none outweighs another by its size.
    Classes: DINO's vote weighted by exp(similarity / `temperature`). Findings: ML-kNN. A k above the number of
    training cases means all of them.
    """

    name: ClassVar[str] = "knn"

    k: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = DEFAULT_K
    temperature: Annotated[float, Field(gt=0)] = 0.07

    def fit(self, problem: FeatureProblem, rng: np.random.Generator) -> Fitted:
        cases = len(problem.rows("train"))
        ks = tuple(sorted({min(k, cases) for k in self.k}))
        return fit_chosen(problem, [KnnFamily(ks, self.temperature)], rng)

    def restore(self, saved: SavedModel, backbone: "Backbone | None") -> NearestNeighbours:
        """Raises UsageError where the model refers to stored rows that are no longer there, or were changed."""
        return restore_neighbours(saved)
