"""From a study to its cells: cohorts are read, weights found, and what does not go together is said."""

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from radapt.cohorts import Cohort, cohort_digest, load_cohort
from radapt.digests import ByteDigests
from radapt.errors import DataError, UsageError
from radapt.progress import ProgressMaker, silent
from radapt.studies.cells import Cell, Encoder, Prepared, applies, cell_of, jobs_of, looks_at_masks
from radapt.studies.ledger import slug
from radapt.studies.study import BackboneEntry, Image, Study

if TYPE_CHECKING:
    from radapt.images import Recipe
    from radapt.protocols import Protocol


@dataclass(frozen=True)
class Settings:
    """What a run needs beyond the study and what never changes its numbers' meaning: where and on what it runs.

    `devices` processes on this machine share the training of a cell (see `radapt.protocols.Machine`).
    """

    cache: Path
    device: str = "auto"
    offline: bool = False
    progress: ProgressMaker = silent
    devices: int = 1


@dataclass(frozen=True)
class Failure:
    """A cell, cohort or backbone that could not be done, and why."""

    what: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """The cells of a study, those of one backbone and cohort side by side, and what could not be planned.

    `notes` say which protocols do not apply to which cohorts.
    """

    study: Study
    device: str
    cells: tuple[Cell, ...]
    failures: tuple[Failure, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())


def plan_study(study: Study, settings: Settings, *, download: bool = False) -> Plan:
    """Read the cohorts, find the weights and lay out the cells.

    A cohort with errors is left out and reported in `failures`, so that the others can be run. The digest of hub
    weights is known once they are here, so a plan made without `download` may name other cells. Raises UsageError
    for what the study file itself has wrong: unknown backbones, protocols, options, recipes.
    """
    from radapt.devices import check_count, pick_device

    protocols = _protocols(study)
    device = pick_device(settings.device)
    check_count(device, settings.devices)
    encoders = [_encoder(entry, device, settings, download=download) for entry in study.backbones]
    digests = ByteDigests(settings.cache)
    prepared: list[Prepared] = []
    failures: list[Failure] = []
    notes: list[str] = []
    for name in study.cohorts:
        try:
            ready = _prepare(Path(name), study, protocols, digests)
        except DataError as error:
            failures.append(Failure(Path(name).name, str(error)))
            continue
        prepared += ready
        notes += _not_applying(ready[0].cohort, protocols)
    unsuited = _unsuited(encoders, study, protocols)
    notes += [f"{study.protocols[at].label} does not suit {name}" for at in unsuited for name in unsuited[at]]
    _refuse_equal_names(prepared)
    cells = [
        cell_of(study, one, encoder, job, seed, device)
        for encoder in (*encoders, None)
        for one in prepared
        for entry, protocol in protocols.items()
        if applies(protocol, one.cohort) and protocol.uses_backbone == (encoder is not None)
        if encoder is None or encoder.entry.name not in unsuited[entry]
        for seed in study.seeds
        for job in jobs_of(study.protocols[entry], one.cohort, seed)
    ]
    _refuse_equal_cells(cells)
    return Plan(study, device, tuple(cells), tuple(failures), tuple(notes))


def _protocols(study: Study) -> dict[int, "Protocol"]:
    """The protocol of each entry, made once to find what is wrong with it; of a learning curve, the one it repeats."""
    from radapt.protocols import FewShot, make

    made = [make(entry.name, **entry.options) for entry in study.protocols]
    protocols = {at: one.base if isinstance(one, FewShot) else one for at, one in enumerate(made)}
    needing = [study.protocols[at].label for at, one in protocols.items() if one.uses_backbone]
    if needing and not study.backbones:
        raise UsageError(f"Protocols of the study need a backbone ({', '.join(needing)}); name one under 'backbones'.")
    if not needing and study.backbones:
        names = ", ".join(entry.name for entry in study.backbones)
        raise UsageError(
            f"No protocol of the study uses a backbone, but it names {names}; add a protocol such as linear, or "
            "remove them."
        )
    return protocols


def _not_applying(cohort: Cohort, protocols: dict[int, "Protocol"]) -> list[str]:
    lacking = {protocol.name: protocol.aim for protocol in protocols.values() if not applies(protocol, cohort)}
    wanted = {"classification": "labels", "segmentation": "masks"}
    return [f"{name} does not apply to {cohort.name}: it has no {wanted[aim]}" for name, aim in lacking.items()]


def _unsuited(encoders: list[Encoder], study: Study, protocols: dict[int, "Protocol"]) -> dict[int, list[str]]:
    """The names of the backbones that a protocol, by its place in the study, cannot be fitted on.

    Raises UsageError for a protocol that suits none.
    """
    kinds = {protocol.name: protocol for protocol in protocols.values() if protocol.uses_backbone}
    lacking = {
        name: [encoder.entry.name for encoder in encoders if not protocol.suits(encoder.found.card)]
        for name, protocol in kinds.items()
    }
    for entry, protocol in protocols.items():
        if encoders and len(lacking.get(protocol.name, ())) == len(encoders):
            raise UsageError(
                f"Protocol {study.protocols[entry].label!r} suits none of the backbones of the study "
                f"({', '.join(encoder.entry.name for encoder in encoders)}). Add a plain vision transformer, such as "
                "dinov2-s."
            )
    return {entry: lacking.get(protocol.name, []) for entry, protocol in protocols.items()}


def _encoder(entry: BackboneEntry, device: str, settings: Settings, *, download: bool) -> Encoder:
    from radapt.backbones import find_backbone

    find = partial(
        find_backbone, entry.architecture, entry.weights, seed=entry.seed, dtype=entry.dtype,
        device=device, offline=settings.offline,
    )  # fmt: skip
    found = find(download=False)
    if download:
        # What cannot be had now fails when it is loaded, with its cells, and not the whole study.
        with suppress(UsageError):
            found = find()
    return Encoder(entry, found)


def _prepare(path: Path, study: Study, protocols: dict[int, "Protocol"], digests: ByteDigests) -> list[Prepared]:
    """The cohort once for each way to make images."""
    cohort = load_cohort(path)
    applying = [protocol for protocol in protocols.values() if applies(protocol, cohort)]
    aims = {protocol.aim for protocol in applying}
    if not aims:
        lacking = "; ".join(_not_applying(cohort, protocols))
        raise DataError(
            f"No protocol of the study can be judged on cohort {cohort.name} ({path}): {lacking}. Give a column "
            "'label' (or 'label:<finding>' for several findings), or 'mask', or choose other protocols."
        )
    labels = cohort_digest(cohort, digests) if "classification" in aims else ""
    looking = any(looks_at_masks(protocol, cohort) for protocol in applying)
    masks = cohort_digest(cohort, digests, masks=True) if looking else ""
    return [Prepared(cohort, image, _recipe(cohort, image), labels, masks) for image in study.ways]


def _recipe(cohort: Cohort, image: Image) -> "Recipe":
    from radapt.images import Recipe

    slices = image.slices.model_dump()
    for name in image.recipe:
        if name == "size" or name in slices:
            place = "image" if name == "size" else "image: slices"
            raise UsageError(f"{name!r} stands under 'image: recipe' of the study; it belongs under '{place}'.")
    return Recipe.for_kind(cohort.kind, image.size, **slices, **image.recipe)


def _refuse_equal_names(prepared: list[Prepared]) -> None:
    """Names that are equal, or equal as names of folders."""
    seen: dict[str, str] = {}
    for name in (one.cohort.name for one in prepared if one.image == prepared[0].image):
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
