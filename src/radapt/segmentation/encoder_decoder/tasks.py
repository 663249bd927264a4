"""What the training loop is given: slices with their masks, on stored tokens or through the encoder."""

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
"""Slices that are answered at once: with more, a CPU's caches overflow."""

_DROPPED = 4096  # first slot of what is drawn for modalities, behind those of the augmentation

Batch = tuple[Tensor, Tensor, Tensor]
"""(what the slices look like, present bool (b, M), masks uint8 (b, H, W))"""


@dataclass(frozen=True, eq=False)
class Goal:
    """What is to be learned: slices of train, cases of val, and the loss.

    `modality_dropout` is the chance with which each modality of a slice is taken away, never the last one (Neverova et
    al. 2016): so that what stands in for a missing one is learned even where none is missing in training.
    """

    seen: ModalityView
    train: SliceIndex
    val: np.ndarray
    foreground: float = 0.0
    dice: float = 0.5
    weights: Tensor | None = None
    modality_dropout: float = 0.0

    def kept(self, present: Tensor, seeds: np.ndarray) -> Tensor:
        """Which of the modalities `present` (b, m) bool are left in training, drawn from a seed per slice."""
        count = present.shape[1]
        if count == 1 or not self.modality_dropout:
            return present
        chances = np.stack([uniform(seeds, _DROPPED + index) for index in range(count)], axis=1)
        left = present & torch.from_numpy(chances >= self.modality_dropout).to(present.device)
        return torch.where(left.any(1, keepdim=True), left, present)


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

    def judged(self, logits: Tensor, masks: Tensor) -> Tensor:
        return dice_ce(logits, masks.long(), weights=self.goal.weights, dice_share=self.goal.dice)

    def answers(self, row: int, part: slice) -> Tensor:
        """Class int64 (b, H, W) of some slices of a case."""
        device = next(self.module.parameters()).device
        plane = np.arange(part.start, part.stop)
        seen, present = self.read(np.full(len(plane), row), plane)
        return self.logits(seen.to(device), present.to(device)).argmax(1)

    @abc.abstractmethod
    def read(self, row: np.ndarray, plane: np.ndarray) -> tuple[Tensor, Tensor]:
        """What slices look like, and which modalities they have."""

    @abc.abstractmethod
    def logits(self, seen: Tensor, present: Tensor) -> Tensor:
        """(b, K + 1, H, W)"""


class TokenTask(SliceTask):
    """A head on stored tokens. Nothing is augmented: what an encoder says of a patch depends on the whole slice and on
    where the patch lies, so that turned or flipped tokens are not those of the turned or flipped slice."""

    def __init__(self, goal: Goal, head: SegmentationHead, tokens: StoredTokens, size: tuple[int, int]) -> None:
        super().__init__(goal)
        self.module: SegmentationHead = head
        self.tokens, self.canvas = tokens, size

    def read(self, row: np.ndarray, plane: np.ndarray) -> tuple[Tensor, Tensor]:
        return self.tokens.load(row, plane)

    def logits(self, seen: Tensor, present: Tensor) -> Tensor:
        found: Tensor = self.module(self.tokens.maps(seen), present, self.canvas)
        return found

    def loss(self, batch: Batch, seeds: np.ndarray) -> Tensor:
        rows, present, masks = batch
        return self.judged(self.logits(rows, self.goal.kept(present, seeds)), masks)


class ImageTask(SliceTask):
    """An encoder and a head on images, augmented alike in all modalities.

    The regime's learning rate is that of the encoder if it is trained, the head's is `head_rate` times it. With
    `layer_decay` the encoder's first layers learn more slowly.
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
        found = [self.goal.seen.planes(int(r), np.asarray([p])) for r, p in zip(row, plane, strict=True)]
        planes, present = [planes for planes, _ in found], [present for _, present in found]
        return torch.from_numpy(np.concatenate(planes)), torch.from_numpy(np.stack(present))

    def logits(self, seen: Tensor, present: Tensor) -> Tensor:
        found: Tensor = self.module(seen, present)
        return found

    def loss(self, batch: Batch, seeds: np.ndarray) -> Tensor:
        planes, present, masks = batch
        kept = self.goal.kept(present, seeds)
        if self.augmentation is None:
            return self.judged(self.logits(planes, kept), masks)
        draws = self.augmentation.draw(seeds)
        images, moved = self.augmentation.apply(planes.flatten(1, 2), draws, masks.long())
        return self.judged(self.logits(images.unflatten(1, planes.shape[1:3]), kept), masks if moved is None else moved)

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
