"""A TransUNet on planes of several modalities: predicting with it, and loading it from a model folder."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from radapt.errors import DataError
from radapt.images import Recipe, Volume
from radapt.models.folder import SavedModel
from radapt.models.whole import load_whole
from radapt.networks.transunet import Size, build_transunet
from radapt.protocols.fitted import DrawnMask, Segmenter
from radapt.protocols.image_problem import Precision
from radapt.segmentation.data import ReferenceRule, SegmentationData
from radapt.segmentation.modality_view import ModalityView, parts_of
from radapt.segmentation.trained import SegmentationNetworkModel, TrainedSegmenter

METHOD = "transunet"

AT_ONCE = 16
"""Slices per batch at inference: with more, a CPU's caches overflow."""


class PlaneNetwork(nn.Module):
    """A network of images (B, C, H, W) in [0, 1] on planes of several modalities: each colour of each is a channel."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, planes: Tensor, present: Tensor) -> Tensor:
        """Logits float32 (B, K, H, W) of planes uint8 (B, M, C, H, W), or float in [0, 1]; modalities that are
        not `present` (B, M) are black."""
        images = planes if planes.is_floating_point() else planes.float() / 255
        images = images * present[:, :, None, None, None].to(images.dtype)
        logits: Tensor = self.network(images.flatten(1, 2))
        return logits.float()


@dataclass(frozen=True, eq=False)
class PlaneModel(SegmentationNetworkModel):
    """A TransUNet with what it reads and means: output k is the k-th of `labels` {value: name}, 0 background."""

    network: PlaneNetwork
    size: Size
    recipe: Recipe
    labels: Mapping[int, str]
    modalities: tuple[str, ...]
    colours: int
    precision: Precision = "float32"

    def scores(self, planes: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Probabilities float32 (n, K + 1, H, W) of planes uint8 (n, m, C, H, W) with modalities `present` (m,).

        Raises DataError if they are not finite.
        """
        device = next(self.network.parameters()).device
        mask = torch.from_numpy(np.tile(present, (len(planes), 1))).to(device)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            logits = self.network(torch.from_numpy(np.array(planes)).to(device), mask)
        scores = torch.softmax(logits.float(), dim=1).cpu().numpy()
        if not np.isfinite(scores).all():
            raise DataError("The model gave scores that are not finite; train it again, with float32.")
        return scores

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return {"network": self.network}

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        return self.network.state_dict()

    @property
    def facts(self) -> dict[str, Any]:
        return {"size": self.size, "colours": self.colours}

    @property
    def plane_channels(self) -> int:
        return self.colours

    def on(self, data: SegmentationData) -> "PlaneSegmenter":
        return PlaneSegmenter(self, data)


def make_network(
    size: Size, recipe: Recipe, labels: int, channels: int, *, pretrained: bool = False, seed: int = 0
) -> PlaneNetwork:
    """A new network for `labels` classes and the background, with random weights from `seed`."""
    return PlaneNetwork(build_transunet(size, channels, labels + 1, recipe.size, pretrained=pretrained, seed=seed))


def restore_transunet(saved: SavedModel) -> TrainedSegmenter[PlaneModel]:
    """The model in a folder. Raises UsageError if its weights belong to a different network."""
    card, facts = saved.card, saved.card.facts
    size, labels, colours = facts["size"], card.mask_labels, facts["colours"]
    network = make_network(size, card.recipe, len(labels), len(card.modalities) * colours)
    load_whole(saved, network)
    model = PlaneModel(network, size, card.recipe, labels, card.modalities, colours, card.precision)
    return TrainedSegmenter(model, card.recipe, ReferenceRule.from_facts(facts["reference"]))


@dataclass(frozen=True, eq=False)
class PlaneSegmenter(Segmenter):
    """A model bound to the cases of one cohort; scores of slices are resampled to the patient's grid."""

    model: PlaneModel
    data: SegmentationData

    @property
    def trained_model(self) -> TrainedSegmenter[PlaneModel]:
        return TrainedSegmenter.of(self.model, self.data)

    def segment(self, row: int) -> Volume:
        """Raises DataError if an image cannot be read, or the case has no modality that the model reads."""
        return self.draw(row).mask

    def draw(self, row: int) -> DrawnMask:
        """Raises DataError as `segment`."""
        return self.data.draw(row, np.concatenate(list(self._parts(row))), logarithms=False)

    def _parts(self, row: int) -> Iterator[np.ndarray]:
        seen = ModalityView.of(self.data, self.model.modalities)
        for part in parts_of(self.data.count(row), AT_ONCE):
            yield self.model.scores(*seen.planes(row, part))
