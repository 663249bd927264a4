"""A model folder that answers: its members, its encoder, and what it says about each case."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from radapt.backbones.adapted import is_adapted
from radapt.backbones.lazy import LazyBackbone, find_backbone
from radapt.cachedir import cache_folder
from radapt.deploy.assessment import Assessor, read_assessor
from radapt.deploy.deployment import DEPLOYMENT, MEMBERS, Deployment, read_deployment
from radapt.deploy.encoder_copy import copied_encoder
from radapt.deploy.ensemble import mean_decision, share_maps
from radapt.deploy.exported_runtime import NETWORKS, predicting_runtime
from radapt.deploy.masks.mask_certainty import MaskCertainty, read_mask_certainty
from radapt.deploy.sequences import ModelSequence
from radapt.digests import digest_file
from radapt.errors import UsageError
from radapt.features import extract
from radapt.features.case_vectors import VECTORS, CaseVectors, read_case_vectors
from radapt.locations import expanded
from radapt.models.folder import MODEL, load
from radapt.models.state import ModelCard
from radapt.notebook import Described
from radapt.protocols.load_model import LoadedModel, load_model
from radapt.runtimes.graphs import GraphFolder
from radapt.runtimes.runner import Runner, Scoped
from radapt.runtimes.runtime import Runtime
from radapt.training.fit_record import Decision

if TYPE_CHECKING:
    from radapt.cohorts import Cohort

NOVELTY_LAYERS = (-1,)
"""The layers whose features are compared with those of training cases, where a protocol reads images."""


@dataclass(frozen=True, eq=False)
class DeployedModel(Described):
    """A model for new patients: what `radapt export` or `radapt adapt` wrote, or the `model/` of a cell.

    `members` are the models of an ensemble, or one. `training` are the features of its training cases, if the folder
    has them, which `encoder` makes of new cases, too.
    """

    folder: Path
    deployment: Deployment
    members: tuple[LoadedModel, ...]
    encoder: LazyBackbone | None = None
    training: CaseVectors | None = None
    assessor: Assessor | None = None
    mask_certainty: MaskCertainty | None = None
    runtime: Runtime = "pytorch"
    """What computes its networks."""

    def __repr__(self) -> str:
        what = ", ".join(self.outputs) or ", ".join(self.mask_labels.values())
        ensemble = f", {len(self.members)} models" if len(self.members) > 1 else ""
        return f"{type(self).__name__}({self.deployment.name!r}: {what} from {', '.join(self.modalities)}{ensemble})"

    @cached_property
    def digest(self) -> str:
        """That of its record, which holds the digests of all its files."""
        return digest_file(next(path for name in (DEPLOYMENT, MODEL) if (path := self.folder / name).is_file()))

    @property
    def card(self) -> ModelCard:
        """That of its first member."""
        return self.members[0].card

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.card.outputs

    @property
    def mask_labels(self) -> Mapping[int, str]:
        return self.card.mask_labels

    @property
    def draws_masks(self) -> bool:
        return self.card.aim == "segmentation"

    @property
    def modalities(self) -> tuple[str, ...]:
        """The names of the sequences that it reads."""
        return tuple(each.name for each in self.deployment.sequences)

    @property
    def is_calibrated(self) -> bool:
        """Whether its calibrated probabilities are others than its probabilities."""
        return self.assessor is not None and self.assessor.certainty.is_calibrated

    @cached_property
    def decision(self) -> Decision:
        """How a class, or whether a finding is present, is decided for from the mean of the members' probabilities."""
        return self.deployment.decision or mean_decision([member.decision for member in self.members])

    def with_cache(self, cache: Path) -> "DeployedModel":
        """The same model with another cache of slices and features."""
        return replace(self, members=tuple(member.with_cache(cache) for member in self.members))

    def vectors(self, cohort: "Cohort", cache: Path) -> CaseVectors | None:
        """The features of all cases of a cohort; None where the model has none of its training cases."""
        if self.training is None:
            return None
        first = self.members[0]
        if self.card.reads == "features":
            features = first.features(cohort)
        elif self.encoder is not None:
            features = extract(cohort, self.encoder, recipe=self.card.recipe, layers=NOVELTY_LAYERS, cache=cache)
        else:
            return None
        found = CaseVectors.of(features, np.arange(len(cohort)), ("",) * len(cohort))
        return _arranged(found, self.training.modalities)


def load_deployed(
    folder: Path | str,
    *,
    device: str = "cpu",
    cache: Path | None = None,
    runtime: str | None = None,
    runner: Runner | None = None,
) -> DeployedModel:
    """The model in `folder`: exported, adapted, or that of a cell. An exported one needs nothing but its folder.

    It is computed by the runtime that it was exported with, by another `runtime` (see `predicting_runtime`), or by a
    given `runner`.

    Raises UsageError, with what is wrong, for a folder without a model, a file that is missing or was changed, a model
    of another version, and a runtime that is not installed or that the model was not exported for.
    """
    folder = expanded(folder)
    if (folder / DEPLOYMENT).is_file():
        return _exported(folder, device, cache, runtime, runner)
    if (folder / MEMBERS).is_dir() and not (folder / MODEL).is_file():
        raise UsageError(
            f"The model in {folder} is not complete: {DEPLOYMENT} is missing. Copy the whole folder again."
        )
    predicting_runtime(folder, None, runtime)
    return _plain(folder, device, cache)


def _exported(folder: Path, device: str, cache: Path | None, asked: str | None, runner: Runner | None) -> DeployedModel:
    deployment = read_deployment(folder)
    runtime = predicting_runtime(folder, deployment.runtime, asked)
    if runner is None and runtime != "pytorch":
        runner = GraphFolder(folder / NETWORKS, runtime)
    paths = [folder / MEMBERS / name for name in deployment.members]
    cards = [load(path).card for path in paths]
    encoder = _encoder(folder, deployment, cards[0], device, runner)
    members = tuple(
        load_model(path, encoder if card.backbone is not None else None, device=device, offline=True,
                   cache=cache_folder(cache), runner=runner and Scoped(runner, path.name))
        for path, card in zip(paths, cards, strict=True)
    )  # fmt: skip
    share_maps(members)
    if encoder is None and is_adapted(paths[0]):
        encoder = find_backbone(str(paths[0]), device=device, offline=True).lazy
    training = read_case_vectors(folder / VECTORS) if VECTORS in deployment.files else None
    assessor = read_assessor(deployment.assessment, training)
    masks = read_mask_certainty(deployment.mask_certainty, training)
    return DeployedModel(folder, deployment, members, encoder, training, assessor, masks, runtime)


def _encoder(
    folder: Path, deployment: Deployment, card: ModelCard, device: str, runner: Runner | None
) -> LazyBackbone | None:
    facts = deployment.encoder
    if card.backbone is None or facts is None:
        return None
    dtype = card.precision if card.reads == "features" and runner is None else "float32"
    found = copied_encoder(card.backbone, facts.path and folder / facts.path, dtype=dtype, device=device)  # type: ignore[arg-type]
    return found if runner is None else found.computed_by(Scoped(runner, "encoder"))


def _plain(folder: Path, device: str, cache: Path | None) -> DeployedModel:
    """A model folder without a record of its deployment."""
    model = load_model(folder, device=device, offline=True, cache=cache_folder(cache))
    card = model.card
    if card.aim == "classification" and not card.outputs:
        raise UsageError(
            f"The backbone in {folder} was adapted without labels, so it has no classifier. Run a study with it as a "
            "backbone, and export that."
        )
    name = folder.resolve().name
    deployment = Deployment(
        name=card.protocol if name == "model" else name,
        method=card.protocol,
        aim=card.aim,
        kind=card.kind,
        sequences=tuple(ModelSequence.of(each) for each in model.modalities),
        members=(name,),
        notes=("The folder holds no training features, calibration or sites: radapt export adds them.",),
    )
    return DeployedModel(folder, deployment, (model,))


def _arranged(vectors: CaseVectors, modalities: tuple[str, ...]) -> CaseVectors:
    """The vectors in the order of the training cases' modalities, NaN for those that no case has."""
    if vectors.modalities == modalities:
        return vectors
    found = np.full((len(vectors.cases), len(modalities), vectors.vectors.shape[2]), np.nan, dtype=np.float32)
    for place, name in enumerate(modalities):
        if name in vectors.modalities:
            found[:, place] = vectors.vectors[:, vectors.modalities.index(name)]
    return replace(vectors, modalities=modalities, vectors=found)
