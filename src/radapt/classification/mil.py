"""Multiple-instance learning on stored features: which slices of a case matter is learned, the encoder is not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked
from torch import nn

from radapt.classification.fold_search import choose_by_folds, train_chosen
from radapt.classification.learnable import learnable, modalities_of, notes_of
from radapt.classification.rate_search import CaseSearch
from radapt.classification.slice_attention import weights_of
from radapt.classification.stored_slices import SliceScale, StoredSliceLoader, StoredSlices
from radapt.classification.task import LabelledCases, TrainableModel
from radapt.features import Features, select
from radapt.features.pooling import ModalityUse
from radapt.models.folder import SavedModel
from radapt.models.state import ModelState
from radapt.networks.adapters.encoder_network import load_state, state_of
from radapt.networks.aggregators import AGGREGATORS, make_aggregator
from radapt.networks.case_classifier import CaseClassifier
from radapt.protocols.choice import NETWORK_FOLDS
from radapt.protocols.fitted import Fitted, Model, SliceWeights, TrainedModel
from radapt.protocols.holdout import fit_cases
from radapt.protocols.length import Length, searched
from radapt.protocols.out_of_fold import OutOfFold
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.protocol import Protocol
from radapt.protocols.selection import criterion_on_val
from radapt.protocols.targets import ClassWeight, Targets
from radapt.protocols.training_options import Rates
from radapt.training import TrainConfig
from radapt.training.lr_search import TrainSetup, search_rates

if TYPE_CHECKING:
    from radapt.backbones import Backbone

Slices = Literal["mean", "max", "topk", "attention", "transformer"]

RATES = (1e-3, 2e-4, 5e-3)
"""2e-4 is what CLAM and TransMIL train with (Lu et al. 2021; Shao et al. 2021), over far longer; the two larger ones
cost little on stored features. All ways of pooling get the same grid, so that none is favoured."""


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Mil(Protocol[FeatureProblem]):
    """Slices pooled to images and cases by `slices`, under a linear head; trained together on stored slice features.

    Slices are the CLS of the last stored layer, with `patch_mean` beside its mean patch, standardised per modality by
    the slices of training. `slices`: mean, max, topk (the mean of the `k` largest), gated attention or a small
    transformer (see `networks.aggregators`, where the defaults of `k`, `hidden`, `inner`, `layers`, `heads` and
    `dropout` stand: None). How modalities are joined is the study's pooling; a missing one is never silently zero
    (see `CaseClassifier`). A study that lists this protocol once per way of pooling compares them on the same features.

    The head starts from the shares of the classes (as in Lin et al. 2017, section 4.1). AdamW with warm-up and cosine
    follows for each learning rate of `lr`; `epochs` end it, `patience` epochs without a better val end it earlier
    (None: never). `batch` counts cases. The best rate on val answers, and is not trained again with val; or inner folds
    choose rate and epochs, and one training on all of train and val follows (see `fold_search`). Where there is nothing
    to choose on, the first rate is trained to the end. `slices_per_case` slices of each image are learned from in a
    step (None: all); answers use all. `class_weight` `balanced` gives every class the same total weight.
    """

    name: ClassVar[str] = "mil"

    slices: Slices = "attention"
    k: Annotated[int, Field(ge=1)] | None = None
    hidden: Annotated[int, Field(ge=1)] | None = None
    inner: Annotated[int, Field(ge=2)] | None = None
    layers: Annotated[int, Field(ge=1)] | None = None
    heads: Annotated[int, Field(ge=1)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    patch_mean: bool = False
    lr: Rates = RATES
    epochs: Annotated[int, Field(ge=1)] = 50  # stopped early as a rule; as MAE fine-tunes ViT-L
    patience: Annotated[int, Field(ge=1)] | None = 10
    batch: Annotated[int, Field(ge=1)] = 16
    weight_decay: Annotated[float, Field(ge=0, lt=10)] = 0.05  # as for the protocols that train on images
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    slices_per_case: Annotated[int, Field(ge=1)] | None = None
    class_weight: ClassWeight = "none"

    def __post_init__(self) -> None:
        known = AGGREGATORS[self.slices].options
        for option in self._given:
            if option not in known:
                raise ValueError(f"{option} does nothing with slices: {self.slices}")

    @property
    def _given(self) -> dict[str, Any]:
        """Options of the aggregator that differ from its defaults."""
        names = ("k", "hidden", "inner", "layers", "heads", "dropout")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def length(self, samples: int) -> Length:
        return Length.within(
            self.epochs, None, self.batch, samples, rates=searched(len(self.lr)), patience=self.patience
        )

    def shortened(self, length: int) -> "Mil":
        return replace(self, epochs=length, lr=self.lr[:1])

    def fit(self, problem: FeatureProblem, rng: np.random.Generator) -> Fitted:
        """Raises DataError if training diverges."""
        drawing, seeding = rng.spawn(2)
        seed = int(seeding.integers(2**62))
        if problem.method == "cv":
            return self._fit_by_folds(problem, drawing, seed)
        search = self._search(problem, *problem.choosing(drawing), seed)
        cases = search.cases
        best = search_rates(search, self.lr if len(cases.val) else self.lr[:1])
        model = self._model(problem, cases, best.model)
        notes = notes_of(problem.outputs, problem.features, cases, problem.pooling.modalities, best.winner)
        record = best.record(criterion_on_val(cases.rater), fit_cases(problem, cases.train, cases.val), notes)
        return Fitted(model, model, record)

    def _fit_by_folds(self, problem: FeatureProblem, drawing: np.random.Generator, seed: int) -> Fitted:
        folds, rules = problem.inner_folds(NETWORK_FOLDS, drawing, repeats=1), problem.rules
        choice = choose_by_folds(
            lambda train, held_out: self._search(problem, train, held_out, seed), self.lr, folds,
            problem.rater(self.class_weight), problem.labels, one_standard_error=rules.one_standard_error,
        )  # fmt: skip
        search = self._search(problem, folds.rows, folds.rows[:0], seed)
        best = train_chosen(search, choice)
        model = self._model(problem, search.cases, best.model)
        notes = notes_of(problem.outputs, problem.features, search.cases, problem.pooling.modalities, None)
        record = choice.record(best, notes, rules.one_standard_error)
        return Fitted(model, OutOfFold(model, folds.rows, folds.answered, choice.answers), record)

    def _search(self, problem: FeatureProblem, train: np.ndarray, val: np.ndarray, seed: int) -> CaseSearch:
        cases = _labelled(problem, train, val, self)
        scale = SliceScale.fit(cases.images, cases.train)
        setup = TrainSetup(seed, self.name, devices=problem.devices)
        return CaseSearch(
            setup, cases, self._maker(problem, cases, scale, seed), self._train_config(chooses=len(cases.val) > 0)
        )

    def _model(
        self, problem: FeatureProblem, cases: LabelledCases[StoredSlices], trained: TrainableModel
    ) -> "SliceModel":
        return SliceModel(cases.images, SliceClassifier(self, _input(problem, cases), cases.targets, trained))

    def _train_config(self, *, chooses: bool) -> Callable[[float], TrainConfig]:
        patience = self.patience if chooses else None
        return lambda lr: TrainConfig(
            epochs=self.epochs, batch=self.batch, lr=lr, weight_decay=self.weight_decay, warmup=self.warmup,
            clip=self.clip, patience=patience,
        )  # fmt: skip

    def _maker(
        self, problem: FeatureProblem, cases: LabelledCases[StoredSlices], scale: SliceScale, seed: int
    ) -> Callable[[], TrainableModel]:
        given = _input(problem, cases)

        def make() -> TrainableModel:
            trainee = self.trainee(given, cases.targets.values.shape[1], scale, seed)
            with torch.no_grad():
                trainee.network.head.bias.copy_(torch.from_numpy(cases.targets.prior_logits))  # type: ignore[operator, union-attr]
            return trainee

        return make

    def trainee(self, given: "SliceInput", columns: int, scale: SliceScale, seed: int) -> TrainableModel:
        """A new network with `columns` logits for what is given, its first weights decided by `seed`."""
        width = sum(part.stop - part.start for part in given.columns)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            aggregator = make_aggregator(self.slices, width, **self._given)
            network = CaseClassifier(
                nn.Identity(), nn.Identity(), aggregator, width, aggregator.width_out, columns, given.use,
                given.partial,
            )  # fmt: skip
        return TrainableModel(StoredSliceLoader(network, scale, self.slices_per_case))

    def restore(self, saved: SavedModel, backbone: "Backbone | None") -> "SliceClassifier":
        tensors, targets = dict(saved.tensors), Targets.from_encoding(saved.card.label_encoding)
        scale = SliceScale(tensors.pop("scale.mean").numpy(), tensors.pop("scale.deviation").numpy())
        given = SliceInput.from_facts(saved.card.facts)
        trainee = self.trainee(given, len(tensors["head.bias"]), scale, seed=0)
        load_state(trainee.network, tensors)
        trainee.network.eval()
        return SliceClassifier(self, given, targets, trainee)


@dataclass(frozen=True)
class SliceInput:
    """What a network over stored slices reads: `columns` of the rows of `modalities`, of which those that are
    `partial` some training cases lack; `use` says how modalities are joined."""

    modalities: tuple[str, ...]
    partial: tuple[bool, ...]
    columns: tuple[slice, ...]
    use: ModalityUse

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "SliceInput":
        columns = tuple(slice(start, stop) for start, stop in facts["columns"])
        return cls(tuple(facts["modalities"]), tuple(facts["partial"]), columns, facts["use"])

    @property
    def facts(self) -> dict[str, Any]:
        """JSON-like."""
        columns = [[part.start, part.stop] for part in self.columns]
        return {"modalities": self.modalities, "partial": self.partial, "columns": columns, "use": self.use}


@dataclass(frozen=True, eq=False)
class SliceClassifier(TrainedModel):
    """A trained network over stored slices, what it reads and what its logits stand for."""

    protocol: Mil
    given: SliceInput
    targets: Targets
    trainee: TrainableModel

    def state(self, *, self_contained: bool = False) -> ModelState:
        scale = cast(StoredSliceLoader, self.trainee.feed).scale
        tensors = state_of(self.trainee.network)
        tensors |= {f"scale.{name}": torch.from_numpy(getattr(scale, name)) for name in ("mean", "deviation")}
        return ModelState(tensors, self.given.modalities, self.given.facts, self.targets.encoding)

    def on(self, cases: Features) -> "SliceModel":
        return SliceModel(StoredSlices(cases, self.given.modalities, self.given.columns), self)


@dataclass(frozen=True, eq=False)
class SliceModel(Model):
    """A trained network over the stored slices of one cohort."""

    stored: StoredSlices
    classifier: SliceClassifier

    @property
    def trained_model(self) -> SliceClassifier:
        return self.classifier

    def predict(self, rows: np.ndarray) -> np.ndarray:
        logits = self.classifier.trainee.feed.answers(self.stored, rows)
        return self.classifier.targets.probabilities(logits)

    def slice_weights(self, row: int) -> tuple[SliceWeights, ...]:
        kinds = self.stored.present(row)
        images = [(self.stored.modalities[kind], self.stored.count(row, kind)) for kind in kinds]
        return weights_of(self.classifier.trainee, self.stored, row, images)


def _labelled(problem: FeatureProblem, train: np.ndarray, val: np.ndarray, options: Mil) -> LabelledCases[StoredSlices]:
    train, val, targets = learnable(problem.cohort, train, val, options.class_weight)
    kept, _ = modalities_of(problem.features, train)
    stored = StoredSlices(problem.features, kept, select(problem.features.segments, 1, options.patch_mean))
    return LabelledCases(stored, train, targets, val, problem.labels[val], problem.rater(options.class_weight))


def _input(problem: FeatureProblem, cases: LabelledCases[StoredSlices]) -> SliceInput:
    kept, partial = modalities_of(problem.features, cases.train)
    return SliceInput(kept, partial, cases.images.columns, problem.pooling.modalities)
