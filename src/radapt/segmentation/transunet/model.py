"""A TransUNet on planes of several modalities: answering with it, writing it down, and loading it again."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from radapt.errors import DataError
from radapt.images import Recipe, Volume
from radapt.models.files import recipe_of
from radapt.models.whole import load_whole, read_whole, save_whole
from radapt.networks.transunet import Size, build_transunet
from radapt.protocols.fitted import Segmenter
from radapt.protocols.image_problem import Precision
from radapt.segmentation.data import SegmentationData
from radapt.segmentation.modality_view import ModalityView, parts_of
from radapt.training.fit_record import FitRecord

AT_ONCE = 16
"""Slices that are answered at once: with more, a CPU's caches overflow."""

METHOD = "transunet"


class PlaneNetwork(nn.Module):
    """A network of images (B, C, H, W) in [0, 1] on planes of modalities: each colour of each is a channel."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, planes: Tensor, present: Tensor) -> Tensor:
        """Logits float32 (B, K, H, W) of planes uint8 (B, M, C, H, W), or float in [0, 1]; those of modalities that are
        not `present` (B, M) are taken as black."""
        images = planes if planes.is_floating_point() else planes.float() / 255
        images = images * present[:, :, None, None, None].to(images.dtype)
        found: Tensor = self.network(images.flatten(1, 2))
        return found.float()


@dataclass(frozen=True, eq=False)
class PlaneModel:
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
        there = torch.from_numpy(np.tile(present, (len(planes), 1))).to(device)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            logits = self.network(torch.from_numpy(np.array(planes)).to(device), there)
        found = torch.softmax(logits.float(), dim=1).cpu().numpy()
        if not np.isfinite(found).all():
            raise DataError("The model gave scores that are not finite; train it again, with float32.")
        return found

    def save(self, folder: Path, options: Mapping[str, Any], record: FitRecord) -> None:
        """Write `model.safetensors` and then `model.json`."""
        facts = {
            "options": options,
            "fit": record.to_json(),
            "size": self.size,
            "labels": {str(value): name for value, name in self.labels.items()},
            "modalities": self.modalities,
            "colours": self.colours,
            "precision": self.precision,
            "recipe": asdict(self.recipe),
            "images": self.recipe.describe(),
        }
        save_whole(folder, self.network, METHOD, facts)


def make_network(
    size: Size, recipe: Recipe, labels: int, channels: int, *, pretrained: bool = False, seed: int = 0
) -> PlaneNetwork:
    """A new network for so many `labels` beside background, whose random weights `seed` decides."""
    return PlaneNetwork(build_transunet(size, channels, labels + 1, recipe.size, pretrained=pretrained, seed=seed))


def load_transunet(folder: Path, device: str = "cpu") -> PlaneModel:
    """The model that was written to `folder`. Raises UsageError if nothing readable, or another model, is there."""
    facts = read_whole(folder, METHOD, ("size", "modalities", "colours", "precision", "recipe"))
    recipe, labels, modalities = recipe_of(facts["recipe"]), facts["labels"], tuple(facts["modalities"])
    network = make_network(facts["size"], recipe, len(labels), len(modalities) * facts["colours"])
    load_whole(folder, network, device)
    return PlaneModel(network, facts["size"], recipe, labels, modalities, facts["colours"], facts["precision"])


@dataclass(frozen=True, eq=False)
class PlaneSegmenter(Segmenter):
    """A model that answers for the cases of one cohort, slice by slice; scores are brought into the patient's grid."""

    model: PlaneModel
    data: SegmentationData

    def segment(self, row: int) -> Volume:
        """Raises DataError if an image cannot be read, or the case has no modality that the model reads."""
        return self.data.answer(row, np.concatenate(list(self._parts(row))))

    def _parts(self, row: int) -> Iterator[np.ndarray]:
        seen = ModalityView.of(self.data, self.model.modalities)
        for part in parts_of(self.data.count(row), AT_ONCE):
            yield self.model.scores(*seen.planes(row, part))
