"""What all protocols that train a network on cases share: options, the way through, and what they end with."""

import abc
import hashlib
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from radapt.cases import CaseReader
from radapt.cases.preflight import read_images
from radapt.classification.candidates import CandidateStore, Training, load_state, train_candidates
from radapt.classification.case_model import CaseModel, Classifier
from radapt.classification.input_spec import InputSpec
from radapt.classification.outcome import choice_of, cost_of, learnable, modalities_of, notes_of
from radapt.classification.task import LabelledCases, TrainableModel
from radapt.digests import digest
from radapt.models.folder import SavedModel
from radapt.protocols.fitted import Fitted, Reads
from radapt.protocols.image_problem import ImageProblem
from radapt.protocols.protocol import Protocol
from radapt.protocols.targets import ClassWeight, Targets
from radapt.training import TrainConfig
from radapt.versions import __version__

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone

STEP_BACK = 2.0
"""A step back costs about two forward passes (Kaplan et al. 2020, section 2.1)."""

Augment = Literal["default", "none"]
Optimiser = Literal["adamw", "sgd"]


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value


Rate = Annotated[float, Field(gt=0, le=10)]
Rates = Annotated[tuple[Rate, ...], BeforeValidator(_several), Field(min_length=1, max_length=20)]
"""A learning rate or several, the best of which is chosen on val; without val the first is taken."""


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class SupervisedProtocol(Protocol[ImageProblem]):
    """Trains a network on cases with AdamW, warm-up and cosine, for each learning rate; the best on val answers.

    One network answers for val and for test sets: it is trained on train, stopped and chosen on val, and not trained
    again with val. Where the cohort has too few patients to choose on, the first rate is trained to the end.

    `lr`: rates of the network, each a training of its own from the same start. `epochs`, and `steps` if given, end
    it; `patience` epochs without a better val end it earlier (None: never), val being looked at every
    `score_every` epochs. `batch` counts cases. `weight_decay` spares biases, norms and embeddings; `warmup` is a share
    of the steps, `clip` the longest gradient. `augment`: what suits the kind of image (see
    `training.Augmentation`), or `none`. `class_weight` `balanced` gives every class the same total weight, by its share
    of training. `label_smoothing` moves targets so far towards not knowing.
    """

    reads: ClassVar[Reads] = "images"

    lr: Rates = (1e-4,)
    epochs: Annotated[int, Field(ge=1)] = 30
    steps: Annotated[int, Field(ge=1)] | None = None
    patience: Annotated[int, Field(ge=1)] | None = 10
    score_every: Annotated[int, Field(ge=1)] = 1
    batch: Annotated[int, Field(ge=1)] = 16
    weight_decay: Annotated[float, Field(ge=0, lt=10)] = 0.05
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    augment: Augment = "default"
    class_weight: ClassWeight = "none"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def passes(self, slices: int, cases: int, images: int) -> float | None:
        """Forward and back at every learning rate until `epochs` or `steps` end it, each time `learned` of a case."""
        if not self.uses_backbone:
            return None
        epochs = self.regime(self.lr[0], chooses=False, precision="float32").epochs_at_most(cases)
        return len(self.lr) * epochs * (1 + STEP_BACK) * self.learned(slices, images)

    def learned(self, slices: int, images: int) -> float:
        """The share of the slices of a case that are learned from in a step, at most."""
        return 1.0

    @abc.abstractmethod
    def trainee(self, shape: InputSpec, backbone: "Backbone | None", seed: int) -> TrainableModel:
        """A new network for `shape`, around `backbone`, which it may change. Equal seeds give equal networks."""

    @property
    def optimiser_used(self) -> Optimiser:
        return "adamw"

    def regime(self, lr: float, *, chooses: bool, precision: Literal["float32", "bfloat16"]) -> TrainConfig:
        """How one candidate is trained; without val to choose on it is never stopped early."""
        return TrainConfig(
            epochs=self.epochs, batch=self.batch, lr=lr, steps=self.steps, weight_decay=self.weight_decay,
            optimiser=self.optimiser_used, warmup=self.warmup, clip=self.clip, score_every=self.score_every,
            patience=self.patience if chooses else None, precision=precision,
        )  # fmt: skip

    def fit(self, problem: ImageProblem, rng: np.random.Generator) -> Fitted:
        """Raises DataError if images cannot be read, or training diverges; UsageError if something does not fit."""
        drawing, seeding = rng.spawn(2)
        cases, keys = _labelled(problem, drawing, self.class_weight)
        shape = _shape(problem, cases)
        seed = int(seeding.integers(2**62))
        made = _maker(self, problem, cases, shape, seed)
        machine = problem.machine
        kept = CandidateStore(machine.checkpoints, self._key(problem, cases, keys, seed))
        training = Training(
            cases, made, lambda lr: self.regime(lr, chooses=len(cases.val) > 0, precision=machine.precision),
            self.label_smoothing, seed, machine.device, machine.progress, self.name, machine.devices,
        )  # fmt: skip
        winner = train_candidates(training, self.lr if len(cases.val) else self.lr[:1], kept)
        answering = replace(cases.targets, values=cases.targets.values[:0], weights=cases.targets.weights[:0])
        classifier = Classifier(shape, problem.cohort.outputs, answering, winner.trainee, machine.precision)
        model = CaseModel(classifier, problem.cohort, problem.slices)
        chosen = choice_of(winner, cases, own_val=len(problem.rows("val")) > 0)
        notes = notes_of(
            problem.cohort.outputs, problem.cohort, cases, shape.modalities, shape.partial, shape.use, winner
        )
        return Fitted(model, model, {**chosen, "notes": notes}, cost_of(winner))

    def restore(self, saved: SavedModel, backbone: "Backbone | None") -> Classifier:
        card = saved.card
        shape = InputSpec.from_facts(card.facts, card.kind, card.recipe)
        trainee = self.trainee(shape, backbone, seed=0)
        load_state(trainee.network, saved.tensors)
        device = next(trainee.network.encoder.parameters()).device  # type: ignore[union-attr]
        trainee.network.to(device).eval()
        targets = Targets.from_encoding(card.label_encoding)
        return Classifier(shape, card.outputs, targets, trainee, card.precision)

    def _key(self, problem: ImageProblem, cases: LabelledCases[CaseReader], keys: list[str], seed: int) -> str:
        """Names all that decides a training, so that a checkpoint of another one is never gone on from."""
        numbers = (cases.train, cases.val, np.nan_to_num(problem.cohort.labels, nan=-1))
        texts = [hashlib.blake2b(np.ascontiguousarray(each).tobytes()).hexdigest() for each in numbers]
        facts = [self.name, asdict(self), problem.recipe.digest, asdict(problem.pooling), problem.machine.precision]
        return digest([__version__, *facts, problem.cohort.modalities, keys, texts, seed])


def _labelled(
    problem: ImageProblem, rng: np.random.Generator, class_weight: ClassWeight
) -> tuple[LabelledCases[CaseReader], list[str]]:
    """Cases to learn from and to choose on, every image of theirs decoded, and what names the images' bytes."""
    cohort = problem.cohort
    train, val, targets = learnable(cohort, *problem.choosing(rng), class_weight)
    kept, _ = modalities_of(cohort, train)
    images = CaseReader(cohort, problem.slices, problem.recipe, kept, grid="own")
    channels, keys = read_images(images, np.concatenate([train, val]), problem.machine.progress)
    return LabelledCases(images.with_channels(channels), train, targets, val, cohort.labels[val]), keys


def _shape(problem: ImageProblem, cases: LabelledCases[CaseReader]) -> InputSpec:
    cohort, images = problem.cohort, cases.images
    kept, partial = modalities_of(cohort, cases.train)
    return InputSpec(
        cohort.kind, problem.recipe, kept, partial, images.channels or 1, cases.targets.values.shape[1],
        problem.pooling.slices, problem.pooling.modalities,
    )  # fmt: skip


def _maker(
    protocol: SupervisedProtocol, problem: ImageProblem, cases: LabelledCases[CaseReader], shape: InputSpec, seed: int
) -> Callable[[], TrainableModel]:
    """Makes networks that begin by answering with the shares of the answers (Lin et al. 2017, section 4.1)."""
    shares = torch.from_numpy(cases.targets.prior_logits)

    def make() -> TrainableModel:
        trainee = protocol.trainee(shape, problem.backbone() if protocol.uses_backbone else None, seed)
        with torch.no_grad():
            trainee.network.head.bias.copy_(shares)  # type: ignore[operator, union-attr]
        return trainee

    return make
