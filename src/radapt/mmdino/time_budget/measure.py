"""A few seconds of each candidate on a few cases of the cohort: what its steps, slices and predictions cost here."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError
from radapt.images import Recipe, SliceCache
from radapt.mmdino.fusion.case_tokens import CaseTokens
from radapt.mmdino.fusion.fusion_task import FusionTask
from radapt.mmdino.fusion.partial_network import PartialEnsemble
from radapt.mmdino.fusion.trained_part import LastBlocks, SliceOutputs, new_network, stored_kind
from radapt.mmdino.inference import CaseEncoder, CaseQuery
from radapt.mmdino.options import Options
from radapt.mmdino.slices import SliceLoader
from radapt.mmdino.student import StudentModel
from radapt.mmdino.task import AdaptTask
from radapt.mmdino.time_budget.estimate import Cost, Part
from radapt.mmdino.training_labels import training_labels
from radapt.training import Task, TrainConfig, train

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone

CASES = 4
"""Training cases that are measured on, and the size of a batch; the cost of a step is taken to grow with its batch."""
STEPS = 2
SLICES = 8
"""Slices that are encoded at once: a CPU is fastest with 8 to 16."""


@dataclass(frozen=True, eq=False)
class Bench:
    """What is measured on: some cases of the cohort, whose slices are prepared for the training too."""

    loader: SliceLoader
    rows: np.ndarray
    backbone: "Backbone"
    recipe: Recipe
    precision: Literal["float32", "bfloat16"]
    prepare: float
    """Seconds of a case, mostly of decoding; less where the cache knows it."""

    @classmethod
    def of(
        cls, cohort: Cohort, backbone: "Backbone", recipe: Recipe, cache: SliceCache,
        precision: Literal["float32", "bfloat16"],
    ) -> "Bench":  # fmt: skip
        """Raises DataError without a training case, and for images that cannot be read."""
        rows = np.flatnonzero((cohort.splits == "train") & cohort.presence.any(axis=1))
        if not len(rows):
            raise DataError(
                f"Cohort {cohort.name!r} has no training case to adapt to. Give patients the split 'train'."
            )
        most = cohort.presence.sum(axis=1)[rows]
        chosen = np.sort(rows[np.argsort(-most, kind="stable")][:CASES])  # those with most sequences cost most
        few = replace(cohort, cases=tuple(cohort.cases[row] for row in chosen))
        names = tuple(name for place, name in enumerate(few.modalities) if few.presence[:, place].any())
        left_out = tuple(name for name in few.modalities if name not in names)
        loader = SliceLoader(few, cache, recipe, names, left_out=left_out)
        start = time.perf_counter()
        loader.prepare()
        return cls(loader, np.arange(len(few)), backbone, recipe, precision, (time.perf_counter() - start) / len(few))

    @property
    def masked(self) -> bool:
        return any(case.mask is not None for case in self.loader.cohort)


def measured(trained: Part, options: Options, bench: Bench, cohort: Cohort) -> Cost:
    """The cost of one candidate. The backbone is not changed."""
    return (_stored if trained in ("fusion", "partial") else _encoder)(trained, options, bench, cohort)


def _stored(trained: Part, options: Options, bench: Bench, cohort: Cohort) -> Cost:
    own, backbone, loader = options.fusion, bench.backbone, bench.loader
    last = LastBlocks(options.blocks, options.global_size, 1.0) if trained == "partial" else None
    kind = stored_kind(own, last, backbone, bench.precision)
    side = options.global_size if last else max(bench.recipe.size)
    pixels = torch.randint(0, 256, (SLICES, loader.channels, side, side), dtype=torch.uint8)

    def encode() -> None:
        backbone.block_inputs(pixels, last.blocks) if last else backbone.tokens(pixels, layers=own.layers)

    with torch.inference_mode(), torch.autocast(backbone.device.type, torch.bfloat16, bench.precision == "bfloat16"):
        slice_seconds = _seconds(encode, backbone.device) / SLICES
    tokens = CaseTokens(loader, backbone, kind, own.slices, bench.recipe.look)
    tokens.prepare([CaseQuery(int(row)) for row in bench.rows])
    targets, labels, _ = training_labels(cohort, unlabelled=False)
    if labels is None:
        raise ValueError("Candidates that read stored tokens need labels.")
    rates = (0.1,) * len(loader.marks) if own.lesion and bench.masked else ()
    outputs = SliceOutputs(len(loader.modalities), kind.side**2, labels.outputs, rates)
    network = new_network(own, last, backbone, kind, outputs, 0)
    if isinstance(network, PartialEnsemble):
        network.frozen = 0.0
    few = _labels_of(targets, len(bench.rows))
    masks = np.asarray([case.mask is not None for case in loader.cohort], bool) & bool(rates)
    task = FusionTask(network, tokens, bench.rows, few, masks, labels, own, rates)
    step = _step_seconds(task, bench, own.batch)
    slice_of_case = step / (3 * own.batch * own.slices)  # a step goes back as well, at twice the cost
    return Cost(step, slice_seconds, slice_of_case * options.slices, bench.prepare)


def _encoder(trained: Part, options: Options, bench: Bench, cohort: Cohort) -> Cost:
    options = replace(options, trained=trained, frozen=0.0)
    targets, labels, _ = training_labels(cohort, unlabelled=True)
    if labels is None and options.supervision != "none":
        options = replace(
            options, supervision="none", consistency=0.0, prototypes=options.prototypes or 1024, classifier="logistic"
        )
    rates = (0.1,) * len(bench.loader.marks) if options.lesion_loss_weight and bench.masked else ()
    fresh = copy.deepcopy(bench.backbone)
    fresh.module.float()
    student = StudentModel.of(fresh, bench.loader.modalities, options, labels, rates, 0)
    few = _labels_of(targets, len(bench.rows))
    task = AdaptTask(student, bench.loader, bench.rows, few, options, labels, 1.0, 1.0, rates)
    task.check_every = None
    step = _step_seconds(task, bench, options.batch)
    student.eval()
    encoder = CaseEncoder(student.encoder, student.reader, options.slices, options.global_size, options.zoom_slices)
    predict = _seconds(lambda: encoder.vectors(bench.loader, [CaseQuery(0)]), fresh.device)
    return Cost(step, 0.0, predict, bench.prepare)


def _labels_of(targets: np.ndarray, count: int) -> np.ndarray:
    """The labels of `count` labelled cases; they stand in for those of the cases that are measured on."""
    known = targets >= 0 if targets.ndim == 1 else np.isfinite(targets).any(axis=1)
    rows = np.flatnonzero(known) if known.any() else np.arange(len(targets))
    return targets[np.resize(rows, count)]


def _step_seconds(task: Task, bench: Bench, batch: int) -> float:
    """Seconds of a step with `batch` samples."""
    config = TrainConfig(
        epochs=STEPS, batch=task.size, lr=1e-6, precision=bench.precision, score_every=None, warmup=0.0
    )  # fmt: skip
    device = bench.backbone.device
    if device.type != "cpu":
        train(task, replace(config, epochs=1), seed=0, device=str(device))  # kernels are compiled and chosen
    trained = train(task, config, seed=0, device=str(device))
    return trained.seconds / trained.steps * batch / task.size


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of `work`, after a first time on a device that has to warm up."""
    if device.type != "cpu":
        work()
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
