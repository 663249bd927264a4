"""An adaptation as a model folder that is a backbone too: `radapt.load_model` and `--backbone` both take it.

backbone.json, backbone.safetensors    the encoder (see `radapt.backbones.adapted`)
model.json, model.safetensors          the classifier beside it (see `radapt.models.folder`); without labels none
"""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from radapt.backbones.adapted import FACTS as BACKBONE
from radapt.backbones.adapted import WEIGHTS as BACKBONE_WEIGHTS
from radapt.backbones.adapted import load_adapted, read_adapted, save_adapted
from radapt.cohorts.cohort import Cohort
from radapt.errors import UsageError
from radapt.images import SliceCache
from radapt.mmdino.adapt import Adapted
from radapt.mmdino.inference import CaseQuery, LinearClassifier
from radapt.mmdino.lesion_attention import LesionAttention
from radapt.mmdino.options import Options
from radapt.models.folder import SavedModel, load, save
from radapt.models.state import ModelCard, ModelState
from radapt.networks.adapters.merge import merged_state
from radapt.protocols.fitted import SliceWeights, SubsetModel, TrainedModel
from radapt.protocols.image_problem import CohortImages, Precision
from radapt.runtimes.runtime import JOINTLY
from radapt.training import TrainResult
from radapt.versions import __version__, versions

_VECTORS = 2
"""Raise it when the same weights and images give other vectors, which a classifier fitted before would misread."""


@dataclass(frozen=True, eq=False)
class TrainedAdaptation(TrainedModel):
    """An adapted encoder with its classifier, if it has one, apart from any cohort."""

    adapted: Adapted

    def state(self, *, self_contained: bool = False) -> ModelState:
        """Always self-contained: the encoder is written beside it, with LoRA adapters merged."""
        adapted = self.adapted
        facts = {
            "vectors": _VECTORS,
            "options": adapted.options.plain(),
            "outputs": list(adapted.outputs),
            "channels": adapted.channels,
            "left_out": list(adapted.left_out),
            "trained": asdict(adapted.trained),
        }
        encoding = {"kind": adapted.answer.kind} if adapted.answer else {}
        return ModelState(
            _tensors(adapted), adapted.modalities, facts, encoding, attach=self._save_backbone, holds_encoder=True
        )  # fmt: skip

    @property
    def pytorch_only(self) -> str:
        return JOINTLY

    def on(self, cases: CohortImages) -> "AdaptedModel":
        """Raises UsageError if it was adapted without labels."""
        return AdaptedModel.of(self.adapted, cases.cohort, cases.slices)

    def _save_backbone(self, folder: Path) -> tuple[str, ...]:
        card = replace(self.adapted.card, native_size=self.adapted.options.global_size)
        save_adapted(folder, self.adapted.network, card, None, merged_state(self.adapted.network))
        return BACKBONE, BACKBONE_WEIGHTS


@dataclass(frozen=True, eq=False)
class AdaptedModel(SubsetModel):
    """An adapted encoder's classifier on one cohort, of which it reads the sequences it knows."""

    adapted: Adapted
    cohort: Cohort
    cache: SliceCache
    modalities: tuple[str, ...]
    prior: np.ndarray

    @classmethod
    def of(cls, adapted: Adapted, cohort: Cohort, cache: SliceCache) -> "AdaptedModel":
        """Raises UsageError if it was adapted without labels."""
        if adapted.answer is None:
            raise UsageError("This backbone was adapted without labels, so it has no classifier; fit a protocol on it.")
        return cls(adapted, cohort, cache, adapted.modalities, adapted.answer.prior)

    @property
    def trained_model(self) -> TrainedAdaptation:
        return TrainedAdaptation(self.adapted)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.adapted.predict(self.cohort, self.cache, rows)

    def slice_weights(self, row: int) -> tuple[SliceWeights, ...]:
        feed = self.adapted.feed(self.cohort, self.cache)
        if not feed.present[row].any():
            return ()
        found = self.adapted.looking.weights(feed, CaseQuery(row))
        return () if found is None else (SliceWeights("", *(tuple(each.tolist()) for each in found)),)

    def predict_from(self, rows: np.ndarray, modalities: tuple[str, ...]) -> np.ndarray:
        return self.adapted.predict(self.cohort, self.cache, rows, modalities)


def save_adaptation(folder: Path, adapted: Adapted, *, precision: Precision = "float32") -> None:
    """Write `adapted` to `folder`, which is made if need be; other files in it are left alone.

    `precision` is that of the matrix products it was trained with.
    """
    has_findings = adapted.answer is not None and adapted.answer.kind == "findings"
    card = ModelCard(
        protocol="mmdino",
        options=adapted.options.plain(),
        aim="classification",
        reads="images",
        kind=adapted.recipe.kind,  # type: ignore[arg-type]
        recipe=adapted.recipe,
        pooling={},
        precision=precision,
        classes=() if has_findings else adapted.outputs,
        findings=adapted.outputs if has_findings else (),
        fit=adapted.record,
        versions=versions(),
    )
    save(Path(folder), card, TrainedAdaptation(adapted).state())


def load_adaptation(folder: str | Path) -> Adapted:
    """What `save_adaptation` or a study wrote, in float32 on the CPU, ready to predict.

    Raises UsageError as `radapt.load_model` does.
    """
    return restore_adaptation(load(folder))


def restore_adaptation(saved: SavedModel) -> Adapted:
    """Raises UsageError for a model of another protocol, one of a version that computed other vectors, and a damaged
    backbone."""
    card, facts = saved.card, saved.card.facts
    if card.protocol != "mmdino":
        raise UsageError(f"{saved.folder} holds a model of protocol {card.protocol!r}, not an adapted backbone.")
    if "fusion" in facts:
        raise UsageError(f"{saved.folder} holds a fusion, which leaves its encoder as it is; use radapt.load_model.")
    if facts["vectors"] != _VECTORS:
        raise UsageError(
            f"The model in {saved.folder} was made by radapt {card.versions['radapt']}, which computed other vectors "
            f"than {__version__} does. Predict with that version, or adapt again."
        )
    known, state = read_adapted(saved.folder), saved.tensors
    network = load_adapted(known)
    answer = None
    if "kind" in card.label_encoding:
        numbers: dict[str, Any] = {name: state[f"answer.{name}"].numpy() for name in ("weight", "bias", "prior")}
        answer = LinearClassifier(card.label_encoding["kind"], **numbers)
    return Adapted(
        network=network,
        reader=_reader(state, network.width),
        card=known.card,
        modalities=known.modalities,
        outputs=tuple(facts["outputs"]),
        recipe=card.recipe,
        options=Options(**facts["options"]),
        channels=facts["channels"],
        answer=answer,
        trained=TrainResult(**{each.name: facts["trained"][each.name] for each in fields(TrainResult)}),
        record=card.fit,
        left_out=tuple(facts["left_out"]),
    )


def _tensors(adapted: Adapted) -> dict[str, Tensor]:
    """By name: the reader of targets and the classifier."""
    state = {f"targets.{name}": each for name, each in adapted.reader.state_dict().items()}
    if adapted.answer is not None:
        state |= {f"answer.{name}": each for name, each in adapted.answer.tensors().items()}
    return state


def _reader(state: dict[str, Tensor], width: int) -> LesionAttention:
    targets = len(state["targets.weight"]) if "targets.weight" in state else 0
    reader = LesionAttention(width, [0.5] * targets)
    own = {name.removeprefix("targets."): each for name, each in state.items() if name.startswith("targets.")}
    reader.load_state_dict(own)
    return reader.eval()
