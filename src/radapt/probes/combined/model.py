"""A model that reads images and columns of the table: the mean of the probabilities of two models."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from radapt.models.folder import SavedModel
from radapt.models.state import ModelState
from radapt.probes.controls.metadata import read_metadata
from radapt.probes.controls.table_model import TrainedTable, restore_table
from radapt.protocols.fitted import Model, SliceWeights, SubsetModel, TrainedModel

if TYPE_CHECKING:
    from torch import nn

IMAGES, TABLE = "images.", "table."  # of the names of tensors


@dataclass(frozen=True, eq=False)
class TrainedCombined(TrainedModel):
    """A trained model of the images and one of the table."""

    images: TrainedModel
    table: TrainedTable

    def state(self, *, self_contained: bool = False) -> ModelState:
        own, table = self.images.state(self_contained=self_contained), self.table.state()
        tensors = {f"{IMAGES}{name}": tensor for name, tensor in own.tensors.items()}
        tensors |= {f"{TABLE}{name}": tensor for name, tensor in table.tensors.items()}
        facts = {"images": {"facts": dict(own.facts), "label_encoding": dict(own.label_encoding)}}
        return replace(own, tensors=tensors, facts=facts | dict(table.facts), label_encoding=table.label_encoding)

    @property
    def networks(self) -> "Mapping[str, nn.Module]":
        return self.images.networks

    @property
    def pytorch_only(self) -> str:
        return self.images.pytorch_only

    def on(self, cases: Any) -> "CombinedModel":
        images, table = self.images.on(cases), self.table.on(cases)
        if not isinstance(images, Model):
            raise TypeError("Only models that classify can be combined with a table.")
        return combined_model(images, table, table.known(len(cases.cohort)))


def restore_combined(saved: SavedModel, images: TrainedModel) -> TrainedCombined:
    """The model that `TrainedCombined.state` described, around its model of the images."""
    table = saved.part(TABLE, replace(saved.card, modalities=()))  # it reads no images
    return TrainedCombined(images, restore_table(table, read_metadata))


def image_part(saved: SavedModel, protocol: str, options: Mapping[str, Any]) -> SavedModel:
    """What was saved of the model of the images, as its protocol restores it."""
    stored = saved.card.facts["images"]
    own = replace(
        saved.card, protocol=protocol, options=options, facts=stored["facts"], label_encoding=stored["label_encoding"]
    )
    return saved.part(IMAGES, own)


@dataclass(frozen=True, eq=False)
class CombinedModel(Model):
    """The mean of the probabilities of two models of the cases of a cohort; of a case whose columns are not `known`
    (N,) bool, the answer to its images alone."""

    images: Model
    table: Model
    known: np.ndarray

    @property
    def trained_model(self) -> TrainedCombined | None:
        images, table = self.images.trained_model, self.table.trained_model
        return TrainedCombined(images, table) if images is not None and isinstance(table, TrainedTable) else None

    def slice_weights(self, row: int) -> tuple[SliceWeights, ...]:
        return self.images.slice_weights(row)

    def remark(self, row: int) -> str:
        if not self.known[row]:
            return "no column of the table is known: answered from the images alone"
        return self.table.remark(row)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.joined(rows, self.images.predict(rows))

    def joined(self, rows: np.ndarray, likely: np.ndarray) -> np.ndarray:
        """(n, outputs), the images being answered to by `likely` (n, outputs)."""
        return np.where(self.known[rows, None], (likely + self.table.predict(rows)) / 2, likely)


@dataclass(frozen=True, eq=False)
class CombinedSubsetModel(CombinedModel, SubsetModel):
    """One whose model of the images answers from any subset of their sequences. A case without any of a subset has the
    shares of the classes, whatever its columns are."""

    @property
    def modalities(self) -> tuple[str, ...]:  # type: ignore[override]
        return self._subsets.modalities

    @property
    def prior(self) -> np.ndarray:  # type: ignore[override]
        return self._subsets.prior

    def predict_from(self, rows: np.ndarray, modalities: tuple[str, ...]) -> np.ndarray:
        return self.joined(rows, self._subsets.predict_from(rows, modalities))

    @property
    def _subsets(self) -> SubsetModel:
        if not isinstance(self.images, SubsetModel):
            raise TypeError("The model of the images answers from all sequences of a case alone.")
        return self.images


def combined_model(images: Model, table: Model, known: np.ndarray) -> CombinedModel:
    """The model that answers from subsets of sequences where that of the images does."""
    kind = CombinedSubsetModel if isinstance(images, SubsetModel) else CombinedModel
    return kind(images, table, known)
