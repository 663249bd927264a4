"""What all protocols that train a network on cases share: options, the way through, and what they end with."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from radapt.cases import CaseReader
from radapt.cases.preflight import read_images
from radapt.classification.case_model import CaseModel, Classifier
from radapt.classification.fold_search import choose_by_folds, fold_folder, train_chosen
from radapt.classification.input_spec import InputSpec
from radapt.classification.learnable import learnable, modalities_of, notes_of
from radapt.classification.rate_search import CaseSearch
from radapt.classification.task import LabelledCases, TrainableModel
from radapt.models.folder import SavedModel
from radapt.networks.adapters.encoder_network import load_state
from radapt.protocols.choice import NETWORK_FOLDS
from radapt.protocols.fitted import Fitted, Reads
from radapt.protocols.holdout import fit_cases
from radapt.protocols.image_problem import ImageProblem
from radapt.protocols.length import Length, searched
from radapt.protocols.out_of_fold import OutOfFold
from radapt.protocols.protocol import Protocol
from radapt.protocols.selection import criterion_on_val
from radapt.protocols.targets import ClassWeight, Targets
from radapt.protocols.training_options import Rates
from radapt.training import TrainConfig
from radapt.training.checkpoint import fit_key
from radapt.training.lr_search import TrainSetup, search_rates

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone

Augment = Literal["default", "none"]
Optimiser = Literal["adamw", "sgd"]


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class SupervisedProtocol(Protocol[ImageProblem]):
    """Trains a network on cases with AdamW, warm-up and cosine, for each learning rate; the best answers.

    Chosen on val, one network answers for val and for test sets: it is trained on train, stopped and chosen on val, and
    not trained again with val. By inner folds, rate and epochs are chosen out of fold, and one training on all of train
    and val follows (see `fold_search`). Where there are too few patients to choose on, the first rate is trained to the
    end.

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

    def length(self, samples: int) -> Length:
        rates = searched(len(self.lr))
        return Length.within(self.epochs, self.steps, self.batch, samples, rates=rates, patience=self.patience)

    def shortened(self, length: int) -> "SupervisedProtocol":
        return replace(self, epochs=length, lr=self.lr[:1])

    @abc.abstractmethod
    def trainee(self, shape: InputSpec, backbone: "Backbone | None", seed: int) -> TrainableModel:
        """A new network for `shape`, around `backbone`, which it may change. Equal seeds give equal networks."""

    @property
    def optimiser_used(self) -> Optimiser:
        return "adamw"

    def train_config(self, lr: float, *, chooses: bool, precision: Literal["float32", "bfloat16"]) -> TrainConfig:
        """How one candidate is trained; without val to choose on it is never stopped early."""
        return TrainConfig(
            epochs=self.epochs, batch=self.batch, lr=lr, steps=self.steps, weight_decay=self.weight_decay,
            optimiser=self.optimiser_used, warmup=self.warmup, clip=self.clip, score_every=self.score_every,
            patience=self.patience if chooses else None, precision=precision,
        )  # fmt: skip

    def fit(self, problem: ImageProblem, rng: np.random.Generator) -> Fitted:
        """Raises DataError if images cannot be read, or training diverges; UsageError if something does not fit."""
        drawing, seeding = rng.spawn(2)
        seed = int(seeding.integers(2**62))
        if problem.method == "cv":
            return self._fit_by_folds(problem, drawing, seed)
        train, val, _ = learnable(problem.cohort, *problem.choosing(drawing), self.class_weight)
        decoded = _decode(problem, train, np.concatenate([train, val]))
        search = self._search(problem, decoded, train, val, seed)
        cases = search.cases
        rates = self.lr if len(cases.val) else self.lr[:1]
        key = self._key(problem, (cases.train, cases.val), decoded.keys, seed)
        best = search_rates(search, rates, problem.machine.checkpoints, key)
        model = self._model(problem, cases, best.model)
        notes = notes_of(problem.cohort.outputs, problem.cohort, cases, problem.pooling.modalities, best.winner)
        record = best.record(criterion_on_val(cases.rater), fit_cases(problem, cases.train, cases.val), notes)
        return Fitted(model, model, record)

    def _fit_by_folds(self, problem: ImageProblem, drawing: np.random.Generator, seed: int) -> Fitted:
        folds, rules, root = problem.inner_folds(NETWORK_FOLDS, drawing), problem.rules, problem.machine.checkpoints
        decoded = _decode(problem, folds.rows, folds.answered)
        drawn = tuple(fold.held_out for fold in folds.repeats[0])
        key = self._key(problem, drawn, [*decoded.keys, rules.select_by or "", rules.decision], seed)
        choice = choose_by_folds(
            lambda train, held_out: self._search(problem, decoded, train, held_out, seed), self.lr, folds,
            problem.rater(self.class_weight), problem.cohort.labels, one_standard_error=rules.one_standard_error,
            folder=fold_folder(root, key),
        )  # fmt: skip
        search = self._search(problem, decoded, folds.rows, folds.rows[:0], seed)
        last = f"{key}-{choice.rate:g}-{choice.epochs}"
        best = train_chosen(search, choice, root and root / "final", last)
        model = self._model(problem, search.cases, best.model)
        notes = notes_of(problem.cohort.outputs, problem.cohort, search.cases, problem.pooling.modalities, None)
        record = choice.record(best, notes, rules.one_standard_error)
        return Fitted(model, OutOfFold(model, folds.rows, folds.answered, choice.answers), record)

    def _search(
        self, problem: ImageProblem, decoded: "_Decoded", train: np.ndarray, val: np.ndarray, seed: int
    ) -> CaseSearch:
        cases = _labelled(problem, decoded, train, val, self.class_weight)
        shape, machine = _shape(problem, cases), problem.machine
        return CaseSearch(
            TrainSetup(seed, self.name, machine.device, machine.devices, machine.progress), cases,
            _maker(self, problem, cases, shape, seed),
            lambda lr: self.train_config(lr, chooses=len(cases.val) > 0, precision=machine.precision),
            self.label_smoothing,
        )  # fmt: skip

    def _model(self, problem: ImageProblem, cases: LabelledCases[CaseReader], trained: TrainableModel) -> CaseModel:
        answering = replace(cases.targets, values=cases.targets.values[:0], weights=cases.targets.weights[:0])
        shape, precision = _shape(problem, cases), problem.machine.precision
        classifier = Classifier(shape, problem.cohort.outputs, answering, trained, precision)
        return CaseModel(classifier, problem.images)

    def restore(self, saved: SavedModel, backbone: "Backbone | None") -> Classifier:
        card = saved.card
        shape = InputSpec.from_facts(card.facts, card.kind, card.recipe)
        trainee = self.trainee(shape, backbone, seed=0)
        load_state(trainee.network, saved.tensors)
        device = next(trainee.network.encoder.parameters()).device  # type: ignore[union-attr]
        trainee.network.to(device).eval()
        targets = Targets.from_encoding(card.label_encoding)
        return Classifier(shape, card.outputs, targets, trainee, card.precision)

    def _key(self, problem: ImageProblem, rows: Sequence[np.ndarray], keys: list[str], seed: int) -> str:
        places = [] if problem.places is None else [problem.places.digest]
        return fit_key(
            protocol=self.name, options=asdict(self), seed=seed, precision=problem.machine.precision,
            data=[problem.recipe.digest, asdict(problem.pooling), problem.cohort.modalities, [*keys, *places]],
            arrays=(*rows, np.nan_to_num(problem.cohort.labels, nan=-1)),
        )  # fmt: skip


@dataclass(frozen=True)
class _Decoded:
    """Channels of the images, and what names the images' bytes, after every one was decoded."""

    channels: int
    keys: list[str]


def _decode(problem: ImageProblem, learned: np.ndarray, rows: np.ndarray) -> _Decoded:
    """Decode every image of the cases at `rows` in the modalities that any of those `learned` from has."""
    kept, _ = modalities_of(problem.cohort, learned)
    return _Decoded(*read_images(problem.images.reader(problem.recipe, kept), rows, problem.machine.progress))


def _labelled(
    problem: ImageProblem, decoded: _Decoded, train: np.ndarray, val: np.ndarray, class_weight: ClassWeight
) -> LabelledCases[CaseReader]:
    """Cases to learn from and to choose on, whose images were decoded."""
    cohort = problem.cohort
    train, val, targets = learnable(cohort, train, val, class_weight)
    kept, _ = modalities_of(cohort, train)
    images = problem.images.reader(problem.recipe, kept).with_channels(decoded.channels)
    return LabelledCases(images, train, targets, val, cohort.labels[val], problem.rater(class_weight))


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
