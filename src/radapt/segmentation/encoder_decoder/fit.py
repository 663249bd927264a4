"""Fitting `segment`: tokens stored or not, one training per learning rate, the best on val kept."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from radapt.cases.sampling import SliceIndex
from radapt.errors import DataError
from radapt.features.token_store import TokenLayout
from radapt.metrics.shapley import check_players
from radapt.networks import fingerprint
from radapt.networks.adapters.encoder_network import load_state, state_of
from radapt.networks.decoders.registry import decoder_class, decoder_layers
from radapt.protocols.fitted import Fitted, Segmenter
from radapt.protocols.holdout import fit_cases
from radapt.protocols.image_problem import ImageProblem
from radapt.segmentation.criterion import CRITERION, best_dice, mean_dice
from radapt.segmentation.data import SegmentationData
from radapt.segmentation.encoder_decoder.model import METHOD, SegmentModel, SliceSegmenter
from radapt.segmentation.encoder_decoder.network import SegmentationNetwork
from radapt.segmentation.encoder_decoder.options import SegmentOptions
from radapt.segmentation.encoder_decoder.stored_tokens import (
    StoredTokens,
    TokenPlan,
    encoding_seconds,
    report,
    store_tokens,
)
from radapt.segmentation.encoder_decoder.tasks import Goal, ImageTask, SliceTask, TokenTask
from radapt.segmentation.fit_notes import choice_note, modality_notes, val_notes
from radapt.segmentation.image_keys import image_keys
from radapt.segmentation.modality_view import ModalityView
from radapt.segmentation.sides import has_sides
from radapt.training import Augmentation, TrainConfig, TrainResult
from radapt.training.checkpoint import fit_key
from radapt.training.fit_record import FitRecord
from radapt.training.lr_search import BestModel, RateSearch, TrainSetup, search_rates
from radapt.training.segmentation_loss import balanced_weights

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone


@dataclass(eq=False)
class SegmentSearch(RateSearch[SegmentationNetwork]):
    """Decoders on one encoder, or each on its own where that is adapted; compared by Dice in the patients' grids.

    `unused` is the backbone that was loaded first, until a network is built around it.
    """

    setup: TrainSetup
    fit: "SegmentFit"
    unused: "Backbone | None"
    tokens: StoredTokens | None

    def make(self) -> SegmentationNetwork:
        backbone = self.unused or self.fit.problem.backbone()
        if self.fit.options.encoder != "frozen":
            self.unused = None
        return SegmentationNetwork(backbone, self.fit.parts, self.setup.seed)

    def network(self, model: SegmentationNetwork) -> nn.Module:
        return model

    def task(self, model: SegmentationNetwork, rate: float) -> SliceTask:
        fit, options = self.fit, self.fit.options
        if self.tokens is not None:
            return TokenTask(fit.goal, model.head, self.tokens, fit.problem.recipe.size)
        relative = options.decoder_rate / rate if model.trains_encoder else 1.0
        return ImageTask(fit.goal, model, fit.augmentation, relative, options.decay)

    def config(self, rate: float) -> TrainConfig:
        precision = self.fit.problem.machine.precision
        return self.fit.options.train_config(rate, chooses=len(self.fit.val) > 0, precision=precision)

    def evaluate(self, model: SegmentationNetwork, rate: float, trained: TrainResult) -> dict[str, float]:
        """The mean Dice of val as scoring has it."""
        if not len(self.fit.val):
            return {}
        segmenter = SliceSegmenter(self.fit.model(model), self.fit.data, self.tokens)
        return {"dice": mean_dice(self.fit.data, self.fit.val, segmenter.segment)}

    def best(self, val: Sequence[Mapping[str, float]]) -> int:
        return best_dice(val)

    def state(self, model: SegmentationNetwork) -> dict[str, Tensor]:
        return state_of(model)

    def load(self, model: SegmentationNetwork, state: Mapping[str, Tensor]) -> None:
        load_state(model, state)

    def frozen(self, model: SegmentationNetwork) -> str:
        return fingerprint(model.encoder)


class SegmentFit:
    """One call of `Segment.fit`."""

    def __init__(self, options: SegmentOptions, problem: ImageProblem, rng: np.random.Generator, seed: int) -> None:
        """Raises DataError if masks cannot be used, or none of train has a label."""
        self.options, self.problem, self.seed = options, problem, seed
        self.data = SegmentationData(problem)
        self.train, self.val = problem.choosing(rng) if options.score_every else problem.everything
        having = problem.cohort.presence[self.train].any(axis=0)
        self.seen = ModalityView(self.data, tuple(int(index) for index in np.flatnonzero(having)))
        if options.subsets == "all":
            check_players(len(self.seen.kept))
        self.slices = SliceIndex.of(self.train, self.data.pixels)
        self.pixels = self.slices.pixels.sum(axis=0)
        if not self.pixels[1:].any():
            raise DataError(
                f"Cohort {problem.cohort.name!r}: all {len(self.train)} training masks are empty on the planes that "
                "are looked at, so nothing can be learned. Give training cases masks that hold a label."
            )
        self.parts = options.parts(len(self.seen.kept), self.data.classes, problem.recipe.size)
        weights = balanced_weights(self.pixels.tolist()) if options.class_weight == "balanced" else None
        self.goal = Goal(
            self.seen, self.slices, self.val, options.foreground, options.dice, weights, options.modality_dropout
        )
        self.augmentation = self._augmentation() if options.augments else None
        self.notes: list[str] = []

    def fitted(self) -> Fitted[Segmenter]:
        machine, backbone = self.problem.machine, self.problem.backbone()
        tokens, plan = self._tokens(backbone)
        setup = TrainSetup(self.seed, METHOD, machine.device, machine.devices, machine.progress)
        rates = self.options.rates if len(self.val) else self.options.rates[:1]
        search = SegmentSearch(setup, self, backbone, tokens)
        best = search_rates(search, rates, machine.checkpoints, self._key(backbone.identity))
        model = self.model(best.model)
        record = self._record(best, tokens, self._token_facts(best, backbone, tokens, plan))
        segmenter = SliceSegmenter(model, self.data, tokens, self.options.subsets)
        return Fitted(segmenter, segmenter, record)

    def model(self, network: SegmentationNetwork) -> SegmentModel:
        """A network on its device, in eval mode, with all it takes to answer."""
        device = self.problem.machine.device
        return SegmentModel(
            network.to(device).eval(), self.problem.recipe, self.data.labels, self.seen.names, self.data.colours,
            self.problem.machine.precision,
        )  # fmt: skip

    def _augmentation(self) -> Augmentation:
        kind, flips = self.problem.cohort.kind, self._flips()
        return Augmentation.for_kind(kind, dims=2, flips=flips)

    def _flips(self) -> tuple[float, float]:
        """Chances of flips along rows and columns. Columns of axial and coronal planes run from right to left."""
        mirror, cohort = self.options.mirror, self.problem.cohort
        if mirror == "all":
            return 0.5, 0.5
        across = self.problem.recipe.axis in ("axial", "coronal")
        sided = cohort.kind == "xray" or has_sides(self.data.labels.values())
        if mirror == "none" or not across or (mirror == "auto" and sided):
            return 0.0, 0.0
        return 0.0, 0.5

    def _tokens(self, backbone: "Backbone") -> tuple[StoredTokens | None, TokenPlan | None]:
        """The frozen encoder's tokens of train and val, if they are to be stored."""
        layers = decoder_layers(self.parts.decoder, backbone.depth)
        wanted = decoder_class(self.parts.decoder).reads
        if len(layers) < wanted:
            self.notes.append(
                f"{backbone.name} has {backbone.depth} layers; decoder {self.parts.decoder} reads {wanted} where there "
                "are as many, here all of them."
            )
        if self.options.encoder != "frozen" or self.augmentation is not None:
            return None, None
        rows = np.concatenate([self.train, self.val])
        layout = TokenLayout.of(backbone, layers, self.problem.recipe.size)
        plan = TokenPlan.of(self.problem, self.seen, layout, rows, self.options.token_budget_gb)
        why = plan.refusal()
        if why is not None:
            self.notes.append(f"Tokens were not stored: {why}; every slice was encoded in every epoch.")
            return None, plan
        return store_tokens(self.problem, self.seen, backbone, layout, rows), plan

    def _key(self, identity: str) -> str:
        rows, labels = [*self.train, *self.val], {str(value): name for value, name in self.data.labels.items()}
        return fit_key(
            protocol=METHOD, options=asdict(self.options), seed=self.seed, precision=self.problem.machine.precision,
            data=[image_keys(self.problem, rows), len(self.val), labels], network=[identity, asdict(self.parts)],
        )  # fmt: skip

    def _record(
        self, best: BestModel[SegmentationNetwork], tokens: StoredTokens | None, token_facts: Mapping[str, Any]
    ) -> FitRecord:
        """The cost is of the whole fit, with storing tokens; its parameters count a frozen encoder's."""
        cases = fit_cases(self.problem, self.train, self.val)
        record = best.record(CRITERION, cases, self._notes(best, tokens), {"tokens": token_facts})
        seconds = record.cost.seconds + (tokens.seconds if tokens else 0.0)
        return replace(record, cost=replace(record.cost, seconds=seconds))

    def _token_facts(
        self,
        best: BestModel[SegmentationNetwork],
        backbone: "Backbone",
        tokens: StoredTokens | None,
        plan: TokenPlan | None,
    ) -> dict[str, Any]:
        """What storing tokens took and saved."""
        if plan is None:
            return {"stored": False}
        if tokens is None:
            return {"stored": False, "gb": plan.gb, "budget_gb": plan.budget_gb}
        scored = sum(self.data.count(int(row)) for row in self.val)
        size, trained = len(self.slices), [one for one in best.trials if one.candidate.diverged is None]
        epoch_steps = -(-size // self.options.batch)
        learned = sum((one.candidate.steps or 0) / epoch_steps for one in trained) * size
        passes = sum(1 + sum(np.isfinite(epoch["score"]) for epoch in one.history) for one in trained)
        images = plan.slices / (size + scored)  # modalities of a slice, on average
        planes, present = self.seen.planes(int(self.train[0]), slice(0, 16))
        per_slice = encoding_seconds(backbone, planes[:, int(np.argmax(present))], plan.layout.layers)
        return report(plan, tokens, per_slice, round((learned + passes * scored) * images))

    def _notes(self, best: BestModel[SegmentationNetwork], tokens: StoredTokens | None) -> list[str]:
        """What a reader should know, beside what the search says."""
        cohort, names = self.problem.cohort, self.data.labels.values()
        unseen = [name for place, name in enumerate(names, 1) if not self.pixels[place]]
        said = [*self.data.notes, *self.notes]
        said += [f"Label {name!r} is on no plane that was learned from, so it cannot be found." for name in unseen]
        said += modality_notes(cohort.modalities, cohort.presence[self.train], "a learned vector stands in for it")
        if tokens is not None:
            said.append(
                "Trained on stored tokens (float16, each number off by at most 0.05 %), without augmentation: what an "
                "encoder says of a patch depends on the whole slice, so tokens cannot be turned or flipped exactly."
            )
        if not self.options.score_every:
            said.append("Trained on train and val for the whole schedule (score_every: 0).")
        elif not len(self.val):
            said.append(
                "No case to choose on: train has too few patients to draw val from, so the first learning rate was "
                "trained for the whole schedule."
            )
        elif np.isnan(best.winner.val["dice"]):
            said.append("Dice is undefined on val, where no case has a label; the first learning rate was taken.")
        else:
            said += [*choice_note(self.problem, len(self.val)), *val_notes(best.winner, chooses=True)]
        return said
