"""A trained U-Net with its plan: from the stored images of any patient to a label map in that patient's grid."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from radapt.errors import DataError
from radapt.images import Volume
from radapt.models.folder import SavedModel
from radapt.models.whole import load_whole
from radapt.networks import UNetPlan, build_unet
from radapt.protocols.fitted import DrawnMask, Segmenter
from radapt.segmentation.data import ReferenceRule, SegmentationData
from radapt.segmentation.drawn import MaskCollector
from radapt.segmentation.trained import SegmentationNetworkModel, TrainedSegmenter
from radapt.segmentation.unet.grids import GridCrop, interpolated
from radapt.segmentation.unet.volumes import gridded, presence, stacked

if TYPE_CHECKING:
    from torch import Tensor, nn

METHOD = "unet"

OVERLAP = 0.5
"""Windows overlap by half a patch (Isensee et al. 2021)."""

SIGMA = 0.125
"""Predictions are weighted by a Gaussian of this share of the patch, most at its centre (nnU-Net)."""

PLANES_BYTES = 256 << 20
"""Memory for the scores of planes that go through the network together."""


@dataclass(frozen=True, eq=False)
class VolumeModel(SegmentationNetworkModel):
    """A network, its plan and what its classes mean: class k is the k-th of `labels` {value: name}, 0 background.

    `colours` is 1 or 3 for each of `modalities`. `mirrors` are the axes (of the patch) over whose flips predictions
    are averaged.
    """

    network: "nn.Module"
    plan: UNetPlan
    labels: Mapping[int, str]
    modalities: tuple[str, ...]
    colours: tuple[int, ...]
    mirrors: tuple[int, ...] = ()
    precision: Literal["float32", "bfloat16"] = "float32"

    def segment(self, volumes: Mapping[str, Volume], grid: Volume) -> DrawnMask:
        """The mask of a patient, values of `labels`, on `grid`, in which all `volumes` lie.

        Modalities that the model does not read are ignored. Raises DataError if it reads none of them, or the scores
        are not finite.
        """
        given = [volumes.get(name) for name in self.modalities]
        if all(volume is None for volume in given):
            readable, available = ", ".join(self.modalities), ", ".join(volumes) or "no image"
            raise DataError(f"This model reads {readable}; the case has {available}.")
        turned = grid.to_ras()
        images = stacked(given, self.colours, turned.array.shape)
        seen, frame = gridded(images, presence(given, self.colours), turned.spacing_mm, self.plan)
        return self.draw(self.scores(seen), frame, grid)

    def draw(self, scores: "Tensor", frame: GridCrop, grid: Volume) -> DrawnMask:
        """The mask on `grid` of scores (K + 1, x, y, z) over a frame: interpolated, then argmax."""
        classes = len(self.labels) + 1
        collector = MaskCollector(grid, classes)
        across, *others = frame.inside
        slabs = interpolated(lambda low, high: scores[:, low:high].float(), frame.size, frame.extent, classes)
        for start, slab in slabs:
            first = across.start + start
            collector.add((slice(first, first + slab.shape[1]), *others), slab, slab)
        return collector.mask(self.labels)

    def scores(self, images: np.ndarray) -> "Tensor":
        """Probabilities float16 (K + 1, x, y, z) of images (n, C, *S) as `gridded` gives them, on the CPU."""
        import torch

        classes = len(self.labels) + 1
        step = max(1, PLANES_BYTES // (4 * classes * images[0, 0].size)) if self.plan.dims == 2 else 1
        parts = []
        with torch.no_grad():
            for start in range(0, len(images), step):
                given = np.ascontiguousarray(images[start : start + step], dtype=np.float32)
                logits = self._windows(torch.from_numpy(given)).float()
                if not bool(torch.isfinite(logits).all()):
                    raise DataError("The model gave scores that are not finite; train it again, with float32.")
                parts.append(torch.softmax(logits, dim=1).half())
        scores = torch.cat(parts)
        return scores[0] if self.plan.dims == 3 else scores.movedim(0, self.plan.axis + 1)

    def _windows(self, images: "Tensor") -> "Tensor":
        """Logits float32 (n, K + 1, *S), of overlapping windows and their mirror images, weighted and averaged."""
        import torch
        from monai.inferers import sliding_window_inference

        device = next(self.network.parameters()).device
        flips = [axes for count in range(len(self.mirrors) + 1) for axes in combinations(self.mirrors, count)]

        def predict(windows: "Tensor") -> "Tensor":
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"):
                total = self.network(windows).float()
                for axes in flips[1:]:
                    places = [axis + 2 for axis in axes]
                    total = total + self.network(windows.flip(places)).float().flip(places)
            return total / len(flips)

        return sliding_window_inference(
            images, roi_size=self.plan.patch, sw_batch_size=self.plan.batch, predictor=predict, overlap=OVERLAP,
            mode="gaussian", sigma_scale=SIGMA, sw_device=device, device="cpu",
        )  # fmt: skip

    @property
    def networks(self) -> "Mapping[str, nn.Module]":
        return {"network": self.network}

    @property
    def tensors(self) -> "Mapping[str, Tensor]":
        return self.network.state_dict()

    @property
    def facts(self) -> dict[str, Any]:
        return {"plan": self.plan.facts(), "colours": self.colours, "mirrors": self.mirrors}

    def on(self, data: SegmentationData) -> "VolumeSegmenter":
        return VolumeSegmenter(self, data)


def restore_unet(saved: SavedModel) -> TrainedSegmenter[VolumeModel]:
    """The model in a folder. Raises UsageError if its weights belong to a different network."""
    card, facts = saved.card, saved.card.facts
    plan, colours, mirrors = UNetPlan.of(facts["plan"]), tuple(facts["colours"]), tuple(facts["mirrors"])
    network = build_unet(plan, sum(colours), len(card.mask_labels) + 1)
    load_whole(saved, network)
    model = VolumeModel(network, plan, card.mask_labels, card.modalities, colours, mirrors, card.precision)
    return TrainedSegmenter(model, card.recipe, ReferenceRule.from_facts(facts["reference"]))


@dataclass(frozen=True, eq=False)
class VolumeSegmenter(Segmenter):
    """A model bound to the cases of one cohort; it reads their stored images."""

    model: VolumeModel
    data: SegmentationData

    @property
    def trained_model(self) -> TrainedSegmenter[VolumeModel]:
        return TrainedSegmenter.of(self.model, self.data)

    def segment(self, row: int) -> Volume:
        """Raises DataError if an image cannot be read, or the case has no modality that the model reads."""
        return self.draw(row).mask

    def draw(self, row: int) -> DrawnMask:
        """Raises DataError as `segment`."""
        volumes = zip(self.data.modalities, self.data.volumes(row), strict=True)
        return self.model.segment({name: volume for name, volume in volumes if volume is not None}, self.data.grid(row))
