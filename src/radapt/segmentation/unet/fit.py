"""Fitting `unet`: fingerprint, plan, volumes on its grid, one training, the weights that were best on val kept."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from radapt.classification.candidates import CHECKPOINT_S
from radapt.digests import digest
from radapt.networks import UNetPlan, build_unet, plan_unet
from radapt.protocols.fitted import Fitted, Segmenter
from radapt.protocols.image_problem import ImageProblem
from radapt.segmentation.criterion import CRITERION
from radapt.segmentation.data import SegmentationData
from radapt.segmentation.sides import has_sides
from radapt.segmentation.training_notes import cost_of, missing_notes, training_notes
from radapt.segmentation.unet.fingerprint import Cases, colours_of, fingerprint, measure
from radapt.segmentation.unet.model import VolumeModel, VolumeSegmenter
from radapt.segmentation.unet.prepared import PreparedCases
from radapt.segmentation.unet.task import Sampling, UNetTask
from radapt.training import Augmentation, TrainResult, train
from radapt.versions import __version__

if TYPE_CHECKING:
    from radapt.segmentation.unet.protocol import UNetProtocol


class Fitting:
    """One call of `UNetProtocol.fit`."""

    def __init__(
        self, protocol: "UNetProtocol", problem: ImageProblem, drawing: np.random.Generator, seed: int
    ) -> None:
        """Measure the training cases and plan. Raises DataError if masks cannot be used, or none has a label."""
        self.protocol, self.problem, self.seed = protocol, problem, seed
        self.data = SegmentationData(problem)
        self.train, self.val = problem.choosing(drawing)
        cases = Cases(problem, self.data)
        facts = measure(cases, self.train, problem.machine.progress)
        colours = colours_of(facts)
        kept = [index for index, count in enumerate(colours) if count]
        found = fingerprint(problem.cohort.kind, self.data.modalities, facts)
        self.plan = plan_unet(found, protocol.dims, protocol.budget)
        self.modalities = tuple(self.data.modalities[index] for index in kept)
        self.prepared = PreparedCases(cases, self.plan, kept, [colours[index] for index in kept])
        self.flips = mirror_axes(protocol.mirror, self.plan, problem.cohort.kind, self.data.labels.values())

    def fitted(self) -> Fitted[Segmenter]:
        machine, protocol = self.problem.machine, self.protocol
        names = self.prepared.ready([*self.train, *self.val], machine.progress)
        key = digest(
            [__version__, asdict(protocol), self.plan.facts(), machine.precision, names, len(self.val), self.seed]
        )
        checkpoint = machine.checkpoints and machine.checkpoints / f"{key}.pt"
        model = self._model()
        task = UNetTask(model, self.prepared, self.problem.cohort, self.train, self.val, self._sampling())
        trained = train(
            task, protocol.regime(self.plan.batch, machine.precision), seed=self.seed, device=machine.device,
            devices=machine.devices, checkpoint=checkpoint, interval_s=CHECKPOINT_S, progress=machine.progress,
            label=protocol.name,
        )  # fmt: skip
        chosen = self._chosen(trained)
        if machine.folder is not None:
            model.save(machine.folder, asdict(protocol), chosen)
        segmenter = VolumeSegmenter(model, self.data)
        return Fitted(segmenter, segmenter, chosen, cost_of(trained))

    def _model(self) -> VolumeModel:
        network = build_unet(self.plan, len(self.plan.scalings), self.data.classes, self.seed)
        mirrors = self.flips if self.protocol.mirror_test else ()
        return VolumeModel(
            network, self.plan, self.data.labels, self.modalities, self.prepared.colours, mirrors,
            self.problem.machine.precision,
        )  # fmt: skip

    def _sampling(self) -> Sampling:
        plan, protocol = self.plan, self.protocol
        steps = -(-protocol.steps // protocol.looks)
        augmentation = None
        if protocol.augment == "default" or self.flips:
            chances = tuple(0.5 if axis in self.flips else 0.0 for axis in range(plan.dims))
            spacing = tuple(plan.spacing_mm[axis] or 1.0 for axis in plan.network_axes)
            augmentation = Augmentation.for_kind(
                self.problem.cohort.kind, plan.dims, protocol.augment, flips=chances, spacing=spacing, bounds=None
            )
        return Sampling(protocol.foreground, protocol.modality_dropout, augmentation, steps * plan.batch)

    def _chosen(self, trained: TrainResult) -> dict[str, Any]:
        plan, own, chooses = self.plan, len(self.problem.rows("val")) > 0, len(self.val) > 0
        looks = [{"epoch": one["epoch"], "val_dice": one["score"]} for one in trained.history]
        shape = {"dims": plan.dims, "patch": plan.patch, "spacing_mm": plan.spacing_mm, "batch": plan.batch}
        return {
            "winner": {**shape, "val_dice": trained.score, "best_epoch": trained.best_epoch},
            "criterion": CRITERION if chooses else "no case to choose on, so the last weights were taken",
            "candidates": looks if chooses else [],
            "cases": {"train": len(self.train), "val": len(self.val)},
            "val": ("the cohort's" if own else "drawn by patient inside train") if chooses else "none",
            "plan": plan.facts(),
            "trained": trained.trained_parameters,
            "parameters": trained.parameters,
            "notes": self._notes(trained, chooses),
            "history": trained.history,
        }

    def _notes(self, trained: TrainResult, chooses: bool) -> list[str]:
        """What a reader should know."""
        having = self.problem.cohort.presence[self.train]
        said = [*self.data.notes, *missing_notes(self.data.modalities, having)]
        if self.plan.longest is not None:
            said.append(
                f"Pictures without spacing: each is scaled to {self.plan.longest} pixels along its longer side."
            )
        return list(dict.fromkeys([*said, *training_notes(trained, chooses), *trained.notes]))


def mirror_axes(mirror: str, plan: UNetPlan, kind: str, labels: Iterable[str]) -> tuple[int, ...]:
    """The axes of the patch that are flipped in training. The first axis of a volume runs from left to right."""
    if mirror == "all":
        return tuple(range(plan.dims))
    if mirror == "none" or (mirror == "auto" and (kind == "xray" or has_sides(labels))):
        return ()
    return (plan.network_axes.index(0),) if 0 in plan.network_axes else ()
