"""The training task of a U-Net: patches, deep supervision, and Dice on val."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from radapt.cohorts.cohort import Cohort
from radapt.images import Volume
from radapt.networks import UNet
from radapt.segmentation.criterion import mean_dice
from radapt.segmentation.unet.model import VolumeModel
from radapt.segmentation.unet.patches import corner, cut, kept_modalities
from radapt.segmentation.unet.prepared import PreparedCases
from radapt.training import Augmentation, Task
from radapt.training.segmentation_loss import dice_ce

MARGIN = 1.2
"""Patches are enlarged by this factor and cropped after augmentation, so that rotation moves in real surroundings
instead of zeros (as in nnU-Net)."""


@dataclass(frozen=True, eq=False)
class Sampling:
    """How patches are sampled: the fraction that is centred inside a label, the probability of modality dropout, the
    augmentation, and the number of samples per epoch."""

    inside: float
    lost: float
    augmentation: Augmentation | None
    epoch: int


class UNetTask(Task):
    """Samples are training cases, each giving one patch; `prepared` are train and val cases by the model's plan."""

    def __init__(
        self,
        model: VolumeModel,
        prepared: PreparedCases,
        cohort: Cohort,
        train: np.ndarray,
        val: np.ndarray,
        sampling: Sampling,
    ) -> None:
        self.model, self.prepared, self.cohort = model, prepared, cohort
        self.train, self.val, self.sampling = train, val, sampling
        self.module: UNet = model.network  # type: ignore[assignment]
        self.size = len(train)

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Every case equally often, give or take one, in random order."""
        rounds = -(-self.sampling.epoch // self.size)
        return np.concatenate([rng.permutation(self.size) for _ in range(rounds)])[: self.sampling.epoch]

    def load(self, indices: np.ndarray, seeds: np.ndarray) -> dict[str, Tensor]:
        """Images float32 (b, C, *S), classes int64 (b, *S), over the enlarged patch."""
        plan = self.model.plan
        sides = [
            int(np.ceil(side * MARGIN)) if self.sampling.augmentation and side > 1 else side for side in plan.patch
        ]
        images = np.zeros((len(indices), len(plan.scalings), *sides), dtype=np.float32)
        labels = np.zeros((len(indices), *sides), dtype=np.int64)
        present = np.zeros((len(indices), len(self.model.modalities)), dtype=bool)
        firsts = np.cumsum([0, *self.model.colours[:-1]])
        for place, (index, seed) in enumerate(zip(indices, seeds, strict=True)):
            case = self.prepared.open(int(self.train[index]))
            plane, *first = corner(case, seed, plan.patch, self.sampling.inside)
            start = [begin - (wide - side) // 2 for begin, wide, side in zip(first, sides, plan.patch, strict=True)]
            images[place] = cut(case.images[plane], start, sides)
            labels[place] = cut(case.labels[plane], start, sides)
            present[place] = case.present[firsts]
        kept = np.repeat(kept_modalities(present, seeds, self.sampling.lost), self.model.colours, axis=1)
        images *= kept.reshape(*kept.shape, *(1,) * plan.dims)
        return {"images": torch.from_numpy(images), "labels": torch.from_numpy(labels)}

    def loss(self, batch: Mapping[str, Tensor], seeds: np.ndarray) -> Tensor:
        """Dice + cross-entropy at every supervised resolution, each with half the weight of the next finer one."""
        images, labels = batch["images"], batch["labels"]
        if self.sampling.augmentation is not None:
            draws = self.sampling.augmentation.draw(seeds)
            images, moved = self.sampling.augmentation.apply(images, draws, labels)
            labels = labels if moved is None else moved
        patch = self.model.plan.patch
        maps = self.module(middle(images, patch))
        return supervised(maps, middle(labels, patch))

    def score(self) -> float:
        """`mean_dice` of the val cases, in their own grids; NaN without val."""
        # The loop's autocast would interpolate probabilities in half precision; the network enables its own.
        with torch.autocast("cpu", enabled=False):
            return mean_dice(self.prepared.cases.data, self.val, self._segment)

    def name(self, index: int) -> str:
        return f"case {self.cohort.cases[int(self.train[index])].case!r}"

    def _segment(self, row: int) -> Volume:
        case, grid = self.prepared.open(row), self.prepared.cases.data.grid(row)
        return self.model.draw(self.model.scores(case.images), case.frame, grid).mask


def supervised(maps: Sequence[Tensor], labels: Tensor) -> Tensor:
    """() loss of logits (B, K, *S / 2^i), the finest first, against labels (B, *S): weights 1, 1/2, 1/4, … that sum to
    one. The target of a coarse voxel is the label of the voxel in its middle."""
    weights = np.array([0.5**level for level in range(len(maps))])
    total = torch.zeros((), device=labels.device)
    for logits, weight in zip(maps, weights / weights.sum(), strict=True):
        steps = [full // part for full, part in zip(labels.shape[1:], logits.shape[2:], strict=True)]
        target = labels[(slice(None), *(slice(step // 2, None, step) for step in steps))]
        total = total + float(weight) * dice_ce(logits, target)
    return total


def middle(values: Tensor, patch: Sequence[int]) -> Tensor:
    """The patch in the middle of the last axes."""
    places = [
        slice((wide - side) // 2, (wide - side) // 2 + side)
        for wide, side in zip(values.shape[-len(patch) :], patch, strict=True)
    ]
    index: tuple[Any, ...] = (..., *places)
    return values[index]
