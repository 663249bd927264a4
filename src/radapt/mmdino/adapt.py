"""`adapt`: from a cohort and a backbone to an encoder of any subset of its modalities, with a classifier."""

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from radapt.backbones.backbone import Backbone
from radapt.backbones.card import WeightCard
from radapt.backbones.lazy import LazyBackbone
from radapt.backbones.multimodal_vit.vit import MultiModalViT
from radapt.cachedir import cache_folder
from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError, UsageError, counted, suggest
from radapt.images import Recipe, SliceCache
from radapt.mmdino.inference import CaseEncoder, CaseQuery, LinearClassifier, checked_rows, subsets_of
from radapt.mmdino.label_encoding import shares
from radapt.mmdino.lesion_attention import LesionAttention
from radapt.mmdino.options import Options
from radapt.mmdino.regression import fit_logistic
from radapt.mmdino.slices import SliceLoader
from radapt.mmdino.student import SampleLabels, StudentModel
from radapt.mmdino.task import AdaptTask
from radapt.progress import ProgressMaker, silent
from radapt.training import TrainConfig, TrainResult, train

SUBSETS = 31
"""Subsets of a training case's sequences that the deployed classifier learns from, at most: all of five sequences."""


@dataclass(frozen=True, eq=False)
class Adapted:
    """An adapted encoder with the classifier that is deployed with it, and how both came about.

    `network` holds the teacher's (or the student's) weights, in eval mode. `answer` is None for a cohort without
    labels. `outputs` are the classes or findings. `left_out` are sequences that no training case had, and others did:
    they are known, and not looked at.
    """

    network: MultiModalViT
    reader: LesionAttention
    card: WeightCard
    modalities: tuple[str, ...]
    outputs: tuple[str, ...]
    recipe: Recipe
    options: Options
    channels: int
    answer: LinearClassifier | None
    trained: TrainResult
    chosen: Mapping[str, Any]
    notes: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    @property
    def looking(self) -> CaseEncoder:
        """How it looks at cases."""
        return _looking(self.network, self.reader, self.options)

    def feed(self, cohort: Cohort, cache: SliceCache) -> SliceLoader:
        """The slices of a cohort as this encoder takes them; `able` says which cases have any.

        Raises UsageError for a sequence that the encoder does not know, by name, DataError for a case without any.
        """
        unknown = [name for name in cohort.modalities if name not in (*self.modalities, *self.left_out)]
        if unknown:
            raise UsageError(
                f"Cohort {cohort.name!r} has the sequence {unknown[0]!r}, which the model does not know. "
                f"{suggest(unknown[0], self.modalities)} Rename its column, or leave it out."
            )
        return SliceLoader(
            cohort, cache, self.recipe, self.modalities, focus="foreground", channels=self.channels,
            left_out=self.left_out,
        )  # fmt: skip

    def predict(
        self,
        cohort: Cohort,
        cache: SliceCache,
        rows: Sequence[int] | np.ndarray,
        modalities: Collection[str] | None = None,
    ) -> np.ndarray:
        """Probabilities float64 (n, outputs) of cases of any cohort; with `modalities`, as if they had no others.

        A case that has none of these, or nothing but what was `left_out`, is answered with the frequencies of training.
        Raises UsageError where there is no classifier, a sequence is unknown, or `rows` are no numbers of cases; and
        DataError if an image cannot be read.
        """
        if self.answer is None:
            raise UsageError("This backbone was adapted without labels, so it has no classifier; fit a protocol on it.")
        feed, rows = self.feed(cohort, cache), checked_rows(rows, len(cohort))
        wanted = None if modalities is None else self._known(modalities)
        able = feed.present[rows][:, [wanted is None or name in wanted for name in self.modalities]].any(axis=1)
        found = np.tile(self.answer.prior, (len(rows), 1))
        wishes = [CaseQuery(int(row), wanted) for row in rows[able]]
        if wishes:
            found[able] = self.answer.probabilities(self.looking.vectors(feed, wishes))
        return found

    def _known(self, names: Collection[str]) -> tuple[str, ...]:
        if isinstance(names, str):
            raise UsageError(f"modalities = {names!r} is one name; expected a list of names, such as [{names!r}].")
        self.network.columns(list(names))
        return tuple(name for name in self.modalities if name in names)


def adapt(
    cohort: Cohort,
    backbone: Backbone | LazyBackbone,
    options: Options | None = None,
    *,
    recipe: Recipe | None = None,
    seed: int = 0,
    device: str = "cpu",
    devices: int = 1,
    precision: Literal["float32", "bfloat16"] = "float32",
    checkpoint: Path | None = None,
    cache: Path | str | None = None,
    progress: ProgressMaker = silent,
) -> Adapted:
    """Adapt a backbone to the sequences of a cohort, by its training cases, most of which may have no label.

    Cases of split `train` are learned from, labelled or not; the labels of `val` choose the strength of the deployed
    classifier; nothing is learned from any other split. The images of all cases are read before training begins, so
    that a damaged one is named at once and not when it is to be answered for. The backbone given is not changed.

    One that was adapted before goes on from what it knows of sequences of the same names.

    Raises UsageError for a backbone that is no plain ViT, DataError where there is too little to learn from or an image
    cannot be read.
    """
    options = options or Options()
    recipe = recipe or Recipe.for_kind(cohort.kind, size=224)
    slices = SliceCache(cache_folder(cache))
    fresh = backbone.load_as("float32") if isinstance(backbone, LazyBackbone) else _copied(backbone)
    check_crops(options, fresh.card.patch)
    targets, labels, notes = _labels(cohort, options)
    if labels is None and options.supervision != "none":
        prototypes = options.prototypes or 1024
        options = replace(options, supervision="none", consistency=0.0, prototypes=prototypes, classifier="logistic")
    seen = cohort.splits == "train"
    if not seen.any():
        raise DataError(f"Cohort {cohort.name!r} has no training case to adapt to. Give patients the split 'train'.")
    modalities = tuple(name for place, name in enumerate(cohort.modalities) if cohort.presence[seen, place].any())
    left_out = tuple(name for name in cohort.modalities if name not in modalities)
    feed = SliceLoader(
        cohort, slices, recipe, modalities, focus=options.focus, marked=options.lesion_slice_share, left_out=left_out
    )
    notes += _said_of(left_out, feed, labels)
    known, marked = _known(targets), np.asarray([case.mask is not None for case in cohort], dtype=bool)
    useful = known | (options.unlabelled & ((marked & bool(options.lesion_loss_weight)) | options.self_supervised))
    rows = np.flatnonzero(seen & useful)
    if not len(rows):
        raise DataError(f"Cohort {cohort.name!r} has no training case to adapt to.")
    others = np.setdiff1d(np.flatnonzero(feed.able), rows)
    feed.prepare(rows, progress, marks=bool(options.lesion_loss_weight), answered=others)
    rates = tuple(feed.mark_rates(rows, seed).tolist()) if options.lesion_loss_weight and marked[rows].any() else ()
    learner = StudentModel.of(fresh, modalities, options, labels, rates, seed)
    notes += _going_on(learner.encoder, fresh)
    parts = float(known[rows].mean()) or 1.0, float(marked[rows].mean())
    task = AdaptTask(learner, feed, rows, targets, options, labels, *parts, rates)
    trained = train(
        task, _regime(options, len(rows), precision), seed=seed, device=device, devices=devices, checkpoint=checkpoint,
        progress=progress, label=f"adapting to {cohort.name}",
    )  # fmt: skip
    final: Any = task.module.teacher.network if options.deployed_network == "teacher" else task.module.student
    final.eval()
    answer, chosen = _deployed(final, feed, targets, known & feed.able, labels, options, seed)
    return Adapted(
        final.encoder, final.reader, _seen(fresh.card, cohort), modalities, cohort.outputs, recipe, options,
        feed.channels, answer, trained, chosen, tuple(notes) + tuple(trained.notes), left_out,
    )  # fmt: skip


def _seen(card: WeightCard, cohort: Cohort) -> WeightCard:
    """The card of weights that have seen the cohort too, so that a later test on it is known not to be new to them."""
    return replace(card, pretraining=tuple(dict.fromkeys((*card.pretraining, cohort.name))))


def _labels(cohort: Cohort, options: Options) -> tuple[np.ndarray, SampleLabels | None, list[str]]:
    """The labels of train and val, all others blank; what there is to learn about them; what a reader should know."""
    targets = np.array(cohort.labels, dtype=np.float64 if cohort.labels.ndim == 2 else np.int64)
    targets[~np.isin(cohort.splits, ("train", "val"))] = -1 if targets.ndim == 1 else np.nan
    train = targets[cohort.splits == "train"]
    count, apart = int(_known(train).sum()), _told_apart(train)
    found = "no labelled training case"
    if count:
        found = f"{counted(count, 'labelled training case')}, but no two that labels tell apart"
    if not (apart or options.self_supervised):
        raise DataError(f"Cohort {cohort.name!r} has {found}, and only labels are learned from. {_FIX}")
    if not count or (targets.ndim == 1 and len(cohort.outputs) == 1):
        return targets, None, [f"There is {found}: the backbone is adapted without, and has no classifier. {_FIX}"]
    frequency = shares(train, len(cohort.outputs))
    kind: Any = "classes" if targets.ndim == 1 else "findings"
    notes = [] if apart else [f"There is {found}: every patient is answered with the frequencies of training. {_FIX}"]
    return targets, SampleLabels(kind, len(cohort.outputs), torch.from_numpy(frequency).float()), notes


_FIX = "Give labelled cases of two classes or more, or with and without a finding, the split 'train'."


def _told_apart(train: np.ndarray) -> bool:
    """Whether training has two classes, or cases with and without a finding."""
    if train.ndim == 1:
        return len(set(train[train >= 0].tolist())) > 1
    return bool(((train == 1).any(axis=0) & (train == 0).any(axis=0)).any())


def _said_of(left_out: tuple[str, ...], feed: SliceLoader, labels: SampleLabels | None) -> list[str]:
    """A note on sequences that nothing can be learned about, and on cases that have nothing else."""
    if not left_out:
        return []
    note = f"No training case has {', '.join(left_out)}: left out, and not looked at in any case."
    if lacking := int((~feed.able).sum()):
        fate = "answered with the frequencies of training" if labels else "left out, too"
        verbs = ("has", "is") if lacking == 1 else ("have", "are")
        note += f" {counted(lacking, 'case')} of other splits {verbs[0]} nothing else, and {verbs[1]} {fate}."
    return [note]


def _known(targets: np.ndarray) -> np.ndarray:
    """(N,) bool: labelled, with several findings at least one of them."""
    return targets >= 0 if targets.ndim == 1 else np.isfinite(targets).any(axis=1)


def _regime(options: Options, cases: int, precision: Literal["float32", "bfloat16"]) -> TrainConfig:
    epochs = options.epochs if options.steps is None else options.steps
    return TrainConfig(
        epochs=epochs, steps=options.steps, batch=options.batch, lr=options.lr * (options.batch / 1024) ** 0.5,
        weight_decay=options.weight_decay, weight_decay_end=options.weight_decay_end, warmup=options.warmup,
        clip=options.clip, accumulate=options.accumulate, precision=precision, score_every=1_000_000,
    )  # fmt: skip


def _deployed(
    final: StudentModel, feed: SliceLoader, targets: np.ndarray, known: np.ndarray, labels: SampleLabels | None,
    options: Options, seed: int,
) -> tuple[LinearClassifier | None, dict[str, Any]]:  # fmt: skip
    if labels is None:
        return None, {}
    prior = labels.shares.double().numpy()
    if options.classifier == "head":
        return _head(final, labels, prior, options), {}
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(known)
    wishes, weights = _wishes(feed, rows, options.classifier_cases, rng)
    vectors = _looking(final.encoder, final.reader, options).vectors(feed, wishes)
    place = np.asarray([wish.row for wish in wishes])
    held_out = feed.cohort.splits[place] == "val"
    return fit_logistic(vectors, targets[place], weights, held_out, labels.kind, prior, final.reader.blocks)


def _wishes(
    feed: SliceLoader, rows: np.ndarray, on: str, rng: np.random.Generator
) -> tuple[list[CaseQuery], np.ndarray]:
    """The cases with every subset of their modalities, those of a case together weighing 1; or as they are."""
    if on == "complete":
        return [CaseQuery(int(row)) for row in rows], np.ones(len(rows))
    wishes, weights = [], []
    for row in rows:
        names = [name for name, there in zip(feed.modalities, feed.present[row], strict=True) if there]
        subsets = subsets_of(names, SUBSETS, rng)
        wishes += [CaseQuery(int(row), one) for one in subsets]
        weights += [1 / len(subsets)] * len(subsets)
    return wishes, np.asarray(weights)


def _looking(network: MultiModalViT, reader: LesionAttention, options: Options) -> CaseEncoder:
    return CaseEncoder(network, reader, options.slices, options.global_size, options.zoom_slices)


def _head(final: StudentModel, labels: SampleLabels, prior: np.ndarray, options: Options) -> LinearClassifier:
    """The trained classifier as it answers for patients like the cohort's."""
    if final.classifier is None:
        raise UsageError("Prototypes as classes are no linear classifier; use classifier: logistic.")
    weight, bias = (each.detach().double().cpu().numpy() for each in (final.classifier.weight, final.classifier.bias))
    odds = np.log(prior) if labels.kind == "classes" else np.log(prior / (1 - prior))
    weight = np.pad(weight, [(0, 0), (0, final.reader.labels)])  # training has no first look at a whole patient
    return LinearClassifier(labels.kind, weight, bias, prior).shifted(odds)


def _going_on(encoder: MultiModalViT, backbone: Backbone) -> list[str]:
    """Take over what a backbone that was adapted before has learned of sequences of the same names and of hidden
    patches; what a reader should know about it."""
    before = backbone.network
    if before is None:
        return []
    same = [name for name in encoder.modalities if name in before.modalities]
    with torch.no_grad():
        encoder.mask_token.copy_(before.mask_token)
        if encoder.modality_embedding is not None and before.modality_embedding is not None:
            places = list(encoder.columns(same)), list(before.columns(same))
            encoder.modality_embedding[places[0]] = before.modality_embedding[places[1]].to(encoder.modality_embedding)
    note = f"{backbone.name} was adapted to {', '.join(before.modalities)} before, and goes on from there"
    new = [name for name in encoder.modalities if name not in same]
    gone = [name for name in before.modalities if name not in same]
    note += f"; new to it: {', '.join(new)}" if new else ""
    return [note + (f"; given up, as no training case has it: {', '.join(gone)}." if gone else ".")]


def check_crops(options: Options, patch: int) -> None:
    """Raises UsageError for crops smaller than one patch of the backbone, `patch` pixels a side."""
    sizes = {"global_size": options.global_size, "local_size": options.local_size if options.local_crops else patch}
    for name, size in sizes.items():
        if size < patch:
            raise UsageError(
                f"{name} is {size}, smaller than one patch of the backbone, {patch} × {patch} pixels. Set it to "
                f"{patch} or a multiple of that, such as {4 * patch}."
            )


def _copied(backbone: Backbone) -> Backbone:
    fresh = copy.deepcopy(backbone)
    fresh.module.float()
    return fresh
