"""Fitting `segment`: tokens stored or not, one training per learning rate, the best on val kept."""

from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from radapt.cases.sampling import SliceIndex
from radapt.classification.candidates import CHECKPOINT_S, all_diverged, load_state, state_of
from radapt.digests import digest
from radapt.errors import DataError
from radapt.features.token_store import TokenLayout
from radapt.networks import fingerprint
from radapt.networks.decoders.registry import decoder_class, decoder_layers
from radapt.protocols.fitted import Fitted, Segmenter
from radapt.protocols.image_problem import ImageProblem
from radapt.segmentation.criterion import mean_dice
from radapt.segmentation.data import SegmentationData
from radapt.segmentation.encoder_decoder.model import SegmentModel, SliceSegmenter
from radapt.segmentation.encoder_decoder.network import SegmentationNetwork
from radapt.segmentation.encoder_decoder.record import Candidate, cost_of, told
from radapt.segmentation.encoder_decoder.stored_tokens import StoredTokens, TokenPlan, store_tokens
from radapt.segmentation.encoder_decoder.tasks import Goal, ImageTask, SliceTask, TokenTask
from radapt.segmentation.modality_view import ModalityView
from radapt.segmentation.sides import has_sides
from radapt.training import Augmentation, DivergedError, count_parameters, train
from radapt.training.segmentation_loss import balanced_weights
from radapt.versions import __version__

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone
    from radapt.segmentation.encoder_decoder.protocol import Segment


class Fitting:
    """One call of `Segment.fit`."""

    def __init__(self, protocol: "Segment", problem: ImageProblem, rng: np.random.Generator, seed: int) -> None:
        """Raises DataError if masks cannot be used, or none of train has a label."""
        self.protocol, self.problem, self.seed = protocol, problem, seed
        self.data = SegmentationData(problem)
        self.train, self.val = problem.choosing(rng)
        having = problem.cohort.presence[self.train].any(axis=0)
        self.seen = ModalityView(self.data, tuple(int(index) for index in np.flatnonzero(having)))
        self.slices = SliceIndex.of(self.train, self.data.pixels)
        self.pixels = self.slices.pixels.sum(axis=0)
        if not self.pixels[1:].any():
            raise DataError(
                f"Cohort {problem.cohort.name!r}: all {len(self.train)} training masks are empty on the planes that "
                "are looked at, so nothing can be learned. Give training cases masks that hold a label."
            )
        self.parts = protocol.parts(len(self.seen.kept), self.data.classes, problem.recipe.size)
        weights = balanced_weights(self.pixels.tolist()) if protocol.class_weight == "balanced" else None
        self.goal = Goal(
            self.seen, self.slices, self.val, protocol.foreground, protocol.dice, weights, protocol.modality_dropout
        )
        self.augmentation = self._augmentation() if protocol.augments else None
        self.notes: list[str] = []
        self.diverged: dict[float, str] = {}
        """Learning rates at which training diverged, and why."""

    def fitted(self) -> Fitted[Segmenter]:
        backbone = self.problem.backbone()
        tokens, plan = self._tokens(backbone)
        rates = self.protocol.rates if len(self.val) else self.protocol.rates[:1]
        best, found, state = 0, list[Candidate](), dict[str, Tensor]()
        last: SegmentationNetwork | None = None
        for number, rate in enumerate(rates):
            last = None  # one network in memory at a time
            network = self._network(backbone, number)
            try:
                found.append(self._candidate(network, rate, tokens, self._checkpoint(number)))
            except DivergedError as error:
                self.diverged[rate] = str(error)
                continue
            if len(found) == 1 or found[-1].better(found[best]):
                best, state, last = len(found) - 1, state_of(network), network
            del network
        if not found:
            raise all_diverged(list(self.diverged.items()))
        network = last or self._network(backbone, len(rates))
        load_state(network, state)
        model = self._model(network)
        chosen = told(self, found, best, backbone, tokens, plan)
        if self.problem.machine.folder is not None:
            model.save(self.problem.machine.folder, asdict(self.protocol), chosen)
        segmenter = SliceSegmenter(model, self.data, tokens)
        return Fitted(segmenter, segmenter, chosen, cost_of(found, best, tokens))

    def _network(self, backbone: "Backbone", number: int) -> SegmentationNetwork:
        """A new network; around the same encoder if that is frozen, else around a newly loaded one."""
        own = backbone if self.protocol.encoder == "frozen" or number == 0 else self.problem.backbone()
        return SegmentationNetwork(own, self.parts, self.seed)

    def _model(self, network: SegmentationNetwork) -> SegmentModel:
        device = self.problem.machine.device
        return SegmentModel(
            network.to(device).eval(), self.problem.recipe, self.data.labels, self.seen.names, self.data.colours,
            self.problem.machine.precision,
        )  # fmt: skip

    def _candidate(
        self, network: SegmentationNetwork, rate: float, tokens: StoredTokens | None, checkpoint: Path | None
    ) -> Candidate:
        """Train at one rate, and judge val as the judge does.

        Raises DivergedError, and RuntimeError if frozen weights changed.
        """
        protocol, machine = self.protocol, self.problem.machine
        before = fingerprint(network.encoder)
        trained = train(
            self._task(network, rate, tokens),
            protocol.regime(rate, chooses=len(self.val) > 0, precision=machine.precision),
            seed=self.seed, device=machine.device, devices=machine.devices, checkpoint=checkpoint,
            interval_s=CHECKPOINT_S, progress=machine.progress, label=f"{protocol.name}, learning rate {rate:g}",
        )  # fmt: skip
        if fingerprint(network.encoder) != before:
            raise RuntimeError(f"Training by {protocol.name!r} changed frozen weights: this is an error in radapt.")
        dice = float("nan")
        if len(self.val):
            dice = mean_dice(self.data, self.val, SliceSegmenter(self._model(network), self.data, tokens).segment)
        return Candidate(rate, dice, trained, count_parameters(network))

    def _task(self, network: SegmentationNetwork, rate: float, tokens: StoredTokens | None) -> SliceTask:
        if tokens is not None:
            return TokenTask(self.goal, network.head, tokens, self.problem.recipe.size)
        relative = self.protocol.decoder_rate / rate if network.trains_encoder else 1.0
        return ImageTask(self.goal, network, self.augmentation, relative, self.protocol.decay)

    def _augmentation(self) -> Augmentation:
        kind, flips = self.problem.cohort.kind, self._flips()
        return Augmentation.for_kind(kind, dims=2, flips=flips)

    def _flips(self) -> tuple[float, float]:
        """Chances of flips along rows and columns. Columns of axial and coronal planes run from right to left."""
        mirror, cohort = self.protocol.mirror, self.problem.cohort
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
        if self.protocol.encoder != "frozen" or self.augmentation is not None:
            return None, None
        rows = np.concatenate([self.train, self.val])
        layout = TokenLayout.of(backbone, layers, self.problem.recipe.size)
        plan = TokenPlan.of(self.problem, self.seen, layout, rows, self.protocol.token_budget_gb)
        why = plan.refusal()
        if why is not None:
            self.notes.append(f"Tokens were not stored: {why}; every slice was encoded in every epoch.")
            return None, plan
        return store_tokens(self.problem, self.seen, backbone, layout, rows), plan

    def _checkpoint(self, number: int) -> Path | None:
        """Where a candidate is kept until all are done; a finished one is not trained again."""
        folder = self.problem.machine.checkpoints
        return folder and folder / self._key / f"{number}.pt"

    @cached_property
    def _key(self) -> str:
        """Names all that decides the trainings, so that a checkpoint of another one is never gone on from."""
        problem = self.problem
        cases = [problem.cohort.cases[int(row)] for row in (*self.train, *self.val)]
        places = [place for case in cases for place in (*case.images.values(), case.mask) if place is not None]
        images = [problem.slices.key(place, problem.recipe) for place in places]
        facts = [asdict(self.protocol), asdict(self.parts), problem.machine.precision, self.seed]
        return digest([__version__, facts, images, len(self.val), {str(k): v for k, v in self.data.labels.items()}])
