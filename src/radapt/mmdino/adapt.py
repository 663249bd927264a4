"""`adapt`: adapts a backbone to a cohort, giving an encoder of any subset of its modalities, with a classifier."""

import copy
from collections.abc import Collection, Sequence
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
from radapt.cohorts.loading import as_cohort
from radapt.errors import DataError, UsageError, suggest
from radapt.images import Recipe, SliceCache
from radapt.mmdino.adapt_record import adaptation_record
from radapt.mmdino.inference import CaseEncoder, CaseQuery, LinearClassifier, checked_rows, subsets_of
from radapt.mmdino.lesion_attention import LesionAttention
from radapt.mmdino.options import Options
from radapt.mmdino.regression import ClassifierChoice, fit_logistic
from radapt.mmdino.slices import SliceLoader
from radapt.mmdino.student import SampleLabels, StudentModel
from radapt.mmdino.task import AdaptTask
from radapt.mmdino.training_labels import labelled_cases, left_out_notes, training_labels
from radapt.notebook import Described
from radapt.progress import ProgressMaker, silent
from radapt.protocols.decisions import fixed_decision
from radapt.protocols.holdout import labelled
from radapt.training import TrainConfig, TrainResult, train
from radapt.training.fit_record import FitRecord

SUBSETS = 31
"""Largest number of subsets of a training case's sequences for the deployed classifier: all of five sequences."""


@dataclass(frozen=True, eq=False, repr=False)
class Adapted(Described):
    """An adapted encoder with its deployed classifier, and a record of the training.

    `network` has the teacher's (or the student's) weights, in eval mode. `answer`, the classifier, is None for a cohort
    without labels. `outputs` are the classes or findings. `left_out` are sequences of the cohort that no training case
    has; they are ignored in every case.
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
    record: FitRecord
    left_out: tuple[str, ...] = ()

    def __repr__(self) -> str:
        answers = "no classifier" if self.answer is None else ", ".join(self.outputs[:12])
        return (
            f"Adapted {self.card.name!r}: {answers} from any of {', '.join(self.modalities)}\n"
            f"  training: {self.trained.steps} steps, {self.trained.seconds:.0f} s"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know."""
        return self.record.notes

    @property
    def looking(self) -> CaseEncoder:
        """The encoder of cases, with the options of the adaptation."""
        return _looking(self.network, self.reader, self.options)

    def feed(self, cohort: Cohort, cache: SliceCache) -> SliceLoader:
        """The slices of a cohort for this encoder; `able` says which cases have any of its sequences.

        Raises UsageError for an unknown sequence, by name, and DataError for a case without any known one.
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
        """Probabilities float64 (n, outputs) for the cases at `rows` of any cohort, from `modalities` only if given.

        A case with none of these, or with `left_out` sequences only, gets the class frequencies of training. Raises
        UsageError without a classifier, for an unknown sequence and for invalid `rows`, and DataError if an image
        cannot be read.
        """
        if self.answer is None:
            raise UsageError("This backbone was adapted without labels, so it has no classifier; fit a protocol on it.")
        feed, rows = self.feed(cohort, cache), checked_rows(rows, len(cohort))
        wanted = None if modalities is None else self._in_order(modalities)
        able = feed.present[rows][:, [wanted is None or name in wanted for name in self.modalities]].any(axis=1)
        probabilities = np.tile(self.answer.prior, (len(rows), 1))
        queries = [CaseQuery(int(row), wanted) for row in rows[able]]
        if queries:
            probabilities[able] = self.answer.probabilities(self.looking.vectors(feed, queries))
        return probabilities

    def _in_order(self, names: Collection[str]) -> tuple[str, ...]:
        if isinstance(names, str):
            raise UsageError(f"modalities = {names!r} is one name; expected a list of names, such as [{names!r}].")
        self.network.columns(list(names))
        return tuple(name for name in self.modalities if name in names)


def adapt(
    cohort: Cohort | Path | str,
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
    """Adapt a backbone to the sequences of a cohort (or of its cohort.yaml), mostly on cases without a label.

    Trains on the cases of split `train`, labelled or not; the labels of `val` choose the regularisation of the deployed
    classifier; no other split is used. The images of all cases are read before training, so that a damaged one is
    reported at once and not at prediction. The given backbone is not changed.

    A backbone that was adapted before keeps its embeddings of sequences with the same names.

    Raises UsageError for a backbone that is no plain ViT, DataError without enough training data and for an image that
    cannot be read.
    """
    cohort = as_cohort(cohort)
    options = (options or Options()).settled(pretrained=False)
    if options.stores_tokens:
        raise UsageError(
            f"`adapt` trains the encoder; radapt.mmdino.fusion.fit_fusion is for trained: {options.trained}."
        )
    recipe = recipe or Recipe.for_kind(cohort.kind, size=224, look=None)
    slices = SliceCache(cache_folder(cache))
    fresh = backbone.load_as("float32") if isinstance(backbone, LazyBackbone) else _copied(backbone)
    check_crops(options, fresh.card.patch)
    targets, labels, notes = training_labels(cohort, unlabelled=options.self_supervised)
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
    notes += left_out_notes(left_out, feed, labels)
    known, marked = labelled_cases(targets), np.asarray([case.mask is not None for case in cohort], dtype=bool)
    useful = known | (options.unlabelled & ((marked & bool(options.lesion_loss_weight)) | options.self_supervised))
    rows = np.flatnonzero(seen & useful)
    if not len(rows):
        raise DataError(f"Cohort {cohort.name!r} has no training case to adapt to.")
    others = np.setdiff1d(np.flatnonzero(feed.able), rows)
    feed.prepare(rows, progress, marks=bool(options.lesion_loss_weight), answered=others)
    rates = tuple(feed.mark_rates(rows, seed).tolist()) if options.lesion_loss_weight and marked[rows].any() else ()
    learner = StudentModel.of(fresh, modalities, options, labels, rates, seed)
    notes += _continue_from(learner.encoder, fresh)
    parts = float(known[rows].mean()) or 1.0, float(marked[rows].mean())
    task = AdaptTask(learner, feed, rows, targets, options, labels, *parts, rates)
    trained = train(
        task, _train_config(options, len(rows), precision), seed=seed, device=device, devices=devices,
        checkpoint=checkpoint, progress=progress, label=f"adapting to {cohort.name}",
    )  # fmt: skip
    final: Any = task.module.teacher.network if options.deployed_network == "teacher" else task.module.student
    final.eval()
    answer, choice = _deployed(final, feed, targets, known & feed.able, labels, options, seed)
    used = options.classifier if answer is not None else None
    held_out = int((known & feed.able & (cohort.splits == "val")).sum()) if choice is not None else 0
    record = adaptation_record(choice, used, len(rows), held_out, trained, [*notes, *trained.notes])
    if answer is not None:
        learned = cohort.labels[labelled(cohort.labels) & (cohort.splits == "train")]
        record = replace(record, decision=fixed_decision("auto", learned, len(cohort.outputs)))
    return Adapted(
        final.encoder, final.reader, _seen(fresh.card, cohort), modalities, cohort.outputs, recipe, options,
        feed.channels, answer, trained, record, left_out,
    )  # fmt: skip


def _seen(card: WeightCard, cohort: Cohort) -> WeightCard:
    """The card with the cohort added to its pretraining data, so that later tests on the cohort are flagged."""
    return replace(card, pretraining=tuple(dict.fromkeys((*card.pretraining, cohort.name))))


def _train_config(options: Options, cases: int, precision: Literal["float32", "bfloat16"]) -> TrainConfig:
    epochs = options.epochs if options.steps is None else options.steps
    return TrainConfig(
        epochs=epochs, steps=options.steps, batch=options.batch, lr=options.lr * (options.batch / 1024) ** 0.5,
        weight_decay=options.weight_decay, weight_decay_end=options.weight_decay_end, warmup=options.warmup,
        clip=options.clip, accumulate=options.accumulate, precision=precision, score_every=None,
    )  # fmt: skip


def _deployed(
    final: StudentModel, feed: SliceLoader, targets: np.ndarray, known: np.ndarray, labels: SampleLabels | None,
    options: Options, seed: int,
) -> tuple[LinearClassifier | None, ClassifierChoice | None]:  # fmt: skip
    if labels is None:
        return None, None
    prior = labels.shares.double().numpy()
    if options.classifier == "head":
        return _head(final, labels, prior, options), None
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(known)
    queries, weights = _queries(feed, rows, options.classifier_cases, rng)
    vectors = _looking(final.encoder, final.reader, options).vectors(feed, queries, together=True)
    cases = np.asarray([query.row for query in queries])
    held_out = feed.cohort.splits[cases] == "val"
    return fit_logistic(vectors, targets[cases], weights, held_out, labels.kind, prior, final.reader.blocks)


def _queries(
    feed: SliceLoader, rows: np.ndarray, on: str, rng: np.random.Generator
) -> tuple[list[CaseQuery], np.ndarray]:
    """Each case with every subset of its modalities, with a total weight of 1 per case; or each case as it is."""
    if on == "complete":
        return [CaseQuery(int(row)) for row in rows], np.ones(len(rows))
    queries, weights = [], []
    for row in rows:
        names = [name for name, present in zip(feed.modalities, feed.present[row], strict=True) if present]
        subsets = subsets_of(names, SUBSETS, rng)
        queries += [CaseQuery(int(row), subset) for subset in subsets]
        weights += [1 / len(subsets)] * len(subsets)
    return queries, np.asarray(weights)


def _looking(network: MultiModalViT, reader: LesionAttention, options: Options) -> CaseEncoder:
    return CaseEncoder(network, reader, options.slices, options.global_size, options.zoom_slices)


def _head(final: StudentModel, labels: SampleLabels, prior: np.ndarray, options: Options) -> LinearClassifier:
    """The classifier of the training, with logits adjusted to patients like the cohort's."""
    if final.classifier is None:
        raise UsageError("Prototypes as classes are no linear classifier; use classifier: logistic.")
    weight, bias = (each.detach().double().cpu().numpy() for each in (final.classifier.weight, final.classifier.bias))
    odds = np.log(prior) if labels.kind == "classes" else np.log(prior / (1 - prior))
    weight = np.pad(
        weight, [(0, 0), (0, final.reader.labels)]
    )  # columns of the lesion amounts, which training does not have
    return LinearClassifier(labels.kind, weight, bias, prior).shifted(odds)


def _continue_from(encoder: MultiModalViT, backbone: Backbone) -> list[str]:
    """Copy the mask token, and the embeddings of sequences with the same names, from a backbone that was adapted
    before. Returns a note for the reader."""
    before = backbone.network
    if before is None:
        return []
    same = [name for name in encoder.modalities if name in before.modalities]
    with torch.no_grad():
        encoder.mask_token.copy_(before.mask_token)
        if encoder.modality_embedding is not None and before.modality_embedding is not None:
            places = list(encoder.columns(same)), list(before.columns(same))
            encoder.modality_embedding[places[0]] = before.modality_embedding[places[1]].to(encoder.modality_embedding)
    note = f"{backbone.name} was adapted to {', '.join(before.modalities)} before, and training continues from there"
    new = [name for name in encoder.modalities if name not in same]
    gone = [name for name in before.modalities if name not in same]
    note += f"; new: {', '.join(new)}" if new else ""
    return [note + (f"; dropped, as no training case has it: {', '.join(gone)}." if gone else ".")]


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
