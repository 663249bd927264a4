"""The U-Net from scratch: planned as nnU-Net plans it, trained on patches, answering in the patient's own grid."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from radapt.digests import digest
from radapt.images import Volume
from radapt.networks import Budget, UNetPlan, build_unet, plan_unet
from radapt.networks.plan import REFERENCE_GB, WIDEST_PATCH
from radapt.protocols.images import ImageProblem, Machine
from radapt.protocols.protocol import Aim, Fitted, Protocol, Reads, Segmenter
from radapt.protocols.segmentation.criterion import CRITERION
from radapt.protocols.segmentation.data import SegmentationData
from radapt.protocols.segmentation.fingerprint import CaseFacts, Cases, colours_of, fingerprint, measure
from radapt.protocols.segmentation.prepared import PreparedCases
from radapt.protocols.segmentation.sides import has_sides
from radapt.protocols.segmentation.training_told import cost_of, missing_notes, training_notes
from radapt.protocols.segmentation.unet_task import Sampling, UNetTask
from radapt.protocols.segmentation.volume_model import VolumeModel
from radapt.training import Augmentation, Regime, Trained, train
from radapt.versions import __version__

RATES = {"sgd": 0.01, "adamw": 1e-3}
"""Learning rates: nnU-Net's for SGD, and the usual one of AdamW for convolutions with instance norm."""

DECAYS = {"sgd": 3e-5, "adamw": 0.05}
"""Weight decay: nnU-Net's, and that of `training.Regime`."""

MOMENTUM = 0.99
"""Nesterov momentum of nnU-Net."""

CLIP = 12.0
"""Norm that gradients are cut to, nnU-Net's."""


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class UNetProtocol(Protocol[ImageProblem]):
    """A U-Net trained from scratch, planned by nnU-Net's rules from the training cases (Isensee et al. 2021).

    `dims` 2 or 3, None: 3 where stacks are thick enough. `features` of the first stage, `memory_gb` for the patch,
    `longest` side of planes in 2D, and `patch` and `batch` in place of the planned ones: see `networks.plan`.
    `steps` of the optimiser: nnU-Net takes 250,000; the default is what two CPU cores do in half an hour, and `chosen`
    says in its notes if val was still rising. `scores` times val is looked at, and the best weights are kept.
    `foreground` is the share of patches centred in a label. `optimiser` `sgd` (Nesterov, poly) or `adamw` (cosine);
    `lr` and `weight_decay` None take what suits it. `augment`: what suits the kind of image, or `none`. `mirror`: flips
    in training, of left and right (`auto`: unless a label has a side, or the images are X-rays), of `all` axes, or
    `none`; with `mirror_test` answers are averaged over the same flips. `modality_dropout` blanks each modality of a
    sample with that chance, never all.
    """

    name: ClassVar[str] = "unet"
    aim: ClassVar[Aim] = "segmentation"
    reads: ClassVar[Reads] = "images"
    uses_backbone: ClassVar[bool] = False

    dims: Literal[2, 3] | None = None
    steps: Annotated[int, Field(ge=1)] = 1000
    scores: Annotated[int, Field(ge=1)] = 10
    batch: Annotated[int, Field(ge=1)] | None = None
    patch: tuple[Annotated[int, Field(ge=1, le=2048)], ...] | None = None
    features: Annotated[int, Field(ge=1, le=512)] = 32
    memory_gb: Annotated[float, Field(gt=0, le=1024)] = REFERENCE_GB
    longest: Annotated[int, Field(ge=16, le=8192)] | None = WIDEST_PATCH
    foreground: Annotated[float, Field(ge=0, le=1)] = 0.33
    optimiser: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0, le=10)] | None = None
    weight_decay: Annotated[float, Field(ge=0, lt=10)] | None = None
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augment: Literal["default", "none"] = "default"
    mirror: Literal["auto", "none", "left-right", "all"] = "auto"
    mirror_test: bool = False
    modality_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def fit(self, problem: ImageProblem, rng: np.random.Generator) -> Fitted[Segmenter]:
        """Raises DataError if images or masks cannot be used, no training mask has a label, or training diverges."""
        drawing, seeding = rng.spawn(2)
        seed = int(seeding.integers(2**62))
        machine, data = problem.machine, SegmentationData(problem)
        rows, val = problem.choosing(drawing)
        cases = Cases(problem, data)
        facts = measure(cases, rows, machine.progress)
        colours = colours_of(facts)
        kept = [index for index, count in enumerate(colours) if count]
        plan = plan_unet(fingerprint(problem.cohort.kind, data.modalities, facts), self.dims, self._budget)
        prepared = PreparedCases(cases, plan, kept, [colours[index] for index in kept])
        names = prepared.ready([*rows, *val], machine.progress)
        flips = mirror_axes(self.mirror, plan, problem.cohort.kind, data.labels.values())
        network = build_unet(plan, len(plan.scalings), data.classes, seed)
        model = VolumeModel(
            network, plan, data.labels, tuple(data.modalities[index] for index in kept), prepared.colours,
            flips if self.mirror_test else (), machine.precision,
        )  # fmt: skip
        regime = self.regime(plan, machine)
        task = UNetTask(model, prepared, problem.cohort, rows, val, self._sampling(plan, problem.cohort.kind, flips))
        folder, key = machine.folder, digest([__version__, asdict(self), plan.facts(), names, len(val), seed])
        checkpoint = None if folder is None else folder / f"checkpoint-{key}.pt"
        trained = train(
            task, regime, seed=seed, device=machine.device, checkpoint=checkpoint, progress=machine.progress,
            label=self.name,
        )  # fmt: skip
        chosen = self._chosen(problem, data, plan, facts, (rows, val), trained)
        if folder is not None:
            model.save(folder, asdict(self), chosen)
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
        found = VolumeSegmenter(model, data)
        return Fitted(found, found, chosen, cost_of(trained))

    def regime(self, plan: UNetPlan, machine: Machine) -> Regime:
        """How the plan is trained: an epoch is the time between two looks at val."""
        sgd = self.optimiser == "sgd"
        return Regime(
            epochs=min(self.scores, self.steps), batch=plan.batch, steps=self.steps, optimiser=self.optimiser,
            lr=self.lr or RATES[self.optimiser], momentum=MOMENTUM, warmup=self.warmup, clip=CLIP,
            weight_decay=DECAYS[self.optimiser] if self.weight_decay is None else self.weight_decay,
            schedule="poly" if sgd else "cosine", precision=machine.precision,
        )  # fmt: skip

    @property
    def _budget(self) -> Budget:
        return Budget(self.memory_gb, self.features, self.longest, self.patch, self.batch)

    def _sampling(self, plan: UNetPlan, kind: str, flips: Sequence[int]) -> Sampling:
        chances = tuple(0.5 if axis in flips else 0.0 for axis in range(plan.dims))
        seen = [plan.spacing_mm[axis] or 1.0 for axis in range(3) if plan.dims == 3 or axis != plan.axis]
        augmentation = Augmentation.for_kind(
            kind, plan.dims, self.augment, flips=chances, spacing=tuple(seen), bounds=None  # type: ignore[arg-type]
        )  # fmt: skip
        steps = -(-self.steps // min(self.scores, self.steps))
        plain = self.augment == "none" and not flips
        return Sampling(self.foreground, self.modality_dropout, None if plain else augmentation, steps * plan.batch)

    def _chosen(
        self,
        problem: ImageProblem,
        data: SegmentationData,
        plan: UNetPlan,
        facts: Sequence[CaseFacts],
        rows: tuple[np.ndarray, np.ndarray],
        trained: Trained,
    ) -> dict[str, Any]:
        own, chooses = len(problem.rows("val")) > 0, len(rows[1]) > 0
        looks = [{"epoch": one["epoch"], "val_dice": one["score"]} for one in trained.history]
        return {
            "winner": {"dims": plan.dims, "patch": plan.patch, "spacing_mm": plan.spacing_mm, "batch": plan.batch},
            "criterion": CRITERION if chooses else "no case to choose on, so the last weights were taken",
            "candidates": looks if chooses else [],
            "cases": {"train": len(rows[0]), "val": len(rows[1])},
            "val": ("the cohort's" if own else "drawn by patient inside train") if chooses else "none",
            "plan": plan.facts(),
            "trained": trained.trained_parameters,
            "parameters": trained.parameters,
            "notes": self._notes(data, plan, facts, trained, chooses),
            "history": trained.history,
        }  # fmt: skip

    def _notes(
        self, data: SegmentationData, plan: UNetPlan, facts: Sequence[CaseFacts], trained: Trained, chooses: bool
    ) -> list[str]:
        """What a reader should know."""
        having = np.array([one.colours > 0 for one in facts])
        said = [*data.notes, *missing_notes(data.modalities, having)]
        if plan.longest is not None:
            said.append(f"Pictures without spacing: each is scaled to {plan.longest} pixels along its longer side.")
        return list(dict.fromkeys([*said, *training_notes(trained, chooses), *trained.notes]))


@dataclass(frozen=True, eq=False)
class VolumeSegmenter(Segmenter):
    """A model that answers for the cases of one cohort."""

    model: VolumeModel
    data: SegmentationData

    def segment(self, row: int) -> Volume:
        volumes = zip(self.data.modalities, self.data.volumes(row), strict=True)
        return self.model.segment({name: one for name, one in volumes if one is not None}, self.data.grid(row))


def mirror_axes(mirror: str, plan: UNetPlan, kind: str, labels: Iterable[str]) -> tuple[int, ...]:
    """The axes of the patch that are flipped in training."""
    seen = [axis for axis in range(3) if plan.dims == 3 or axis != plan.axis]
    if mirror == "all":
        return tuple(range(plan.dims))
    if mirror == "none" or (mirror == "auto" and (kind == "xray" or has_sides(labels))):
        return ()
    return (seen.index(0),) if 0 in seen else ()
