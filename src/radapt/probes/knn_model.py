"""Fitted nearest neighbours: the training cases that are looked up, and what they answer."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from radapt.errors import UsageError
from radapt.features import Design, Features
from radapt.features.stored_rows import StoredRows
from radapt.models.folder import SavedModel
from radapt.models.state import ModelState
from radapt.probes.knn_classifiers import FindingTables, class_votes
from radapt.probes.neighbours import Gallery
from radapt.protocols.candidates import Models
from radapt.protocols.feature_matrix import DesignMatrix, MatrixLayout
from radapt.protocols.fitted import Model, TrainedModel
from radapt.protocols.targets import Targets


@dataclass(frozen=True, eq=False)
class KnnModels(Models):
    """Every k of one search among the training cases, whose `labels` (n,) or (n, F) stand in the gallery's order."""

    gallery: Gallery
    labels: np.ndarray
    targets: Targets
    tables: FindingTables | None
    ks: tuple[int, ...]
    temperature: float
    outputs: tuple[str, ...]
    stored: StoredRows | None = None
    """Where the training cases' features lie, if that is in a store."""

    def predict_all(self, rows: np.ndarray) -> np.ndarray:
        if self.tables is None:
            return class_votes(self.gallery, self.labels, len(self.outputs), rows, self.ks, self.temperature)
        found = self.tables.predict(rows)
        return self.targets.answer(found[..., self.targets.learned])

    def pick(self, candidate: int) -> Model:
        return KnnModel(self, candidate)

    def trained(self, candidate: int) -> int:
        """None: neighbours are looked up, and the tables of ML-kNN count them."""
        return 0

    def notes(self) -> tuple[str, ...]:
        return self.targets.notes(self.outputs)


@dataclass(frozen=True, eq=False)
class KnnModel(Model):
    """One k of several that were searched together."""

    models: KnnModels
    candidate: int

    @property
    def trained_model(self) -> "NearestNeighbours":
        models, source = self.models, self.models.gallery.source
        pooled, presence = source.pooled(models.gallery.rows)
        return NearestNeighbours(models, self.candidate, source.design, source.layout, pooled, presence)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.models.predict_all(rows)[self.candidate]


@dataclass(frozen=True, eq=False)
class NearestNeighbours(TrainedModel):
    """The training cases that are looked up: their `pooled` features (n, M, K) of the design's columns, and `presence`
    (n, M). The gallery of `models` may be that of any cohort."""

    models: KnnModels
    candidate: int
    design: Design
    layout: MatrixLayout
    pooled: np.ndarray
    presence: np.ndarray

    def state(self, *, self_contained: bool = False) -> ModelState:
        """Of features in a store the state has the keys and the digest, unless it shall be `self_contained`."""
        models, stored = self.models, None if self_contained else self.models.stored
        tensors = {"labels": torch.from_numpy(models.labels), "fill": torch.from_numpy(self.design.fill)}
        if models.tables is not None:
            tensors |= {"prior": models.tables.prior, "likelihood": models.tables.likelihood}
        if stored is None:
            tensors |= {"pooled": torch.from_numpy(self.pooled), "presence": torch.from_numpy(self.presence)}
        facts = {
            "design": self.design.facts,
            "layout": self.layout.facts,
            "k": list(models.ks),
            "candidate": self.candidate,
            "temperature": models.temperature,
            "stored": stored and {**stored.facts, "digest": _digest(self.pooled)},
        }
        return ModelState(tensors, self.layout.read_by(self.design), facts, models.targets.encoding)

    def on(self, cases: Features) -> KnnModel:
        own = replace(self.design, columns=(slice(0, self.pooled.shape[2]),))
        rows = np.arange(len(self.pooled))
        gallery = Gallery.of(DesignMatrix(own, self.pooled, self.presence, self.layout), rows, rows)
        gallery = replace(gallery, source=DesignMatrix.on(cases, self.design, self.layout))
        tables = self.models.tables and replace(self.models.tables, gallery=gallery)
        return KnnModel(replace(self.models, gallery=gallery, tables=tables), self.candidate)


def restore_neighbours(saved: SavedModel) -> NearestNeighbours:
    """The model that `NearestNeighbours.state` described.

    Raises UsageError where it refers to stored features that are no longer there, or were changed.
    """
    facts, tensors = saved.card.facts, saved.tensors
    design = Design.from_facts(facts["design"], tensors["fill"].numpy())
    layout, labels = MatrixLayout.from_facts(facts["layout"]), tensors["labels"]
    stored, pooled, presence = _training_cases(saved, design, layout)
    empty = DesignMatrix(design, pooled[:0], presence[:0], layout)
    gallery = Gallery(empty, np.arange(0), torch.zeros(0, 0), torch.zeros(0, dtype=torch.int64))
    ks, tables = tuple(facts["k"]), None
    if "prior" in tensors:
        tables = FindingTables(gallery, labels == 1, tensors["prior"], tensors["likelihood"], ks)
    models = KnnModels(
        gallery, labels.numpy(), Targets.from_encoding(saved.card.label_encoding), tables, ks, facts["temperature"],
        saved.card.outputs, stored,
    )  # fmt: skip
    return NearestNeighbours(models, facts["candidate"], design, layout, pooled, presence)


def _training_cases(
    saved: SavedModel, design: Design, layout: MatrixLayout
) -> tuple[StoredRows | None, np.ndarray, np.ndarray]:
    reference: Mapping[str, Any] | None = saved.card.facts["stored"]
    if reference is None:
        return None, saved.tensors["pooled"].numpy(), saved.tensors["presence"].numpy()
    stored = StoredRows.from_facts(reference)
    pooled, presence = stored.pooled(layout.slices, design.columns)
    if _digest(pooled) != reference["digest"]:
        raise UsageError(
            f"The features in {stored.folder} are not those that the model in {saved.folder} learned from. Run its "
            "cell again."
        )
    return stored, pooled, presence


def _digest(pooled: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(pooled).tobytes(), digest_size=16).hexdigest()
