"""From a study to its cells, each named by a digest of everything that decides its numbers."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from radapt.cohorts import Cohort, cohort_digest, load_cohort
from radapt.digests import ByteDigests, digest
from radapt.errors import DataError, UsageError
from radapt.progress import ProgressMaker, silent
from radapt.studies.ledger import slug
from radapt.studies.study import BackboneEntry, ProtocolEntry, Study
from radapt.versions import __version__

if TYPE_CHECKING:
    from radapt.backbones import Found
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
    """A backbone of the study with its card and weights found, but not loaded."""

    entry: BackboneEntry
    found: "Found"


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
    _refuse_equal_cells(cells)
    return Plan(study, tuple(cells), tuple(failures))


def _encoder(entry: BackboneEntry, settings: Settings, *, download: bool) -> Encoder:
    from radapt.backbones import find_backbone
    from radapt.devices import pick_device

    find = partial(
        find_backbone, entry.architecture, entry.weights, seed=entry.seed, dtype=entry.dtype,
        device=pick_device(settings.device), offline=settings.offline,
    )  # fmt: skip
    found = find(download=False)
    if download:
        # What cannot be had now fails when it is loaded, with its cells, and not the whole study.
        with suppress(UsageError):
            found = find()
    return Encoder(entry, found)


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


def _cell(study: Study, encoder: Encoder, prepared: Prepared, protocol: ProtocolEntry, seed: int) -> Cell:
    from radapt.features import LAYERS
    from radapt.protocols import make

    names = [entry.name for entry in study.protocols]
    decisive = {
        "cohort_digest": prepared.digest,
        "recipe": prepared.recipe.digest,
        "architecture": encoder.entry.architecture,
        "weights": encoder.found.lazy.identity,
        "dtype": encoder.found.lazy.dtype,
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
    # Names of cohorts and backbones are part of what tables show, so two names for equal weights stay two cells.
    cell_id = digest([decisive, shown["cohort"], shown["backbone"]])[:16]
    return Cell(cell_id, prepared, encoder, protocol, seed, {"id": cell_id, **shown, **decisive})


def _refuse_equal_names(prepared: list[Prepared]) -> None:
    """Names that are equal, or equal as names of folders."""
    seen: dict[str, str] = {}
    for name in (one.cohort.name for one in prepared):
        if slug(name) in seen:
            raise UsageError(
                f"Two cohorts of the study are called {seen[slug(name)]!r} and {name!r}; give each cohort.yaml a name "
                "of its own, which differs in more than spaces and signs, so that their rows can be told apart."
            )
        seen[slug(name)] = name


def _refuse_equal_cells(cells: list[Cell]) -> None:
    """Two entries that ask for the same numbers, such as `knn` and `{knn: {}}` with its defaults spelled out."""
    seen: dict[str, str] = {}
    for cell in cells:
        if cell.id in seen:
            raise UsageError(f"The study asks for the same cell twice: {seen[cell.id]}, and {cell.title}. Remove one.")
        seen[cell.id] = cell.title
