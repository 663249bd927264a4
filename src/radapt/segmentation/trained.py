"""Trained segmentation models, independent of any cohort: their state, and binding them to cases."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from radapt.images import Recipe
from radapt.models.state import ModelState
from radapt.protocols.fitted import Segmenter, TrainedModel
from radapt.protocols.image_problem import CohortImages
from radapt.segmentation.data import ReferenceRule, SegmentationData


class SegmentationNetworkModel(abc.ABC):
    """A network that segments cases of any cohort; class k is the k-th of `labels` {value: name}."""

    labels: Mapping[int, str]
    modalities: tuple[str, ...]

    @property
    @abc.abstractmethod
    def tensors(self) -> Mapping[str, Tensor]:
        """The trained tensors."""

    @property
    @abc.abstractmethod
    def facts(self) -> dict[str, Any]:
        """What its protocol needs to rebuild it, besides the model card, JSON-like."""

    @property
    @abc.abstractmethod
    def networks(self) -> Mapping[str, nn.Module]:
        """The modules, besides an encoder, that another runtime may compute (see `TrainedModel.networks`)."""

    @property
    def plane_channels(self) -> int | None:
        """C of the planes that it reads; None if it reads volumes."""
        return None

    @abc.abstractmethod
    def on(self, data: SegmentationData) -> Segmenter:
        """The model for the cases of one cohort."""


M = TypeVar("M", bound=SegmentationNetworkModel)


@dataclass(frozen=True, eq=False)
class TrainedSegmenter(TrainedModel, Generic[M]):
    """A model, the recipe of its images, and the rule by which a case's reference image is chosen."""

    model: M
    recipe: Recipe
    rule: ReferenceRule

    @classmethod
    def of(cls, model: M, data: SegmentationData) -> "TrainedSegmenter[M]":
        return cls(model, data.problem.recipe, data.rule)

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return self.model.networks

    def state(self, *, self_contained: bool = False) -> ModelState:
        facts = {**self.model.facts, "reference": self.rule.facts}
        return ModelState(self.model.tensors, self.model.modalities, facts, mask_labels=self.model.labels)

    def on(self, cases: CohortImages) -> Segmenter:
        data = SegmentationData.deployed(cases, self.recipe, self.model.labels, self.rule, self.model.plane_channels)
        return self.model.on(data)
