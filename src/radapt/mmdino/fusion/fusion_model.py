"""A trained fusion: saved and restored as a model folder, and answering for any subset of the sequences of a case."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from radapt.cohorts.cohort import Cohort
from radapt.errors import UsageError
from radapt.images import Recipe, SliceCache
from radapt.mmdino.fusion.case_tokens import CaseTokens
from radapt.mmdino.fusion.fusion_options import FusionOptions
from radapt.mmdino.fusion.network import FusionEnsemble
from radapt.mmdino.fusion.token_network import FusionShape, TokenEnsemble, TokenNetwork
from radapt.mmdino.fusion.trained_part import LastBlocks, empty_network, stored_kind
from radapt.mmdino.inference import CaseQuery
from radapt.mmdino.label_encoding import Kind
from radapt.mmdino.slices import SliceLoader
from radapt.models.state import ModelState
from radapt.progress import ProgressMaker, silent
from radapt.protocols.fitted import SliceWeights, SubsetModel, TrainedModel
from radapt.protocols.image_problem import CohortImages

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone
    from radapt.models.folder import SavedModel

_VERSION = 2
"""Raise it when the same weights and images give other predictions."""


@dataclass(frozen=True)
class FusionFacts:
    """What a fusion needs beside its weights, its encoder and its recipe.

    `prior` are the class frequencies of training, predicted for a case without any of the `modalities`. `left_out` are
    sequences of the training cohort that no training case has.
    """

    options: FusionOptions
    shape: FusionShape
    modalities: tuple[str, ...]
    left_out: tuple[str, ...]
    kind: Kind
    prior: tuple[float, ...]
    slices: int
    channels: int
    precision: Literal["float32", "bfloat16"]
    last_blocks: LastBlocks | None = None
    """Those that were trained; None: a fusion."""

    def plain(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return {"version": _VERSION, **asdict(self)}

    @classmethod
    def from_plain(cls, stored: Mapping[str, Any]) -> "FusionFacts":
        """Raises UsageError for facts of another version, or that `plain` did not give."""
        if stored.get("version") != _VERSION:
            raise UsageError(
                "This is a fusion of another version of radapt. Predict with that version, or adapt again."
            )
        try:
            given = {name: value for name, value in stored.items() if name != "version"}
            given |= {name: tuple(given[name]) for name in ("modalities", "left_out", "prior")}
            last = given.get("last_blocks")
            given |= {"options": FusionOptions(**given["options"]), "shape": FusionShape(**given["shape"])}
            return cls(**{**given, "last_blocks": LastBlocks(**last) if last else None})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"These are no facts of a fusion: {type(error).__name__}: {error}.") from error


@dataclass(frozen=True, eq=False)
class FusionModel(TrainedModel):
    """A trained network with the frozen encoder whose tokens it reads, on the encoder's device."""

    network: TokenEnsemble
    backbone: "Backbone"
    recipe: Recipe
    facts: FusionFacts

    def state(self, *, self_contained: bool = False) -> ModelState:
        tensors = {name: tensor.detach() for name, tensor in self.network.state_dict().items()}
        return ModelState(tensors, self.facts.modalities, {"fusion": self.facts.plain()}, {"kind": self.facts.kind})

    def on(self, cases: CohortImages) -> "FusedCases":
        return self.of(cases.cohort, cases.slices)

    def of(self, cohort: Cohort, cache: SliceCache, progress: ProgressMaker = silent) -> "FusedCases":
        """The model for the cases of a cohort. Raises DataError for a case without any known sequence."""
        return FusedCases.of(self, cohort, cache, progress)

    @classmethod
    def restored(cls, saved: "SavedModel", backbone: "Backbone | None") -> "FusionModel":
        """Raises UsageError for a model folder that holds no fusion, and without its encoder."""
        if backbone is None:
            raise UsageError("A fusion reads the tokens of an encoder, and none was given.")
        facts = FusionFacts.from_plain(saved.card.facts.get("fusion") or {})
        network = empty_network(facts.options, facts.last_blocks, backbone, facts.shape)
        try:
            network.load_state_dict(saved.tensors)
        except RuntimeError as error:
            raise UsageError(f"The weights in {saved.folder} do not fit the model: {error}.") from error
        return cls(network.to(backbone.device).eval(), backbone, saved.card.recipe, facts)


@dataclass(frozen=True, eq=False)
class FusedCases(SubsetModel):
    """A fusion on the cases of a cohort, of which it sees the sequences that it knows.

    Each slice is encoded at most once; a subset of the sequences costs the small network only.
    """

    model: FusionModel
    tokens: CaseTokens
    modalities: tuple[str, ...]
    prior: np.ndarray
    progress: ProgressMaker

    @classmethod
    def of(cls, model: FusionModel, cohort: Cohort, cache: SliceCache, progress: ProgressMaker) -> "FusedCases":
        facts = model.facts
        loader = SliceLoader(
            cohort, cache, model.recipe, facts.modalities, focus="foreground", channels=facts.channels,
            left_out=facts.left_out,
        )  # fmt: skip
        kind = stored_kind(facts.options, facts.last_blocks, model.backbone, facts.precision)
        tokens = CaseTokens(loader, model.backbone, kind, facts.slices, model.recipe.look)
        return cls(model, tokens, facts.modalities, np.asarray(facts.prior), progress)

    @property
    def trained_model(self) -> FusionModel:
        return self.model

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.predict_from(rows, self.modalities)

    def predict_from(self, rows: np.ndarray, modalities: tuple[str, ...]) -> np.ndarray:
        """Each case by itself, so that a prediction does not depend on the others. A case without any of the
        sequences gets the class frequencies of training."""
        queries = [CaseQuery(int(row), self._names(int(row), modalities)) for row in rows]
        able = [query for query in queries if query.modalities]
        self.tokens.prepare(
            [CaseQuery(query.row, self._names(query.row, self.modalities)) for query in able], self.progress
        )
        self.tokens.prepare(able, self.progress)
        found = [self._probabilities(query) if query.modalities else self.prior for query in queries]
        return np.stack(found) if found else np.empty((0, len(self.prior)))

    def _names(self, row: int, among: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self.modalities[column] for column in self.tokens.loader.reader.columns(row, among))

    @torch.no_grad()
    def slice_weights(self, row: int) -> tuple[SliceWeights, ...]:
        """The mean over members."""
        query = CaseQuery(row, self._names(row, self.modalities))
        if not query.modalities:
            return ()
        self.tokens.prepare([query], self.progress)
        planes, tokens, visible = self._inputs(query)
        parts = [member(tokens, visible).weights.double() for member in self.model.network.members]
        weights = torch.stack([part / part.sum() for part in parts]).mean(0)
        return (SliceWeights("", tuple(planes.tolist()), tuple(weights.tolist())),)

    def _inputs(self, query: CaseQuery) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
        """The planes (n,) of a prepared query, their standardised tokens, and the visible sequences (n, M)."""
        network, planes = self.model.network, self.tokens.planes(query)
        tokens = torch.from_numpy(self.tokens.tokens(query, planes)).to(network.device)
        visible = torch.tensor([[name in (query.modalities or ()) for name in self.modalities]] * len(planes))
        return planes, network.standardised(tokens), visible.to(tokens.device)

    @torch.no_grad()
    def _probabilities(self, query: CaseQuery) -> np.ndarray:
        """float64 (outputs,)."""
        network, facts = self.model.network, self.model.facts
        planes, tokens, visible = self._inputs(query)
        case, answers = torch.zeros(len(planes), dtype=torch.long, device=tokens.device), []
        fused = [(_member(each), _member(each)(tokens, visible)) for each in network.members]
        if facts.options.classifier != "readout" or not isinstance(network, FusionEnsemble):
            logits = torch.stack([member.logits(slices, case, 1)[0] for member, slices in fused])
            answers.append(_probabilities(logits.double().cpu().numpy(), facts))
        if facts.options.classifier != "network" and isinstance(network, FusionEnsemble):
            vectors = network.lesion_vectors(tokens, [slices for _, slices in fused], visible[0])
            logits = network.readout(vectors, visible[0])[None]
            answers.append(_probabilities(logits.cpu().numpy(), facts))
        return np.asarray(np.mean(answers, axis=0))


def _member(module: torch.nn.Module) -> TokenNetwork:
    if not isinstance(module, TokenNetwork):
        raise TypeError(f"A member of a fusion is a {type(module).__name__}.")
    return module


def _probabilities(logits: np.ndarray, facts: FusionFacts) -> np.ndarray:
    """(outputs,): the mean over the first axis of logits (n, outputs), which are those of equally frequent classes."""
    prior = np.asarray(facts.prior)
    if facts.options.decision == "argmax":
        logits = logits + (np.log(prior) if facts.kind == "classes" else np.log(prior / (1 - prior)))
    values = torch.from_numpy(logits)
    chances = torch.softmax(values, dim=1) if facts.kind == "classes" else torch.sigmoid(values)
    return chances.mean(0).numpy()
