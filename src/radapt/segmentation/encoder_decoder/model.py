"""A trained segmentation network: drawing label maps with it, writing it down, and loading it again."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from radapt.backbones.backbone import Backbone
from radapt.backbones.lazy import LazyBackbone
from radapt.durable import write_json
from radapt.errors import UsageError
from radapt.images import Recipe, Volume
from radapt.models.files import (
    FACTS,
    WEIGHTS,
    check_backbone,
    fresh_copy,
    read_facts,
    read_weights,
    recipe_of,
)
from radapt.networks.adapters.encoder_network import load_state, state_of
from radapt.protocols.fitted import Segmenter
from radapt.protocols.image_problem import Precision
from radapt.segmentation.data import SegmentationData
from radapt.segmentation.encoder_decoder.network import Parts, SegmentationNetwork
from radapt.segmentation.modality_view import ModalityView, parts_of
from radapt.training import DivergedError
from radapt.training.checkpoint import save_tensors
from radapt.training.fit_record import FitRecord
from radapt.versions import __version__

if TYPE_CHECKING:
    from radapt.segmentation.encoder_decoder.stored_tokens import StoredTokens

AT_ONCE = 16
"""Slices that are answered at once: with more, a CPU's caches overflow."""

_FORMAT = 1

METHOD = "segment"


@dataclass(frozen=True, eq=False)
class SegmentModel:
    """A network with all it takes to segment new cases: how images are read and what its outputs mean.

    Output 0 is background, output k the k-th of `labels` {value: name}; `colours` is C of the planes it was trained on.
    """

    network: SegmentationNetwork
    recipe: Recipe
    labels: Mapping[int, str]
    modalities: tuple[str, ...]
    colours: int
    precision: Precision = "float32"

    def scores(self, planes: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Log-probabilities float32 (n, K + 1, h, w) of planes uint8 (n, m, C, H, W) with modalities `present` (m,).

        h × w is the resolution the decoder works at, at most H × W. Raises DivergedError if they are not finite.
        """
        there = torch.from_numpy(np.tile(present, (len(planes), 1))).to(self._device)
        with torch.no_grad(), self._autocast():
            maps = self.network.maps(torch.from_numpy(np.array(planes)).to(self._device), there)
            return self._scores(maps, there)

    def scores_of_tokens(self, tokens: "StoredTokens", row: int, part: slice) -> np.ndarray:
        """The same of stored tokens."""
        plane = np.arange(part.start, part.stop)
        rows, there = (each.to(self._device) for each in tokens.load(np.full(len(plane), row), plane))
        with torch.no_grad(), self._autocast():
            return self._scores(tokens.maps(rows), there)

    @property
    def _device(self) -> torch.device:
        return self.network.backbone.device

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def _scores(self, maps: list[Tensor], present: Tensor) -> np.ndarray:
        logits = self.network.head.coarse(maps, present, self.recipe.size)
        found = torch.log_softmax(logits, dim=1).cpu().numpy()
        if not np.isfinite(found).all():
            raise DivergedError(
                "The model gave scores that are not finite; train it again, with float32 or a smaller learning rate."
            )
        return found

    def save(self, folder: Path, options: Mapping[str, Any], record: FitRecord) -> None:
        """Write `model.safetensors` (what was trained, without frozen weights) and then `model.json`."""
        save_tensors(folder / WEIGHTS, state_of(self.network))
        facts = {
            "format": _FORMAT,
            "radapt": __version__,
            "method": METHOD,
            "options": options,
            "fit": record.to_json(),
            "backbone": self.network.backbone.identity,
            "backbone_name": self.network.backbone.name,
            "parts": asdict(self.network.parts),
            "labels": {str(value): name for value, name in self.labels.items()},
            "modalities": self.modalities,
            "colours": self.colours,
            "precision": self.precision,
            "recipe": asdict(self.recipe),
            "images": self.recipe.describe(),
        }
        write_json(folder / FACTS, facts)


def load_segment_model(folder: Path, backbone: Backbone | LazyBackbone) -> SegmentModel:
    """The model that was written to `folder`, around the backbone it was trained with (not changed here).

    Raises UsageError if nothing readable is there, and if the backbone is another one.
    """
    facts = read_facts(folder)
    if facts.get("method") != METHOD:
        raise UsageError(f"{folder} holds a model of protocol {facts.get('method')!r}, not of {METHOD!r}.")
    check_backbone(folder, facts["backbone"], backbone)
    parts = Parts(**{**facts["parts"], "size": tuple(facts["parts"]["size"])})
    own = fresh_copy(backbone)
    if own is None:
        raise UsageError(f"The model in {folder} adapts a backbone; give the one it was trained with.")
    network = SegmentationNetwork(own, parts, seed=0)
    load_state(network, read_weights(folder / WEIGHTS))
    labels = {int(value): name for value, name in facts["labels"].items()}
    return SegmentModel(
        network.eval(), recipe_of(facts["recipe"]), labels, tuple(facts["modalities"]), facts["colours"],
        facts["precision"],
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class SliceSegmenter(Segmenter):
    """A model that answers for the cases of one cohort, from stored tokens where there are some.

    A volume is answered slice by slice; scores, not labels, are brought into the patient's grid, those of planes the
    recipe left out between their neighbours', so that the map is one volume. One case is held in memory at a time.
    """

    model: SegmentModel
    data: SegmentationData
    tokens: "StoredTokens | None" = None

    def segment(self, row: int) -> Volume:
        """Raises DataError if an image cannot be read, or the case has no modality that the model reads."""
        return self.data.answer(row, np.concatenate(list(self._parts(row))))

    def _parts(self, row: int) -> Iterator[np.ndarray]:
        seen = ModalityView.of(self.data, self.model.modalities)
        for part in parts_of(self.data.count(row), AT_ONCE):
            if self.tokens is not None and row in self.tokens.places:
                yield self.model.scores_of_tokens(self.tokens, row, part)
            else:
                yield self.model.scores(*seen.planes(row, part))
