"""Fitting `unet`: fingerprint, plan, volumes on its grid, one training, the weights that were best on val kept."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import numpy as np

from radapt.networks import UNet, UNetPlan, build_unet, plan_unet
from radapt.protocols.fitted import Fitted, Segmenter
from radapt.protocols.holdout import fit_cases
from radapt.protocols.image_problem import ImageProblem
from radapt.segmentation.criterion import CRITERION
from radapt.segmentation.data import SegmentationData
from radapt.segmentation.fit_notes import BY_DEFAULT, choice_note, modality_notes, val_notes
from radapt.segmentation.sides import has_sides
from radapt.segmentation.unet.fingerprint import Cases, colours_of, fingerprint, measure
from radapt.segmentation.unet.model import METHOD, VolumeModel, VolumeSegmenter
from radapt.segmentation.unet.options import UNetOptions
from radapt.segmentation.unet.prepared import PreparedCases
from radapt.segmentation.unet.task import Sampling, UNetTask
from radapt.segmentation.whole_search import WholeSearch
from radapt.training import Augmentation
from radapt.training.checkpoint import fit_key
from radapt.training.fit_record import Candidate
from radapt.training.lr_search import TrainSetup, search_rates


class UNetFit:
    """One call of `UNetProtocol.fit`."""

    def __init__(self, options: UNetOptions, problem: ImageProblem, drawing: np.random.Generator, seed: int) -> None:
        """Measure the training cases and plan. Raises DataError if masks cannot be used, or none has a label."""
        self.options, self.problem, self.seed = options, problem, seed
        self.data = SegmentationData(problem)
        self.train, self.val = problem.choosing(drawing) if options.scores else problem.everything
        cases = Cases(problem, self.data)
        facts = measure(cases, self.train, problem.machine.progress)
        colours = colours_of(facts)
        kept = [index for index, count in enumerate(colours) if count]
        found = fingerprint(problem.cohort.kind, self.data.modalities, facts)
        self.plan = plan_unet(found, options.dims, options.budget)
        self.modalities = tuple(self.data.modalities[index] for index in kept)
        self.prepared = PreparedCases(cases, self.plan, kept, [colours[index] for index in kept])
        self.flips = mirror_axes(options.mirror, self.plan, problem.cohort.kind, self.data.labels.values())

    def fitted(self) -> Fitted[Segmenter]:
        machine, options = self.problem.machine, self.options
        names = self.prepared.ready([*self.train, *self.val], machine.progress)
        sampling = self._sampling()
        search: WholeSearch[UNet] = WholeSearch(
            TrainSetup(self.seed, METHOD, machine.device, machine.devices, machine.progress),
            lambda: build_unet(self.plan, len(self.plan.scalings), self.data.classes, self.seed),
            lambda network: UNetTask(
                self._model(network), self.prepared, self.problem.cohort, self.train, self.val, sampling
            ),
            options.train_config(self.plan.batch, machine.precision), len(self.val) > 0,
        )  # fmt: skip
        best = search_rates(search, [options.rate], machine.checkpoints, self._key(names))
        model = self._model(best.model)
        record = best.record(
            CRITERION, fit_cases(self.problem, self.train, self.val), self._notes(best.winner),
            {"plan": self.plan.facts()}, by_default=BY_DEFAULT,
        )  # fmt: skip
        segmenter = VolumeSegmenter(model, self.data)
        return Fitted(segmenter, segmenter, record)

    def _key(self, images: Sequence[str]) -> str:
        return fit_key(
            protocol=METHOD, options=asdict(self.options), seed=self.seed, precision=self.problem.machine.precision,
            data=[images, len(self.val)], network=self.plan.facts(),
        )  # fmt: skip

    def _model(self, network: UNet) -> VolumeModel:
        mirrors = self.flips if self.options.mirror_test else ()
        return VolumeModel(
            network, self.plan, self.data.labels, self.modalities, self.prepared.colours, mirrors,
            self.problem.machine.precision,
        )  # fmt: skip

    def _sampling(self) -> Sampling:
        plan, options = self.plan, self.options
        steps = -(-options.steps // options.looks)
        augmentation = None
        if options.augment == "default" or self.flips:
            chances = tuple(0.5 if axis in self.flips else 0.0 for axis in range(plan.dims))
            spacing = tuple(plan.spacing_mm[axis] or 1.0 for axis in plan.network_axes)
            augmentation = Augmentation.for_kind(
                self.problem.cohort.kind, plan.dims, options.augment, flips=chances, spacing=spacing, bounds=None
            )
        return Sampling(options.foreground, options.modality_dropout, augmentation, steps * plan.batch)

    def _notes(self, winner: Candidate) -> list[str]:
        """What a reader should know, beside what the search says."""
        having = self.problem.cohort.presence[self.train]
        said = [*self.data.notes, *modality_notes(self.data.modalities, having, "zeros stand in for it")]
        if self.plan.longest is not None:
            said.append(
                f"Pictures without spacing: each is scaled to {self.plan.longest} pixels along its longer side."
            )
        if not self.options.scores:
            return [*said, "Trained on train and val, and the last weights were taken (scores: 0)."]
        return [*said, *choice_note(self.problem, len(self.val)), *val_notes(winner, len(self.val) > 0)]


def mirror_axes(mirror: str, plan: UNetPlan, kind: str, labels: Iterable[str]) -> tuple[int, ...]:
    """The axes of the patch that are flipped in training. The first axis of a volume runs from left to right."""
    if mirror == "all":
        return tuple(range(plan.dims))
    if mirror == "none" or (mirror == "auto" and (kind == "xray" or has_sides(labels))):
        return ()
    return (plan.network_axes.index(0),) if 0 in plan.network_axes else ()
