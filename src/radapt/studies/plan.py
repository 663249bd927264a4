"""From a study to its cells, each named by a digest of everything that decides its numbers."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from radapt import __version__
from radapt.cohorts import Case, Cohort, load_cohort
from radapt.digests import ByteDigests, digest
from radapt.errors import DataError, UsageError
from radapt.progress import ProgressMaker, silent
from radapt.studies.study import BackboneEntry, ProtocolEntry, Study

if TYPE_CHECKING:
    from radapt.backbones import WeightSource
    from radapt.images import Recipe


@dataclass(frozen=True)
class Settings:
    """What a run needs beyond the study and what never changes its numbers' meaning: where and on what it runs."""

    cache: Path
    device: str = "auto"
    offline: bool = False
    progress: ProgressMaker = silent


@dataclass(frozen=True)
class Failure:
    """A cell, cohort or backbone that could not be done, and why."""

    what: str
    reason: str


@dataclass(frozen=True)
class Prepared:
    """A cohort ready to be crossed: read, its recipe chosen, its cases digested."""

    cohort: Cohort
    recipe: "Recipe"
    digest: str


@dataclass(frozen=True)
class Encoder:
    """A backbone of the study with its weights found and its number format settled, but not yet loaded."""

    entry: BackboneEntry
    source: "WeightSource"
    identity: str
    dtype: str
    device: str


@dataclass(frozen=True)
class Cell:
    """One number-producing job: cohort × backbone × protocol × seed."""

    id: str
    prepared: Prepared
    encoder: Encoder
    protocol: ProtocolEntry
    seed: int
    facts: Mapping[str, Any]

    @property
    def title(self) -> str:
        return f"{self.facts['cohort']} × {self.facts['backbone']} × {self.facts['label']} × seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """The cells of a study, those of one backbone and cohort side by side, and what could not be planned."""

    study: Study
    cells: tuple[Cell, ...]
    failures: tuple[Failure, ...] = field(default=())


def plan_study(study: Study, settings: Settings, *, download: bool = False) -> Plan:
    """Read the cohorts, find the weights and lay out the cells.

    A cohort with errors is left out and reported in `failures`, so that the others can be run. The digest of hub
    weights is known once they are here, so a plan made without `download` may name other cells. Raises UsageError
    for what the study file itself has wrong: unknown backbones, protocols, options, recipes.
    """
    from radapt.protocols import make

    for entry in study.protocols:
        make(entry.name, **entry.options)
    encoders = [_encoder(entry, settings, download=download) for entry in study.backbones]
    digests = ByteDigests(settings.cache)
    prepared: list[Prepared] = []
    failures: list[Failure] = []
    for name in study.cohorts:
        try:
            prepared.append(_prepare(Path(name), study, digests))
        except DataError as error:
            failures.append(Failure(Path(name).name, str(error)))
    _refuse_equal_names(prepared)
    cells = [
        _cell(study, encoder, one, protocol, seed)
        for encoder in encoders
        for one in prepared
        for protocol in study.protocols
        for seed in study.seeds
    ]
    return Plan(study, tuple(cells), tuple(failures))


def _encoder(entry: BackboneEntry, settings: Settings, *, download: bool) -> Encoder:
    from radapt.backbones import auto_dtype, card, fetch, identity_of, resolve
    from radapt.devices import pick_device

    device = pick_device(settings.device)
    known = card(entry.architecture, offline=settings.offline)
    source = resolve(known, entry.weights, seed=entry.seed, offline=settings.offline)
    if download:
        # What cannot be had now fails when it is loaded, with its cells, and not the whole study.
        with suppress(UsageError):
            source = fetch(known, source, offline=settings.offline)
    dtype = auto_dtype(device) if entry.dtype == "auto" else entry.dtype
    return Encoder(entry, source, identity_of(known, source), dtype, device)


def _prepare(path: Path, study: Study, digests: ByteDigests) -> Prepared:
    from radapt.images import Recipe

    cohort = load_cohort(path)
    slices = study.image.slices
    recipe = Recipe.for_kind(
        cohort.kind, study.image.size, slices.axis, slices.every, slices.count, **study.image.recipe
    )  # fmt: skip
    if cohort.task in ("unlabelled", "segmentation"):
        raise DataError(
            f"Cohort {cohort.name} ({path}) has no labels to judge a classifier by: give a column 'label', or "
            "'label:<finding>' for several findings."
        )
    return Prepared(cohort, recipe, cohort_digest(cohort, digests))


def cohort_digest(cohort: Cohort, digests: ByteDigests) -> str:
    """A digest of everything about a cohort that decides numbers: cases, patients, splits, labels, image bytes.

    Names of files and folders do not enter, so moving a cohort keeps its results. Raises DataError for an image
    that is not there.
    """
    cases = [_case_facts(case, digests) for case in cohort]
    return digest({"outputs": cohort.outputs, "ordered": cohort.ordered, "cases": cases})


def _case_facts(case: Case, digests: ByteDigests) -> list[Any]:
    images = {name: digests.of(location) for name, location in case.images.items()}
    return [case.case, case.patient, case.site, case.split, case.label, list(case.findings), images]


def _cell(study: Study, encoder: Encoder, prepared: Prepared, protocol: ProtocolEntry, seed: int) -> Cell:
    from radapt.features import LAYERS
    from radapt.protocols import make

    names = [entry.name for entry in study.protocols]
    decisive = {
        "cohort_digest": prepared.digest,
        "recipe": prepared.recipe.digest,
        "architecture": encoder.entry.architecture,
        "weights": encoder.identity,
        "dtype": encoder.dtype,
        "layers": list(LAYERS),
        "protocol": protocol.name,
        "options": asdict(cast(Any, make(protocol.name, **protocol.options))),
        "pooling": study.pooling.model_dump(),
        "seed": seed,
        "shots": None,
        "repeat": None,
        "resamples": study.resamples,
        "radapt": __version__,
    }
    shown = {
        "cohort": prepared.cohort.name,
        "backbone": encoder.entry.name,
        "label": protocol.name if names.count(protocol.name) == 1 else protocol.label,
        "image": study.image.model_dump(mode="json"),
    }
    # The backbone's own name is part of what tables show, so two names for equal weights stay two cells.
    cell_id = digest([decisive, shown["cohort"], shown["backbone"], shown["label"]])[:16]
    return Cell(cell_id, prepared, encoder, protocol, seed, {"id": cell_id, **shown, **decisive})


def _refuse_equal_names(prepared: list[Prepared]) -> None:
    names = [one.cohort.name for one in prepared]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"Two cohorts of the study are called {twice[0]!r}; give each cohort.yaml a name of its own, so that "
            "their rows can be told apart."
        )
