"""Fitting a fusion to a cohort: encode once, then train the small network."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from radapt.cohorts.cohort import Cohort
from radapt.cohorts.fold_groups import PATIENT
from radapt.errors import DataError, UsageError
from radapt.images import Recipe, SliceCache
from radapt.mmdino.fusion.case_tokens import CaseTokens
from radapt.mmdino.fusion.fusion_model import FusionFacts, FusionModel
from radapt.mmdino.fusion.fusion_task import FusionTask
from radapt.mmdino.fusion.network import FusionEnsemble
from radapt.mmdino.fusion.readout import fit_readout
from radapt.mmdino.fusion.trained_part import LastBlocks, SliceOutputs, new_network, stored_kind
from radapt.mmdino.inference import CaseQuery
from radapt.mmdino.label_encoding import Kind
from radapt.mmdino.options import Options
from radapt.mmdino.slices import SliceLoader
from radapt.mmdino.training_labels import labelled_cases, left_out_notes, training_labels
from radapt.progress import ProgressMaker, silent
from radapt.protocols.choice import FOLDS, ChoiceRules, inner_folds, method_of
from radapt.training import TrainConfig, TrainResult, train
from radapt.training.fit_record import Candidate, Cost, FitCases, FitRecord
from radapt.training.seeds import derived

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone

LEAST_DEVIATION = 1e-3
"""A number of a token that deviates less than this from its mean in training is not scaled up."""


@dataclass(frozen=True, eq=False)
class Fusion:
    """A fitted fusion, and how it came about; the attributes of `radapt.mmdino.adapt.Adapted` that reports read."""

    model: FusionModel
    outputs: tuple[str, ...]
    options: Options
    trained: TrainResult
    record: FitRecord

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.model.facts.modalities

    @property
    def recipe(self) -> Recipe:
        return self.model.recipe


def fit_fusion(
    cohort: Cohort,
    backbone: "Backbone",
    options: Options,
    *,
    recipe: Recipe,
    cache: SliceCache,
    seed: int = 0,
    precision: Literal["float32", "bfloat16"] = "float32",
    checkpoint: Path | None = None,
    progress: ProgressMaker = silent,
) -> Fusion:
    """Train a fusion, or copies of the last blocks of the encoder (`trained: partial`), on the training cases of a
    cohort; the encoder is not changed.

    Cases of split `train` are learned from, their masks included, where there are any; no other split is. All cases are
    encoded before training, so that a damaged image is reported at once. The number of epochs is fixed; the penalties
    of the readout are chosen by inner folds of the training cases, by patient.

    Raises DataError without training cases of two different labels and for images that cannot be read, UsageError for
    a backbone that encodes several sequences together.
    """
    if backbone.network is not None:
        raise UsageError(f"{backbone.name} is adapted already; trained: {options.trained} starts from a plain encoder.")
    own = options.fusion
    targets, labels, notes = training_labels(cohort, unlabelled=False)
    seen = cohort.splits == "train"
    modalities = tuple(name for place, name in enumerate(cohort.modalities) if cohort.presence[seen, place].any())
    left_out = tuple(name for name in cohort.modalities if name not in modalities)
    loader = SliceLoader(cohort, cache, recipe, modalities, focus="foreground", left_out=left_out)
    if labels is None:
        raise DataError(f"Cohort {cohort.name!r} has one class only; trained: {options.trained} needs two.")
    known, masked = labelled_cases(targets), np.asarray([case.mask is not None for case in cohort], dtype=bool)
    masked &= bool(own.lesion)
    useful = known | (own.unlabelled & (masked | bool(own.hidden or own.consistency)))
    rows = np.flatnonzero(seen & useful)
    loader.prepare(rows, progress, marks=bool(own.lesion), answered=np.setdiff1d(np.flatnonzero(loader.able), rows))
    last = None
    if options.trained == "partial":
        last = LastBlocks(options.blocks, options.global_size, options.blocks_lr_scale)
    kind = stored_kind(own, last, backbone, precision)
    tokens = CaseTokens(loader, backbone, kind, options.slices, recipe.look)
    tokens.prepare([CaseQuery(int(row)) for row in np.flatnonzero(loader.able)], progress)
    rates = _rates(tokens, rows[masked[rows]])
    outputs = SliceOutputs(len(modalities), kind.side**2, labels.outputs, tuple(rates))
    network = new_network(own, last, backbone, kind, outputs, seed)
    if isinstance(network, FusionEnsemble):
        _standardise(network, tokens, rows)
    task = FusionTask(network, tokens, rows, targets, masked, labels, own, rates)
    config = TrainConfig(
        epochs=own.epochs, steps=own.steps, batch=own.batch, lr=own.lr, weight_decay=own.weight_decay,
        precision=precision, score_every=None,
    )  # fmt: skip
    trained = train(
        task, config, seed=seed, device=str(backbone.device), checkpoint=checkpoint, progress=progress,
        label=f"fusing sequences of {cohort.name}",
    )  # fmt: skip
    notes += left_out_notes(left_out, loader, labels)
    notes += _notes(loader, rows, seen & ~useful, options)
    details: dict[str, Any] = {"modalities": list(modalities), "look": recipe.look}
    if isinstance(network, FusionEnsemble) and own.classifier != "network":
        strengths = _fit_readout(network, tokens, cohort, rows[known[rows]], labels.kind, seed)
        if strengths is None:
            own = replace(own, classifier="network")
            notes.append("Too few patients have each answer for a readout: the network alone answers.")
        else:
            details["readout"] = strengths
    prior = tuple(labels.shares.double().tolist())
    facts = FusionFacts(
        own, network.shape, modalities, left_out, labels.kind, prior, options.slices, loader.channels, precision,
        last,
    )  # fmt: skip
    model = FusionModel(task.module, backbone, recipe, facts)
    record = _record(options, trained, len(rows), [*notes, *trained.notes], details)
    return Fusion(model, cohort.outputs, options, trained, record)


def _rates(tokens: CaseTokens, rows: np.ndarray) -> list[float]:
    """The share of the patches of training cases with a mask that each lesion label covers; none without a mask."""
    total, count = np.zeros(len(tokens.loader.marks)), 0
    for row in rows.tolist():
        found = tokens.lesions(row, tokens.planes(CaseQuery(row)))
        columns = tokens.loader.reader.columns(row)
        total += found[:, columns].mean((0, 1, 2), dtype=np.float64)
        count += 1
    return (total / count).tolist() if count else []


def _standardise(network: FusionEnsemble, tokens: CaseTokens, rows: np.ndarray) -> None:
    """Set the mean and deviation of CLS and of patch tokens to those of the cases at `rows`."""
    moments, counts = np.zeros((2, 2, tokens.width)), np.zeros(2)  # kind × (sum, sum of squares) × D
    for row in rows.tolist():
        query = CaseQuery(row)
        found = tokens.tokens(query, tokens.planes(query))[:, tokens.loader.reader.columns(row)].astype(np.float64)
        for kind, part in enumerate((found[:, :, :1], found[:, :, 1:])):
            flat = part.reshape(-1, tokens.width)
            moments[kind] += flat.sum(0), (flat**2).sum(0)
            counts[kind] += len(flat)
    mean = moments[:, 0] / counts[:, None]
    deviation = np.sqrt(np.maximum(moments[:, 1] / counts[:, None] - mean**2, 0))
    network.mean.copy_(torch.from_numpy(mean))
    network.deviation.copy_(torch.from_numpy(np.maximum(deviation, LEAST_DEVIATION)))


@torch.no_grad()
def _fit_readout(
    network: FusionEnsemble, tokens: CaseTokens, cohort: Cohort, rows: np.ndarray, kind: Kind, seed: int
) -> dict[str, Any] | None:
    """Fit the readout of a trained network to the labelled training cases at `rows`; what is to be recorded of it. None
    if inner folds cannot be drawn, or no sequence has enough to learn from."""
    usable = np.isin(np.arange(len(cohort)), rows)
    if method_of(ChoiceRules(choose="cv"), cohort, usable, cohort.labels) != "cv":
        return None
    rng = np.random.default_rng(derived(seed, "readout"))
    folds = inner_folds(cohort, usable, cohort.labels, FOLDS, 1, rng, PATIENT)
    vectors = np.zeros((len(cohort), network.shape.sequences, network.shape.token))
    present = np.zeros(vectors.shape[:2], bool)
    network.eval()
    for row in rows.tolist():
        query, columns = CaseQuery(row), tokens.loader.reader.columns(row)
        present[row, list(columns)] = True
        own = network.standardised(torch.from_numpy(tokens.tokens(query, tokens.planes(query))).to(network.device))
        visible = torch.from_numpy(present[row]).to(own.device)
        slices = [member(own, visible.expand(len(own), -1)) for member in network.members]
        vectors[row] = network.lesion_vectors(own, slices, visible).cpu().numpy()
    fitted = fit_readout(vectors, present, cohort.labels, folds, kind, network.shape.outputs)
    if not np.isfinite(fitted.strengths).any():
        return None
    network.readout.take(fitted)
    strengths = zip(tokens.loader.modalities, fitted.strengths.tolist(), strict=True)
    return {"folds": folds.words, "strengths": dict(strengths)}


def _notes(loader: SliceLoader, rows: np.ndarray, unused: np.ndarray, options: Options) -> list[str]:
    notes = []
    if len(loader.modalities) > 1 and (loader.present[rows].sum(axis=1) < 2).all():
        notes.append("No training case has two sequences, so nothing was learned across sequences.")
    if unused.any():
        notes.append(
            f"{int(unused.sum())} training cases without a label were not learned from; fusion: {{hidden: 1}} or "
            "{consistency: 1} would."
        )
    if options.fusion.lesion and not any(loader.cohort.cases[row].mask is not None for row in rows):
        notes.append("No training case has a mask, so slices are weighted by attention and not by predicted lesions.")
    return notes


def _record(
    options: Options, trained: TrainResult, cases: int, notes: list[str], details: Mapping[str, Any]
) -> FitRecord:
    chosen: dict[str, Any] = {"trained": options.trained}
    if options.trained == "partial":
        chosen["blocks"] = options.blocks
    cost = Cost(trained.trained_parameters, trained.parameters, trained.peak_memory_mb, trained.seconds)
    return FitRecord(
        candidates=(Candidate(chosen, epochs=trained.epochs, steps=trained.steps),),
        chosen=0,
        criterion="there was nothing to choose: the options are fixed",
        cases=FitCases(cases, 0, "none"),
        cost=cost,
        history=tuple(trained.history),
        notes=tuple(notes),
        details=dict(details),
    )
