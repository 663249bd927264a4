"""`deployment.json`: what a model folder says about itself beside the models in it, and the digest of every file.

deployment.json          this record, written last
README.md                the model card
members/<name>/          model folders (see `radapt.models.folder`): one, or one for each fold
encoder/                 the weights of the encoder they read
training.safetensors     features and keys of the training cases, never images
networks/                converted networks, of a model for another runtime (see `exported_runtime`)
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from radapt.deploy.exported_runtime import ExportedRuntime
from radapt.deploy.sequences import ModelSequence
from radapt.digests import digest, digest_file
from radapt.durable import write_json
from radapt.errors import UsageError
from radapt.training.fit_record import Decision
from radapt.versions import __version__

DEPLOYMENT, CARD, MEMBERS = "deployment.json", "README.md", "members"
FORMAT = 1
_AGAIN = "Copy the whole folder again, or export again."


@dataclass(frozen=True)
class ScoredCandidate:
    """A method that could have been exported, with the score that decided."""

    method: str
    backbone: str
    cell: str
    seed: int
    score: float | None
    """None where nothing was scored."""


@dataclass(frozen=True)
class Selection:
    """Why this model was exported."""

    why: str
    metric: str
    source: str
    """What the scores are of: `val`, `inner folds`, or `none`."""
    candidates: tuple[ScoredCandidate, ...]

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Selection":
        return cls(**{**stored, "candidates": tuple(ScoredCandidate(**each) for each in stored["candidates"])})


@dataclass(frozen=True)
class EvaluationScore:
    """A number of the study about this model, with its 95 % interval by patient."""

    split: str
    metric: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n_patients: int


@dataclass(frozen=True)
class MetadataSummary:
    """A metadata column of the training patients: quantiles of numbers, or counts of categories of five and more."""

    column: str
    patients: int
    """Those who have a value."""
    quantiles: tuple[float, ...] = ()
    """At evenly spaced levels (see `radapt.metrics.drift.levels`); empty for categories."""
    counts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "MetadataSummary":
        return cls(**{**stored, "quantiles": tuple(stored["quantiles"])})


@dataclass(frozen=True)
class TrainingFacts:
    """What the model learned from."""

    cohort: str
    patients: int
    cases: int
    sites: Mapping[str, int]
    """Patients by site; empty where sites are unknown."""
    title: str = ""
    licence: str = ""
    url: str = ""
    unit: str = "patient"
    """`image` where patients are unknown: each image then counts as a patient."""
    metadata: tuple[MetadataSummary, ...] = ()

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "TrainingFacts":
        metadata = tuple(MetadataSummary.from_json(each) for each in stored["metadata"])
        return cls(**{**stored, "metadata": metadata})


@dataclass(frozen=True)
class EncoderFacts:
    """The encoder, where its copy lies in the folder (None for random weights), and under which terms it came."""

    name: str
    identity: str
    path: str | None
    licence: str
    pretraining: tuple[str, ...]
    origin: str

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "EncoderFacts":
        return cls(**{**stored, "pretraining": tuple(stored["pretraining"])})


@dataclass(frozen=True)
class LicenceLink:
    """One link of the licence chain: what of (`code`, `encoder`, `training data`), its name and its licence."""

    part: str
    name: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A model that answers for new patients."""

    name: str
    method: str
    aim: str
    kind: str
    sequences: tuple[ModelSequence, ...]
    members: tuple[str, ...]
    decision: Decision | None = None
    selection: Selection | None = None
    scores: tuple[EvaluationScore, ...] = ()
    training: TrainingFacts | None = None
    encoder: EncoderFacts | None = None
    licences: tuple[LicenceLink, ...] = ()
    inherits: tuple[str, ...] = ()
    """Terms that the model inherits, such as `non-commercial`."""
    intended_use: str = ""
    notes: tuple[str, ...] = ()
    assessment: Mapping[str, Any] | None = None
    """The record of an assessor (see `radapt.deploy.assessment`)."""
    runtime: ExportedRuntime | None = None
    """That of its converted networks; None for a model that PyTorch computes."""
    mask_certainty: Mapping[str, Any] | None = None
    """The record of predicted Dice (see `radapt.deploy.masks`)."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The digest of every other file."""

    def write(self, folder: Path) -> None:
        """Write it into `folder`, with the digests of all files that are there."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != DEPLOYMENT)
        stored = {each.name: getattr(self, each.name) for each in fields(self)} | {
            "format": FORMAT,
            "radapt": __version__,
            "files": {path.relative_to(folder).as_posix(): digest_file(path) for path in paths},
        }
        plain_facts = json.loads(json.dumps(_plain(stored)))
        write_json(folder / DEPLOYMENT, plain_facts | {"digest": digest(plain_facts)})


def read_deployment(folder: Path) -> Deployment:
    """The record in `folder`, after every file is compared with its digest.

    Raises UsageError for a folder without one, of another format, and for a file that is missing or was changed.
    """
    path = folder / DEPLOYMENT
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        version, own = stored.pop("format"), stored.pop("digest")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read ({type(error).__name__}: {error}). {_AGAIN}") from error
    if version != FORMAT:
        raise UsageError(
            f"The model in {folder} has format {version}; radapt {__version__} reads format {FORMAT}. Predict with the "
            "version that exported it, or export again."
        )
    if digest({**stored, "format": version}) != own:
        raise UsageError(f"{path} was changed or damaged. {_AGAIN}")
    _check_files(folder, stored["files"])
    stored.pop("radapt")
    try:
        return _deployment(stored)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path} was not written by this version ({error}). {_AGAIN}") from error


def _check_files(folder: Path, files: Mapping[str, str]) -> None:
    for name, expected in files.items():
        path = folder / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise UsageError(f"{folder / DEPLOYMENT} names a file outside of its folder: {name}.")
        if not path.is_file():
            raise UsageError(f"The model in {folder} is not complete: {name} is missing. {_AGAIN}")
        if digest_file(path) != expected:
            raise UsageError(f"The model in {folder} is not as it was exported: {name} was changed. {_AGAIN}")


def _deployment(stored: dict[str, Any]) -> Deployment:
    values = dict(stored)
    values["sequences"] = tuple(
        ModelSequence(each["name"], each["kind"], tuple(each["aliases"])) for each in stored["sequences"]
    )
    values["decision"] = stored["decision"] and Decision.from_json(stored["decision"])
    values["selection"] = stored["selection"] and Selection.from_json(stored["selection"])
    values["scores"] = tuple(EvaluationScore(**each) for each in stored["scores"])
    values["training"] = stored["training"] and TrainingFacts.from_json(stored["training"])
    values["encoder"] = stored["encoder"] and EncoderFacts.from_json(stored["encoder"])
    values["runtime"] = (known := stored.get("runtime")) and ExportedRuntime.from_json(known)
    values["licences"] = tuple(LicenceLink(**each) for each in stored["licences"])
    for name in ("members", "inherits", "notes"):
        values[name] = tuple(stored[name])
    return Deployment(**values)


def _plain(value: Any) -> Any:
    """Dataclasses as mappings; NaN as None."""
    if hasattr(value, "__dataclass_fields__"):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and value != value else value
