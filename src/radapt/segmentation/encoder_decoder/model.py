"""A trained segmentation network: predicting label maps with it, and loading it from a model folder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from radapt.backbones.backbone import Backbone
from radapt.images import Recipe, Volume
from radapt.models.folder import SavedModel
from radapt.networks.adapters.encoder_network import load_state, state_of
from radapt.protocols.fitted import DrawnMask, SubsetSegmenter
from radapt.protocols.image_problem import Precision
from radapt.segmentation.data import ReferenceRule, SegmentationData
from radapt.segmentation.encoder_decoder.network import CoarseHead, Parts, SegmentationNetwork, Subsets
from radapt.segmentation.encoder_decoder.shared_maps import SharedMaps
from radapt.segmentation.modality_view import ModalityView, parts_of
from radapt.segmentation.trained import SegmentationNetworkModel, TrainedSegmenter
from radapt.training import DivergedError

if TYPE_CHECKING:
    from radapt.segmentation.encoder_decoder.stored_tokens import StoredTokens

AT_ONCE = 16
"""Slices per batch at inference: with more, a CPU's caches overflow."""

METHOD = "segment"

MOST_SEQUENCES = 4
"""With four sequences a case is decoded, resampled and measured 15 times, and encoded once."""


@dataclass(frozen=True, eq=False)
class SegmentModel(SegmentationNetworkModel):
    """A network with everything it needs to segment new cases: how images are read and what its outputs mean.

    Output 0 is background, output k the k-th of `labels` {value: name}; `colours` is C of the planes it was trained on.
    """

    network: SegmentationNetwork
    recipe: Recipe
    labels: Mapping[int, str]
    modalities: tuple[str, ...]
    colours: int
    precision: Precision = "float32"
    shared: SharedMaps | None = None
    """What it shares with the other models of an ensemble that stand on the same frozen encoder."""

    def scores(self, planes: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Log-probabilities float32 (n, K + 1, h, w) of planes uint8 (n, m, C, H, W) with modalities `present` (m,).

        h × w is the resolution the decoder works at, at most H × W. Raises DivergedError if they are not finite.
        """
        return self.scores_of_maps(self.maps(planes, present), present)

    def maps(self, planes: np.ndarray, present: np.ndarray) -> list[Tensor]:
        """The encoder's maps (n, m, h, w, D_i) of planes uint8 (n, m, C, H, W), zeros for modalities not `present`.

        Each modality is encoded in batches of its own: its maps are the same bits whichever others a case has.
        """
        there = torch.ones(len(planes), 1, dtype=torch.bool, device=self._device)
        with torch.no_grad(), self._autocast():
            encoded = {int(m): self._encode(planes[:, m : m + 1], there) for m in np.flatnonzero(present)}
        some = next(iter(encoded.values()))
        empty = [torch.zeros_like(layer) for layer in some]
        columns = [encoded.get(m, empty) for m in range(planes.shape[1])]
        return [torch.cat(layer, dim=1) for layer in zip(*columns, strict=True)]

    def _encode(self, planes: np.ndarray, there: Tensor) -> list[Tensor]:
        """The maps of planes (n, 1, C, H, W) of one modality."""

        def encode() -> list[Tensor]:
            return self.network.maps(torch.from_numpy(np.array(planes)).to(self._device), there)

        if self.shared is None:
            return encode()
        return self.shared.take(planes, f"{self.network.layers} {self.precision}", encode)

    def sharing(self, shared: SharedMaps) -> "SegmentModel":
        """The same model, which takes maps from `shared` if its encoder is frozen."""
        return replace(self, shared=shared) if self.network.parts.encoder == "frozen" else self

    def maps_of_tokens(self, tokens: "StoredTokens", row: int, part: slice) -> list[Tensor]:
        """The maps of a case's slices from stored tokens."""
        plane = np.arange(part.start, part.stop)
        rows, _ = tokens.load(np.full(len(plane), row), plane)
        return tokens.maps(rows.to(self._device))

    def scores_of_maps(self, maps: list[Tensor], present: np.ndarray) -> np.ndarray:
        """`scores` of maps (n, m, h, w, D_i), whatever they hold where a modality is not `present` (m,)."""
        mask = torch.from_numpy(np.tile(present, (len(maps[0]), 1))).to(self._device)
        with torch.no_grad(), self._autocast():
            return self._scores(maps, mask)

    @cached_property
    def _head(self) -> CoarseHead:
        return CoarseHead(self.network.head, self.recipe.size).eval()

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return {"decoder": self._head}

    @property
    def _device(self) -> torch.device:
        return self.network.backbone.device

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def _scores(self, maps: list[Tensor], present: Tensor) -> np.ndarray:
        logits = self._head(present, *maps)
        scores = torch.log_softmax(logits, dim=1).cpu().numpy()
        if not np.isfinite(scores).all():
            raise DivergedError(
                "The model gave scores that are not finite; train it again, with float32 or a smaller learning rate."
            )
        return scores

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Trained weights; frozen weights belong to the backbone."""
        return state_of(self.network)

    @property
    def facts(self) -> dict[str, Any]:
        return {"parts": asdict(self.network.parts), "colours": self.colours}

    @property
    def plane_channels(self) -> int:
        return self.colours

    def on(self, data: SegmentationData) -> "SliceSegmenter":
        return SliceSegmenter(self, data)


def restore_segmenter(saved: SavedModel, backbone: Backbone) -> TrainedSegmenter[SegmentModel]:
    """The model in a folder, around `backbone`, whose module is modified."""
    card, facts = saved.card, saved.card.facts
    parts = Parts(**{**facts["parts"], "size": tuple(facts["parts"]["size"])})
    network = SegmentationNetwork(backbone, parts, seed=0)
    load_state(network, saved.tensors)
    model = SegmentModel(
        network.eval(), card.recipe, card.mask_labels, card.modalities, facts["colours"], card.precision
    )  # fmt: skip
    return TrainedSegmenter(model, card.recipe, ReferenceRule.from_facts(facts["reference"]))


@dataclass(frozen=True, eq=False)
class SliceSegmenter(SubsetSegmenter):
    """A model bound to the cases of one cohort; it reads stored tokens where a case has them.

    A volume is segmented slice by slice. Scores, not labels, are resampled to the patient's grid and interpolated for
    planes that the recipe skips, so that the map is one volume. One case is held in memory at a time.
    """

    model: SegmentModel
    data: SegmentationData
    tokens: "StoredTokens | None" = None
    subsets: Subsets = "auto"

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.model.modalities

    @property
    def evaluates_subsets(self) -> bool:
        count = len(self.modalities)
        return count > 1 and (self.subsets == "all" or (self.subsets == "auto" and count <= MOST_SEQUENCES))

    @property
    def trained_model(self) -> TrainedSegmenter[SegmentModel]:
        return TrainedSegmenter.of(self.model, self.data)

    def segment(self, row: int) -> Volume:
        """Raises DataError if an image cannot be read, or the case has no modality that the model reads."""
        return self.segment_from(row, self.modalities)

    def segment_from(self, row: int, modalities: tuple[str, ...]) -> Volume:
        """Raises DataError if an image cannot be read, or the case has none of the modalities; UsageError for one that
        the model does not read."""
        return next(self.draw_subsets(row, [modalities])).mask

    def draw(self, row: int) -> DrawnMask:
        """Raises DataError as `segment`."""
        return next(self.draw_subsets(row, [self.modalities]))

    def draw_subsets(self, row: int, subsets: Sequence[tuple[str, ...]]) -> Iterator[DrawnMask]:
        """The label maps of `segment_from` for each of `subsets`, to the bit; every slice is encoded once."""
        view = ModalityView.of(self.data, self.modalities)
        chosen = [view.present(row, names) for names in subsets]
        used = np.any(chosen, axis=0)
        scores: list[list[np.ndarray]] = [[] for _ in chosen]
        for part in parts_of(self.data.count(row), AT_ONCE):
            maps = self._maps(view, row, part, used)
            for parts, present in zip(scores, chosen, strict=True):
                parts.append(self.model.scores_of_maps(maps, present))
        for parts in scores:
            yield self.data.draw(row, np.concatenate(parts), logarithms=True)

    def _maps(self, view: ModalityView, row: int, part: slice, used: np.ndarray) -> list[Tensor]:
        if self.tokens is not None and row in self.tokens.places:
            return self.model.maps_of_tokens(self.tokens, row, part)
        return self.model.maps(view.planes(row, part)[0], used)
