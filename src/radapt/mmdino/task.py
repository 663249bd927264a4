"""One step of the adaptation: what a batch is, and what is learned from it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from radapt.backbones.multimodal_vit.crops import Crops, Encoded
from radapt.mmdino.centring import Centre, Centring, Sinkhorn
from radapt.mmdino.collapse_monitor import CollapseMonitor
from radapt.mmdino.crops import CropDraws, MultiCrop
from radapt.mmdino.heads import ProjectionHead
from radapt.mmdino.label_encoding import adjusted
from radapt.mmdino.lesion_attention import Marks, mark_loss, mark_targets
from radapt.mmdino.loss_meter import LossMeter
from radapt.mmdino.losses import dino_loss, ibot_loss, koleo
from radapt.mmdino.masking import Masking, kept_modalities
from radapt.mmdino.options import Options
from radapt.mmdino.param_groups import adaptation_groups
from radapt.mmdino.pseudo_labels import PseudoLabels, consistency_loss
from radapt.mmdino.schedules import linear, momentum, teacher_temperature
from radapt.mmdino.slices import SliceLoader
from radapt.mmdino.student import SampleLabels, StudentModel
from radapt.mmdino.supervision import prototype_loss, share_weights, supervised_loss
from radapt.mmdino.teacher import Teacher
from radapt.training import Group, Health, Task
from radapt.training.seeds import mixed

_SMALL, _LARGE = np.int64(1 << 20), np.int64(1 << 21)  # apart from what the feed and the crops draw from the same seeds


FORGETTING = 10.0
"""How many memories of the teacher a training lasts at least: with a momentum of m it remembers 1 / (1 − m) steps, and
as m rises to 1 along a cosine, exp(−FORGETTING / 2) of its start is left at the end, less than 1 %."""

CONSISTENCY_RAMP = 0.2
"""Share of the steps in which the weight of agreeing with the teacher's classes rises from 0: at first it knows none
(as in Laine and Aila 2017)."""

PARTS = ("dino", "ibot", "koleo", "lesion", "supervised", "consistency")
"""Of the loss, times their weights, as records name them."""


@dataclass(frozen=True, eq=False)
class SampleBatch:
    """b samples with all that was drawn for them; crops are crop-major, crop k of sample s at k · b + s."""

    planes: Tensor  # (b, M, C, H, W) uint8
    labels: Tensor | None  # (b,) int64, -1 unlabelled; or (b, F) float32, NaN unknown
    draws: CropDraws
    present: np.ndarray  # (b, M) bool
    hidden: np.ndarray  # (G·b, M, h, w) bool: patches the student must not see
    kept: np.ndarray  # (S·b, M) bool: modalities of the small crops
    marks: Tensor | None  # (b, H, W) uint8: what the mask marks, 0 nothing
    masked: Tensor | None  # (b,) bool: whether there is a mask


@dataclass(frozen=True, eq=False)
class _Views:
    """The crops of a batch on the device."""

    large: Tensor  # (G·b, M, C, s, s)
    small: Tensor  # (S·b, M, C, l, l)
    present: Tensor  # (G·b, M) bool, on the CPU
    hidden: Tensor  # (G·b, M, h, w) bool, on the CPU
    kept: Tensor  # (S·b, M) bool, on the CPU


@dataclass(frozen=True, eq=False)
class _TeacherTargets:
    """What the teacher says of the large crops: targets, without gradients."""

    crops: Tensor  # (G, b, K): prototypes of the CLS tokens
    patches: Tensor  # (n, K): prototypes of the patches hidden from the student
    answers: tuple[Tensor, Tensor] | None  # targets (b, Q, A) and weights (b, Q) of classes


class _Module(nn.Module):
    """All that changes: the student, its teacher, and what they remember."""

    def __init__(self, student: StudentModel, centre: Centring | None, patch_centre: Centring | None,
                 pseudo: PseudoLabels | None) -> None:  # fmt: skip
        super().__init__()
        self.student, self.teacher = student, Teacher(student)
        self.centre, self.patch_centre, self.pseudo = centre, patch_centre, pseudo

    @property
    def memories(self) -> list[Centring | PseudoLabels]:
        """What looks at samples of earlier steps."""
        return [each for each in (self.centre, self.patch_centre, self.pseudo) if each is not None]


class AdaptTask(Task):
    """Adapting a learner to the cases at `rows` of a feed: one random plane of each, in every epoch.

    `targets` are the labels of the cohort as it gives them, (N,) or (N, F), with those blanked that may not be seen.
    `labelled_share` and `masked_share` are the shares of `rows` with a label and with a mask, `rates` the shares of
    crops that each kind of mark covers.

    A sample is a case. DINO, iBOT, KoLeo, the labels there are and agreement with the teacher's classes are added up
    with the weights of the options; a part of weight 0 is not computed.
    """

    module: _Module

    def __init__(
        self,
        learner: StudentModel,
        feed: SliceLoader,
        rows: np.ndarray,
        targets: np.ndarray,
        options: Options,
        labels: SampleLabels | None,
        labelled_share: float,
        masked_share: float,
        rates: Sequence[float] = (),
    ) -> None:
        self.feed, self.rows, self.targets, self.options = feed, rows, targets, options
        self.labels, self.labelled_share = labels, labelled_share
        self.masked_share = masked_share if options.lesion_loss_weight else 0.0
        self.rates = torch.tensor(rates)
        self.size = len(rows)
        self.crops = MultiCrop(
            kind=feed.cohort.kind, global_size=options.global_size, global_scale=options.global_scale,
            globals=options.global_crops, local_size=options.local_size, local_scale=options.local_scale,
            locals=options.local_crops, strength=options.intensity_augmentation,
        )  # fmt: skip
        self.masking = Masking(
            options.block_mask_share, options.block_mask_ratio, options.masked_modalities, options.modality_mask_share
        )
        pseudo = PseudoLabels(labels.shares, labels.kind) if options.consistency and labels else None
        self.module = _Module(learner, self._centring(learner.head, options.dino),
                              self._centring(learner.patch_head, options.ibot), pseudo)  # fmt: skip
        self._temperature, self._trust = options.teacher_temperature[0], 0.0
        self._parts = LossMeter(PARTS)
        self.watch = CollapseMonitor(feed, rows, targets, options)
        steps = options.steps or options.epochs * -(-self.size // options.batch)
        self.check_every = self.watch.every(steps)

    def load(self, indices: np.ndarray, seeds: np.ndarray) -> SampleBatch:
        rows, options = self.rows[indices], self.options
        sample = self.feed.sample(rows, seeds)
        present = sample.present.numpy()
        grid = self.module.student.encoder.grid(options.global_size, options.global_size)
        large = np.concatenate([mixed(seeds, _LARGE + np.int64(k)) for k in range(options.global_crops)])
        hidden = self.masking.draw(large, np.tile(present, (options.global_crops, 1)), grid)
        kept = np.tile(present, (options.local_crops, 1))
        if options.local_crops:
            small = np.concatenate([mixed(seeds, _SMALL + np.int64(k)) for k in range(options.local_crops)])
            kept = kept_modalities(small, kept, options.modality_dropout)
        known = None if self.labels is None else _as_tensor(self.targets[rows])
        marks = masked = None
        if self.masked_share:
            marks, masked = map(torch.from_numpy, self.feed.marked_planes(rows, sample.plane.numpy()))
        draws = self.crops.draw(seeds, sample.boxes)
        return SampleBatch(sample.planes, known, draws, present, hidden, kept, marks, masked)

    def loss(self, batch: SampleBatch, seeds: np.ndarray) -> Tensor:
        options, student = self.options, self.module.student
        views = self._views(batch)
        taught = self._taught(views, batch)
        found = student.encoder.encode(self._seen(views))
        count = len(batch.present)
        cls = torch.cat([each.cls for each in found]).unflatten(0, (-1, count))  # (G + S, b, D)
        parts: dict[str, Tensor] = {}
        if options.dino and student.head is not None and taught is not None:
            # The student does not see all of a crop that the teacher sees, but is not asked about the same crop: that
            # is what iBOT is for.
            parts["dino"] = options.dino * dino_loss(student.head(cls), taught.crops, options.student_temperature)
        if options.ibot and student.patch_head is not None and taught is not None:
            tokens, places = found[0].of_hidden()
            owner = places // math.prod(found[0].shape[1:])
            parts["ibot"] = options.ibot * ibot_loss(
                student.patch_head(tokens), taught.patches, owner, len(views.large), options.student_temperature
            )
        if options.koleo:
            parts["koleo"] = options.koleo * koleo(cls[: options.global_crops])
        read = student.reader(found[0])
        if batch.marks is not None and batch.masked is not None and read.marks is not None:
            parts["lesion"] = options.lesion_loss_weight * self._marked(batch, read.marks)
        if self.labels is not None and batch.labels is not None:
            vectors = [read.vectors, *(student.reader(each).vectors for each in found[1:] if self._answers_all)]
            parts |= self._supervised(torch.cat(vectors).unflatten(0, (-1, count)), cls, batch.labels, taught)
        self._parts.add(parts, count)
        return torch.stack(list(parts.values())).sum()

    def score(self) -> float:
        """Undefined: the schedules end where they end, and val is left for choosing between adaptations."""
        return float("nan")

    def name(self, index: int) -> str:
        return self.feed.cohort.cases[self.rows[index]].case

    def groups(self) -> list[Group]:
        student, options = self.module.student, self.options
        return adaptation_groups(
            self.module, student.encoder.vit, last=student.last_layers, layer_decay=options.layer_decay,
            patch_scale=options.patch_lr_scale, frozen=options.frozen,
        )  # fmt: skip

    def before_step(self, step: int, total: int) -> None:
        self._trust = linear(step, total, 0.0, self.options.consistency, share=CONSISTENCY_RAMP)
        self._temperature = teacher_temperature(
            step, total, *self.options.teacher_temperature, share=self.options.teacher_warmup
        )
        for memory in (*self.module.memories, self._parts):
            memory.start()

    def after_step(self, step: int, total: int) -> None:
        start = min(self.options.momentum, max(0.0, 1 - FORGETTING / total))
        self.module.teacher.update(self.module.student, momentum(step, total, start))
        for memory in (*self.module.memories, self._parts):
            memory.move()

    def check(self, step: int, total: int) -> Health:
        module, options = self.module, self.options
        temperature = teacher_temperature(step, total, *options.teacher_temperature, share=options.teacher_warmup)
        teacher = cast(StudentModel, module.teacher.network)
        return self.watch.health(module.student, teacher, module.centre, temperature, step, total)

    def state(self) -> dict[str, Tensor]:
        teacher = {f"teacher.{name}": each for name, each in self.module.teacher.state().items()}
        return teacher | self.watch.state() | {"parts": self._parts.sums}

    def records(self) -> dict[str, float]:
        return self._parts.means(self.module.student.encoder.mask_token.device)

    def _centring(self, head: ProjectionHead | None, weight: float) -> Centring | None:
        if head is None or not weight:
            return None
        prototypes = head.last.logit_scale.numel()
        return Sinkhorn(prototypes) if self.options.centring == "sinkhorn" else Centre(prototypes)

    @property
    def _answers_all(self) -> bool:
        """Whether small crops answer with classes, too."""
        return self.options.supervised_crops == "all" and self.options.supervision == "classifier"

    def _seen(self, views: _Views) -> list[Crops]:
        """What the student is shown; of which patches it shall tell, as few as there is a use for."""
        reads = self.module.student.reader.weight is not None
        large = Crops(views.large, views.present, views.hidden, None if reads else views.hidden)
        if not self.options.local_crops:
            return [large]
        encoder, size = self.module.student.encoder, self.options.local_size
        none = torch.zeros(*views.kept.shape, *encoder.grid(size, size), dtype=torch.bool)
        return [large, Crops(views.small, views.kept, None, None if reads and self._answers_all else none)]

    def _views(self, batch: SampleBatch) -> _Views:
        large, small = self.crops.apply(batch.planes, batch.draws)
        present = np.tile(batch.present, (self.options.global_crops, 1))
        return _Views(large, small, *map(torch.from_numpy, (present, batch.hidden, batch.kept)))

    @torch.no_grad()
    def _taught(self, views: _Views, batch: SampleBatch) -> _TeacherTargets | None:
        """The teacher sees all patches of all modalities there are."""
        module = self.module
        if not module.memories:
            return None
        teacher = cast(StudentModel, module.teacher.network)
        reads = teacher.reader.weight is not None and module.pseudo is not None
        found = teacher.encoder(Crops(views.large, views.present, None, None if reads else views.hidden))
        crops = patches = found.cls[:0]
        if module.centre is not None and teacher.head is not None:
            logits = teacher.head(found.cls.unflatten(0, (-1, len(batch.present))))  # (G, b, K)
            crops = module.centre.probabilities(logits, self._temperature)
            module.centre.collect(logits)
        if module.patch_centre is not None and teacher.patch_head is not None:
            tokens = found.tokens
            if reads:  # all patches, of which those that the student cannot see are asked for
                tokens = tokens[views.hidden.flatten().to(tokens.device)[found.index]]
            logits = teacher.patch_head(tokens)  # (n, K)
            patches = module.patch_centre.probabilities(logits, self._temperature)
            module.patch_centre.collect(logits)
        return _TeacherTargets(crops, patches, self._answers(teacher, found, batch))

    def _answers(self, teacher: StudentModel, found: Encoded, batch: SampleBatch) -> tuple[Tensor, Tensor] | None:
        pseudo, labels = self.module.pseudo, self.labels
        if pseudo is None or labels is None or teacher.classifier is None:
            return None
        logits = teacher.classifier(teacher.reader(found).vectors).unflatten(0, (-1, len(batch.present)))
        logits = adjusted(logits.mean(0), labels.shares, labels.kind)  # (G, b, outputs) -> (b, outputs)
        answers: tuple[Tensor, Tensor] = pseudo(logits, batch.labels)
        pseudo.collect(logits)
        return answers

    def _marked(self, batch: SampleBatch, found: Marks) -> Tensor:
        """The loss on what masks mark in the large crops."""
        device = found.logits.device
        kinds = torch.arange(1, len(self.rates) + 1, device=device).view(1, -1, 1, 1)
        maps = (batch.marks[:, None] == kinds).float()  # type: ignore[index]  # (b, H, W) -> (b, L, H, W)
        targets = mark_targets(self.crops.placed(maps, batch.draws), (found.seen.shape[1], found.seen.shape[2]))
        known = batch.masked.repeat(self.options.global_crops)  # type: ignore[union-attr]
        return mark_loss(found, targets, known, self.rates.to(device), self.masked_share)

    def _supervised(
        self, vectors: Tensor, cls: Tensor, known: Tensor, taught: _TeacherTargets | None
    ) -> dict[str, Tensor]:
        """The losses on labels and on the teacher's classes, of vectors (G or G + S, b, W) and CLS tokens alike."""
        options, labels, student = self.options, self.labels, self.module.student
        if labels is None or options.supervision == "none":
            return {}
        if student.classifier is None:
            cls = cls if options.supervised_crops == "all" else cls[: options.global_crops]
            weights = share_weights(labels.shares) if labels.kind == "classes" else None
            loss = prototype_loss(
                cast(ProjectionHead, student.head)(cls), known, weights=weights,
                temperature=options.student_temperature, smoothing=options.label_smoothing,
            )  # fmt: skip
            return {"supervised": options.supervised * loss}
        logits = adjusted(student.classifier(vectors), labels.shares, labels.kind)
        loss = supervised_loss(logits, known, smoothing=options.label_smoothing, share=self.labelled_share)
        parts = {"supervised": options.supervised * loss}
        if taught is not None and taught.answers is not None:
            parts["consistency"] = self._trust * consistency_loss(logits, *taught.answers, labels.kind)
        return parts


def _as_tensor(labels: np.ndarray) -> Tensor:
    return torch.from_numpy(labels.astype(np.int64 if labels.ndim == 1 else np.float32))
