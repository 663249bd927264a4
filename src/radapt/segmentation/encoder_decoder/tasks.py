"""Training tasks: slices with their masks, from stored tokens or through the encoder."""

import abc
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from radapt.cases.sampling import SliceIndex
from radapt.networks import layer_of, train_mode
from radapt.networks.decoders.fusion import SegmentationHead
from radapt.segmentation.encoder_decoder.network import SegmentationNetwork
from radapt.segmentation.encoder_decoder.stored_tokens import StoredTokens
from radapt.segmentation.modality_view import CanvasDice, ModalityView, parts_of
from radapt.training import Augmentation, Group, Task, parameter_groups
from radapt.training.seeds import uniform
from radapt.training.segmentation_loss import dice_ce

AT_ONCE = 16
"""Slices per batch at inference: with more, a CPU's caches overflow."""

_DROPPED = 4096  # first random slot of modality dropout, after those of the augmentation

Batch = tuple[Tensor, Tensor, Tensor]
"""(slices as planes or tokens, present bool (b, M), masks uint8 (b, H, W))"""


@dataclass(frozen=True, eq=False)
class Goal:
    """The training slices, validation cases and loss of a task.

    `modality_dropout` is the probability with which each modality of a slice is dropped, never the last one (Neverova
    et al. 2016), so that the vector of a missing modality is learned even if none is missing in training.
    """

    seen: ModalityView
    train: SliceIndex
    val: np.ndarray
    foreground: float = 0.0
    dice: float = 0.5
    weights: Tensor | None = None
    modality_dropout: float = 0.0

    def after_dropout(self, present: Tensor, seeds: np.ndarray) -> Tensor:
        """The modalities of `present` (b, m) bool that remain after dropout, drawn from a seed per slice."""
        count = present.shape[1]
        if count == 1 or not self.modality_dropout:
            return present
        draws = np.stack([uniform(seeds, _DROPPED + index) for index in range(count)], axis=1)
        remaining = present & torch.from_numpy(draws >= self.modality_dropout).to(present.device)
        return torch.where(remaining.any(1, keepdim=True), remaining, present)


class SliceTask(Task, abc.ABC):
    """Samples are slices of training cases; the score is the mean Dice over val cases, on the canvas."""

    def __init__(self, goal: Goal) -> None:
        self.goal = goal
        self.size = len(goal.train)

    def order(self, rng: np.random.Generator) -> np.ndarray:
        return self.goal.train.order(self.goal.foreground, rng)

    def name(self, index: int) -> str:
        train = self.goal.train
        return f"{self.goal.seen.case(int(train.row[index]))} (slice {train.plane[index] + 1})"

    def load(self, indices: np.ndarray, seeds: np.ndarray) -> Batch:
        row, plane = self.goal.train.row[indices], self.goal.train.plane[indices]
        masks = [self.goal.seen.data.mask_planes(int(r), np.asarray([p])) for r, p in zip(row, plane, strict=True)]
        return (*self.read(row, plane), torch.from_numpy(np.concatenate(masks)))

    def score(self) -> float:
        data = self.goal.seen.data
        dice = CanvasDice(data.classes)
        for row in map(int, self.goal.val):
            for part in parts_of(data.count(row), AT_ONCE):
                answer = self.answers(row, part)
                truth = torch.from_numpy(np.array(data.mask_planes(row, part), np.int64))
                dice.add(row, truth.to(answer.device), answer)
        return dice.mean

    def logit_loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """() the loss of logits (b, K + 1, H, W) against masks (b, H, W)."""
        return dice_ce(logits, masks.long(), weights=self.goal.weights, dice_share=self.goal.dice)

    def answers(self, row: int, part: slice) -> Tensor:
        """Class int64 (b, H, W) of some slices of a case."""
        device = next(self.module.parameters()).device
        plane = np.arange(part.start, part.stop)
        seen, present = self.read(np.full(len(plane), row), plane)
        return self.logits(seen.to(device), present.to(device)).argmax(1)

    @abc.abstractmethod
    def read(self, row: np.ndarray, plane: np.ndarray) -> tuple[Tensor, Tensor]:
        """Slices as planes or tokens, and which modalities they have, bool (b, M)."""

    @abc.abstractmethod
    def logits(self, seen: Tensor, present: Tensor) -> Tensor:
        """(b, K + 1, H, W)"""


class TokenTask(SliceTask):
    """A head on stored tokens, without augmentation: the token of a patch depends on the whole slice and on its
    position, so rotated or flipped tokens are not those of the rotated or flipped slice."""

    def __init__(self, goal: Goal, head: SegmentationHead, tokens: StoredTokens, size: tuple[int, int]) -> None:
        super().__init__(goal)
        self.module: SegmentationHead = head
        self.tokens, self.canvas = tokens, size

    def read(self, row: np.ndarray, plane: np.ndarray) -> tuple[Tensor, Tensor]:
        return self.tokens.load(row, plane)

    def logits(self, seen: Tensor, present: Tensor) -> Tensor:
        logits: Tensor = self.module(self.tokens.maps(seen), present, self.canvas)
        return logits

    def loss(self, batch: Batch, seeds: np.ndarray) -> Tensor:
        rows, present, masks = batch
        return self.logit_loss(self.logits(rows, self.goal.after_dropout(present, seeds)), masks)


class ImageTask(SliceTask):
    """An encoder and a head on images, augmented alike in all modalities.

    The learning rate of the `TrainConfig` is that of the encoder; the head has `head_rate` times it. `layer_decay` is
    the layer-wise learning-rate decay of the encoder.
    """

    def __init__(
        self,
        goal: Goal,
        network: SegmentationNetwork,
        augmentation: Augmentation | None,
        head_rate: float = 1.0,
        layer_decay: float | None = None,
    ) -> None:
        super().__init__(goal)
        self.module: SegmentationNetwork = network
        self.augmentation, self.head_rate, self.layer_decay = augmentation, head_rate, layer_decay

    def read(self, row: np.ndarray, plane: np.ndarray) -> tuple[Tensor, Tensor]:
        stacks = [self.goal.seen.planes(int(r), np.asarray([p])) for r, p in zip(row, plane, strict=True)]
        planes, present = [planes for planes, _ in stacks], [present for _, present in stacks]
        return torch.from_numpy(np.concatenate(planes)), torch.from_numpy(np.stack(present))

    def logits(self, seen: Tensor, present: Tensor) -> Tensor:
        logits: Tensor = self.module(seen, present)
        return logits

    def loss(self, batch: Batch, seeds: np.ndarray) -> Tensor:
        planes, present, masks = batch
        remaining = self.goal.after_dropout(present, seeds)
        if self.augmentation is None:
            return self.logit_loss(self.logits(planes, remaining), masks)
        draws = self.augmentation.draw(seeds)
        images, moved = self.augmentation.apply(planes.flatten(1, 2), draws, masks.long())
        logits = self.logits(images.unflatten(1, planes.shape[1:3]), remaining)
        return self.logit_loss(logits, masks if moved is None else moved)

    def groups(self) -> list[Group]:
        encoder = self.module.encoder
        if self.layer_decay is None:
            inner = parameter_groups(encoder)
        else:
            layer, last = layer_of(encoder)
            inner = parameter_groups(encoder, layer_of=layer, layers=last, layer_decay=self.layer_decay)
        outer = parameter_groups(self.module.head)
        return [*inner, *(Group(group.parameters, self.head_rate, group.decay) for group in outer)]

    def train_mode(self) -> None:
        self.module.train()
        train_mode(self.module.encoder)
