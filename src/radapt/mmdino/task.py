"""The adaptation as a training task: what a batch holds, and the losses of one step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from radapt.backbones.multimodal_vit.inputs import Crops, Encoded
from radapt.mmdino.centring import Centre, Centring, Sinkhorn
from radapt.mmdino.collapse_monitor import CollapseMonitor
from radapt.mmdino.crops import CropDraws, MultiCrop
from radapt.mmdino.heads import ProjectionHead
from radapt.mmdino.label_encoding import adjusted
from radapt.mmdino.lesion_attention import LesionMaps, lesion_loss, lesion_targets
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

_SMALL, _LARGE = np.int64(1 << 20), np.int64(1 << 21)  # streams apart from those of loader and crops, same seeds


FORGETTING = 10.0
"""Least number of memory lengths in a training: a momentum of m averages over 1 / (1 − m) steps, and as m rises to 1
along a cosine, exp(−FORGETTING / 2) of the initial weights is left at the end, less than 1 %."""

CONSISTENCY_RAMP = 0.2
"""Share of the steps in which the weight of the consistency loss rises from 0: at first the teacher knows no classes
(as in Laine and Aila 2017)."""

PARTS = ("dino", "ibot", "koleo", "lesion", "supervised", "consistency")
"""Names of the parts of the loss in the records, each times its weight."""


@dataclass(frozen=True, eq=False)
class SampleBatch:
    """b samples with everything that was drawn for them; crops are crop-major, crop k of sample s at k · b + s."""

    planes: Tensor  # (b, M, C, H, W) uint8
    labels: Tensor | None  # (b,) int64, -1 unlabelled; or (b, F) float32, NaN unknown
    draws: CropDraws
    present: np.ndarray  # (b, M) bool
    hidden: np.ndarray  # (G·b, M, h, w) bool: masked patches of the student's large crops
    small_present: np.ndarray  # (S·b, M) bool: modalities of the small crops, some dropped
    lesion_maps: Tensor | None  # (b, H, W) uint8: number of the lesion label, from 1; 0 nothing
    has_mask: Tensor | None  # (b,) bool


@dataclass(frozen=True, eq=False)
class _Views:
    """The crops of a batch on the device."""

    large: Tensor  # (G·b, M, C, s, s)
    small: Tensor  # (S·b, M, C, l, l)
    present: Tensor  # (G·b, M) bool, on the CPU
    hidden: Tensor  # (G·b, M, h, w) bool, on the CPU
    small_present: Tensor  # (S·b, M) bool, on the CPU


@dataclass(frozen=True, eq=False)
class TeacherTargets:
    """The teacher's outputs for the large crops, without gradients."""

    crops: Tensor  # (G, b, K): probabilities of prototypes, from the CLS tokens
    patches: Tensor  # (n, K): probabilities of prototypes, of the patches masked from the student
    classes: tuple[Tensor, Tensor] | None  # pseudo-labels (b, Q, A) and their weights (b, Q)


class _Module(nn.Module):
    """Everything that training changes: the student, its teacher, and the statistics of earlier steps."""

    def __init__(self, student: StudentModel, centre: Centring | None, patch_centre: Centring | None,
                 pseudo: PseudoLabels | None) -> None:  # fmt: skip
        super().__init__()
        self.student, self.teacher = student, Teacher(student)
        self.centre, self.patch_centre, self.pseudo = centre, patch_centre, pseudo

    @property
    def memories(self) -> list[Centring | PseudoLabels]:
        """The modules that keep statistics of earlier steps."""
        return [memory for memory in (self.centre, self.patch_centre, self.pseudo) if memory is not None]


class AdaptTask(Task):
    """Adapts a student to the cases at `rows` of a loader: one random slice of each case in every epoch.

    `targets` are the cohort's labels, (N,) or (N, F), with those blanked that training may not see. `labelled_share`
    and `masked_share` are the shares of `rows` with a label and with a mask; `lesion_rates` are the shares of the crops
    that each lesion label covers.

    A sample is a case. The loss is the sum of DINO, iBOT, KoLeo, the lesion loss, the supervised loss and the
    consistency loss, times the weights of the options; a part of weight 0 is not computed.
    """

    module: _Module

    def __init__(
        self,
        student: StudentModel,
        loader: SliceLoader,
        rows: np.ndarray,
        targets: np.ndarray,
        options: Options,
        labels: SampleLabels | None,
        labelled_share: float,
        masked_share: float,
        lesion_rates: Sequence[float] = (),
    ) -> None:
        self.loader, self.rows, self.targets, self.options = loader, rows, targets, options
        self.labels, self.labelled_share = labels, labelled_share
        self.masked_share = masked_share if options.lesion_loss_weight else 0.0
        self.lesion_rates = torch.tensor(lesion_rates)
        self.size = len(rows)
        self.crops = MultiCrop(
            kind=loader.cohort.kind, global_size=options.global_size, global_scale=options.global_scale,
            globals=options.global_crops, local_size=options.local_size, local_scale=options.local_scale,
            locals=options.local_crops, strength=options.intensity_augmentation,
        )  # fmt: skip
        self.masking = Masking(
            options.block_mask_share, options.block_mask_ratio, options.masked_modalities, options.modality_mask_share
        )
        pseudo = PseudoLabels(labels.shares, labels.kind) if options.consistency and labels else None
        self.module = _Module(student, self._centring(student.head, options.dino),
                              self._centring(student.patch_head, options.ibot), pseudo)  # fmt: skip
        self._temperature, self._consistency = options.teacher_temperature[0], 0.0
        self._parts = LossMeter(PARTS)
        self.collapse_monitor = CollapseMonitor(loader, rows, targets, options)
        steps = options.steps or options.epochs * -(-self.size // options.batch)
        self.check_every = self.collapse_monitor.every(steps)

    def load(self, indices: np.ndarray, seeds: np.ndarray) -> SampleBatch:
        rows, options = self.rows[indices], self.options
        sample = self.loader.sample(rows, seeds)
        present = sample.present.numpy()
        grid = self.module.student.encoder.grid(options.global_size, options.global_size)
        large = np.concatenate([mixed(seeds, _LARGE + np.int64(k)) for k in range(options.global_crops)])
        hidden = self.masking.draw(large, np.tile(present, (options.global_crops, 1)), grid)
        small_present = np.tile(present, (options.local_crops, 1))
        if options.local_crops:
            small = np.concatenate([mixed(seeds, _SMALL + np.int64(k)) for k in range(options.local_crops)])
            small_present = kept_modalities(small, small_present, options.modality_dropout)
        labels = None if self.labels is None else _as_tensor(self.targets[rows])
        maps = has_mask = None
        if self.masked_share:
            maps, has_mask = map(torch.from_numpy, self.loader.marked_planes(rows, sample.plane.numpy()))
        draws = self.crops.draw(seeds, sample.boxes)
        return SampleBatch(sample.planes, labels, draws, present, hidden, small_present, maps, has_mask)

    def loss(self, batch: SampleBatch, seeds: np.ndarray) -> Tensor:
        options, student = self.options, self.module.student
        views = self._views(batch)
        targets = self.teacher_targets(views, batch)
        encoded = student.encoder.encode(self._student_input(views))
        count = len(batch.present)
        cls = torch.cat([crops.cls for crops in encoded]).unflatten(0, (-1, count))  # (G + S, b, D)
        parts: dict[str, Tensor] = {}
        if options.dino and student.head is not None and targets is not None:
            # The same crop is left out of DINO, although the student sees it masked: iBOT compares these.
            parts["dino"] = options.dino * dino_loss(student.head(cls), targets.crops, options.student_temperature)
        if options.ibot and student.patch_head is not None and targets is not None:
            tokens, places = encoded[0].of_hidden()
            owner = places // math.prod(encoded[0].shape[1:])
            parts["ibot"] = options.ibot * ibot_loss(
                student.patch_head(tokens), targets.patches, owner, len(views.large), options.student_temperature
            )
        if options.koleo:
            parts["koleo"] = options.koleo * koleo(cls[: options.global_crops])
        slices = student.reader(encoded[0])
        if batch.lesion_maps is not None and batch.has_mask is not None and slices.lesions is not None:
            loss = self._lesion_loss(slices.lesions, batch.lesion_maps, batch.has_mask, batch.draws)
            parts["lesion"] = options.lesion_loss_weight * loss
        if self.labels is not None and batch.labels is not None:
            small = [student.reader(crops).vectors for crops in encoded[1:] if self._classifies_small_crops]
            vectors = torch.cat([slices.vectors, *small]).unflatten(0, (-1, count))
            parts |= self._label_losses(vectors, cls, batch.labels, targets)
        self._parts.add(parts, count)
        return torch.stack(list(parts.values())).sum()

    def score(self) -> float:
        """NaN: schedules run to their end, and val is left for choosing between adaptations."""
        return float("nan")

    def name(self, index: int) -> str:
        return self.loader.cohort.cases[self.rows[index]].case

    def groups(self) -> list[Group]:
        student, options = self.module.student, self.options
        return adaptation_groups(
            self.module, student.encoder.vit, last=student.last_layers, layer_decay=options.layer_decay,
            patch_scale=options.patch_lr_scale, frozen=options.frozen,
        )  # fmt: skip

    def before_step(self, step: int, total: int) -> None:
        self._consistency = linear(step, total, 0.0, self.options.consistency, share=CONSISTENCY_RAMP)
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
        return self.collapse_monitor.health(module.student, teacher, module.centre, temperature, step, total)

    def state(self) -> dict[str, Tensor]:
        teacher = {f"teacher.{name}": tensor for name, tensor in self.module.teacher.state().items()}
        return teacher | self.collapse_monitor.state() | {"parts": self._parts.sums}

    def records(self) -> dict[str, float]:
        return self._parts.means(self.module.student.encoder.mask_token.device)

    def _centring(self, head: ProjectionHead | None, weight: float) -> Centring | None:
        if head is None or not weight:
            return None
        prototypes = head.last.logit_scale.numel()
        return Sinkhorn(prototypes) if self.options.centring == "sinkhorn" else Centre(prototypes)

    @property
    def _classifies_small_crops(self) -> bool:
        return self.options.supervised_crops == "all" and self.options.supervision == "classifier"

    def _student_input(self, views: _Views) -> list[Crops]:
        """Large and small crops as the student sees them, asking for as few patch tokens as the losses need."""
        attends = self.module.student.reader.weight is not None
        large = Crops(views.large, views.present, views.hidden, None if attends else views.hidden)
        if not self.options.local_crops:
            return [large]
        encoder, size = self.module.student.encoder, self.options.local_size
        none = torch.zeros(*views.small_present.shape, *encoder.grid(size, size), dtype=torch.bool)
        wanted = None if attends and self._classifies_small_crops else none
        return [large, Crops(views.small, views.small_present, None, wanted)]

    def _views(self, batch: SampleBatch) -> _Views:
        large, small = self.crops.apply(batch.planes, batch.draws)
        present = np.tile(batch.present, (self.options.global_crops, 1))
        return _Views(large, small, *map(torch.from_numpy, (present, batch.hidden, batch.small_present)))

    @torch.no_grad()
    def teacher_targets(self, views: _Views, batch: SampleBatch) -> TeacherTargets | None:
        """Targets from the teacher, which sees the large crops unmasked; None where no loss needs them."""
        module = self.module
        if not module.memories:
            return None
        teacher = cast(StudentModel, module.teacher.network)
        attends = teacher.reader.weight is not None and module.pseudo is not None
        encoded = teacher.encoder(Crops(views.large, views.present, None, None if attends else views.hidden))
        crops = patches = encoded.cls[:0]
        if module.centre is not None and teacher.head is not None:
            logits = teacher.head(encoded.cls.unflatten(0, (-1, len(batch.present))))  # (G, b, K)
            crops = module.centre.probabilities(logits, self._temperature)
            module.centre.collect(logits)
        if module.patch_centre is not None and teacher.patch_head is not None:
            tokens = encoded.tokens
            if attends:  # all patches; iBOT needs those masked from the student
                tokens = tokens[views.hidden.flatten().to(tokens.device)[encoded.index]]
            logits = teacher.patch_head(tokens)  # (n, K)
            patches = module.patch_centre.probabilities(logits, self._temperature)
            module.patch_centre.collect(logits)
        return TeacherTargets(crops, patches, self._pseudo_labels(teacher, encoded, batch))

    def _pseudo_labels(
        self, teacher: StudentModel, encoded: Encoded, batch: SampleBatch
    ) -> tuple[Tensor, Tensor] | None:
        pseudo, labels = self.module.pseudo, self.labels
        if pseudo is None or labels is None or teacher.classifier is None:
            return None
        logits = teacher.classifier(teacher.reader(encoded).vectors).unflatten(0, (-1, len(batch.present)))
        logits = adjusted(logits.mean(0), labels.shares, labels.kind)  # (G, b, outputs) -> (b, outputs)
        classes: tuple[Tensor, Tensor] = pseudo(logits, batch.labels)
        pseudo.collect(logits)
        return classes

    def _lesion_loss(self, lesions: LesionMaps, labels: Tensor, has_mask: Tensor, draws: CropDraws) -> Tensor:
        """The lesion loss of the large crops, from label maps (b, H, W) and has_mask (b,)."""
        device = lesions.logits.device
        numbers = torch.arange(1, len(self.lesion_rates) + 1, device=device).view(1, -1, 1, 1)
        maps = (labels[:, None] == numbers).float()  # (b, H, W) -> (b, L, H, W)
        targets = lesion_targets(self.crops.placed(maps, draws), (lesions.visible.shape[1], lesions.visible.shape[2]))
        repeated = has_mask.repeat(self.options.global_crops)
        return lesion_loss(lesions, targets, repeated, self.lesion_rates.to(device), self.masked_share)

    def _label_losses(
        self, vectors: Tensor, cls: Tensor, known: Tensor, targets: TeacherTargets | None
    ) -> dict[str, Tensor]:
        """The supervised and the consistency loss, of vectors (G or G + S, b, W) and CLS tokens (G + S, b, D)."""
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
        if targets is not None and targets.classes is not None:
            parts["consistency"] = self._consistency * consistency_loss(logits, *targets.classes, labels.kind)
        return parts


def _as_tensor(labels: np.ndarray) -> Tensor:
    return torch.from_numpy(labels.astype(np.int64 if labels.ndim == 1 else np.float32))
