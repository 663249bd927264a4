"""From a study to its cells: reads the cohorts, locates the weights and reports combinations that do not apply."""

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from radapt.cohorts import Cohort, cohort_digest, load_cohort, refuse_offline
from radapt.cohorts.fold_groups import fold_groups
from radapt.cohorts.remote_images import refuse_unreachable
from radapt.digests import ByteDigests
from radapt.errors import DataError, UsageError
from radapt.locations import Location
from radapt.progress import ProgressMaker, silent
from radapt.studies.cells import Cell, CellEncoder, CellJob, PreparedCohort, applies, cell_of, jobs_of, uses_masks
from radapt.studies.controls import SkippedControl, control_jobs
from radapt.studies.duplicates import refuse_equal_images
from radapt.studies.groups import refuse_unknown_groups
from radapt.studies.ledger import slug
from radapt.studies.study import BackboneEntry, ImageSettings, Study
from radapt.trackers import Where

if TYPE_CHECKING:
    from radapt.images import Recipe
    from radapt.protocols import Protocol


@dataclass(frozen=True)
class Settings:
    """Where and on what a study runs. Settings never change the meaning of its numbers.

    `devices` processes on this machine share extraction, and the training of a cell (see `radapt.protocols.Machine`).
    """

    cache: Path
    device: str = "auto"
    offline: bool = False
    progress: ProgressMaker = silent
    devices: int = 1
    track: tuple[Where, ...] = ()
    """Trackers beside those of the study file."""


@dataclass(frozen=True)
class StudyFailure:
    """A cell, cohort or backbone that failed, with the reason."""

    what: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """The cells of a study, grouped by backbone and cohort, and what could not be planned.

    `notes` list the protocols that do not apply to a cohort or backbone, `skipped_controls` the controls that cannot be
    run.
    """

    study: Study
    device: str
    cells: tuple[Cell, ...]
    failures: tuple[StudyFailure, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())
    skipped_controls: tuple[SkippedControl, ...] = field(default=())


def plan_study(study: Study, settings: Settings, *, download: bool = False) -> Plan:
    """Read the cohorts, locate the weights and list the cells.

    A cohort with errors is left out and reported in `failures`, so that the others can run. The digest of hub weights
    is known after download, so a plan made without `download` may have other cell ids. Raises UsageError for errors of
    the study file: unknown backbones, protocols, options or recipes.
    """
    from radapt.devices import check_count, pick_device

    protocols = _protocols(study)
    device = pick_device(settings.device)
    check_count(device, settings.devices)
    encoders = [_encoder(entry, device, settings, download=download) for entry in study.backbones]
    digests = ByteDigests(settings.cache)
    cohorts: list[PreparedCohort] = []
    failures: list[StudyFailure] = []
    notes: list[str] = []
    for name in study.cohorts:
        try:
            prepared = _prepare(Path(name), study, protocols, digests, settings.offline)
        except DataError as error:
            failures.append(StudyFailure(Path(name).name, str(error)))
            continue
        cohorts += prepared
        notes += _not_applying(prepared[0].cohort, protocols)
    _refuse_unread_images(study, protocols)
    unsuited = _unsuited(encoders, study, protocols)
    notes += [f"{study.protocols[at].label} does not support {name}" for at in unsuited for name in unsuited[at]]
    _refuse_equal_names(cohorts)
    refuse_unknown_groups(study, cohorts)
    for ready in cohorts:
        fold_groups(ready.cohort, study.inner_folds)  # refuses an unknown column
    jobs = [
        CellJob(prepared, encoder, job, seed)
        for encoder in (*encoders, None)
        for prepared in cohorts
        for entry, protocol in protocols.items()
        if applies(protocol, prepared.cohort) and prepared.image.aim in (None, protocol.aim)
        if protocol.uses_backbone == (encoder is not None)
        if encoder is None or encoder.entry.name not in unsuited[entry]
        for seed in study.seeds
        for job in jobs_of(study.protocols[entry], prepared.cohort, seed)
    ]
    cells = [cell_of(study, *each, device) for each in jobs]
    notes += _whole_anyway(cells)
    cells, repeated = _without_repetitions(cells)
    notes += repeated
    locate = partial(_encoder, device=device, settings=settings, download=download)
    controls, skipped = control_jobs(study, encoders, cohorts, protocols, locate)
    _refuse_equal_cells(cells)
    taken = {cell.id for cell in cells}
    cells += [cell for each in controls if (cell := cell_of(study, *each, device)).id not in taken]
    return Plan(study, device, _grouped(cells), tuple(failures), tuple(notes), skipped)


def _grouped(cells: list[Cell]) -> tuple[Cell, ...]:
    """The cells of one backbone and cohort together, in the order in which these come up; those without one last."""
    encoders, cohorts = dict[int, int](), dict[int, int]()
    for cell in cells:
        encoders.setdefault(id(cell.encoder), len(encoders))
        cohorts.setdefault(id(cell.prepared), len(cohorts))

    def key(cell: Cell) -> tuple[bool, int, int]:
        return cell.encoder is None, encoders[id(cell.encoder)], cohorts[id(cell.prepared)]

    return tuple(sorted(cells, key=key))


def _protocols(study: Study) -> dict[int, "Protocol"]:
    """The protocol of each entry, created once to validate its options; for a learning curve, its base protocol."""
    from radapt.protocols import FewShot, make

    made = [make(entry.name, **entry.options) for entry in study.protocols]
    protocols = {at: protocol.base if isinstance(protocol, FewShot) else protocol for at, protocol in enumerate(made)}
    needing = [study.protocols[at].label for at, protocol in protocols.items() if protocol.uses_backbone]
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


def _unsuited(encoders: list[CellEncoder], study: Study, protocols: dict[int, "Protocol"]) -> dict[int, list[str]]:
    """By index of the protocol in the study: the names of the backbones that it does not support.

    Raises UsageError for a protocol that supports none of them.
    """
    kinds = {protocol.name: protocol for protocol in protocols.values() if protocol.uses_backbone}
    lacking = {
        name: [encoder.entry.name for encoder in encoders if not protocol.suits(encoder.located.card)]
        for name, protocol in kinds.items()
    }
    for entry, protocol in protocols.items():
        if encoders and len(lacking.get(protocol.name, ())) == len(encoders):
            raise UsageError(
                f"Protocol {study.protocols[entry].label!r} supports none of the backbones of the study "
                f"({', '.join(encoder.entry.name for encoder in encoders)}). Add a plain vision transformer, such as "
                "dinov2-s."
            )
    return {entry: lacking.get(protocol.name, []) for entry, protocol in protocols.items()}


def _refuse_unread_images(study: Study, protocols: dict[int, "Protocol"]) -> None:
    """Raise UsageError where image settings and protocols do not meet: one of an aim is without the other."""
    for image in study.image_settings:
        if image.aim is not None and all(protocol.aim != image.aim for protocol in protocols.values()):
            raise UsageError(
                f"No protocol of the study is for {image.aim}, the aim of image settings {image.name or image.size!r}. "
                "Add one, or remove 'aim'."
            )
    for protocol in protocols.values():
        if all(image.aim not in (None, protocol.aim) for image in study.image_settings):
            raise UsageError(
                f"Protocol {protocol.name!r} is for {protocol.aim}, but no image settings of the study are; give some "
                f"under 'images' with aim: {protocol.aim}, or without an aim."
            )


def _encoder(entry: BackboneEntry, device: str, settings: Settings, *, download: bool) -> CellEncoder:
    from radapt.backbones import find_backbone

    find = partial(
        find_backbone, entry.architecture, entry.weights, seed=entry.seed, dtype=entry.dtype,
        device=device, offline=settings.offline, runtime=entry.runtime, cache=settings.cache,
    )  # fmt: skip
    located = find(download=False)
    if download:
        # Weights that cannot be fetched fail their own cells at loading, not the whole study.
        with suppress(UsageError):
            located = find()
    return CellEncoder(entry, located)


def _prepare(
    path: Path, study: Study, protocols: dict[int, "Protocol"], digests: ByteDigests, offline: bool
) -> list[PreparedCohort]:
    """The cohort once for each of the image settings."""
    from radapt.features import check_lesion_masks

    cohort = load_cohort(path)
    refuse_offline(cohort, offline)
    refuse_unreachable(cohort)
    refuse_equal_images(cohort, study.duplicates, lambda _, location: digests.of(location), "bytes", _varies)
    applying = [protocol for protocol in protocols.values() if applies(protocol, cohort)]
    aims = {protocol.aim for protocol in applying}
    if not aims:
        lacking = "; ".join(_not_applying(cohort, protocols))
        raise DataError(
            f"No protocol of the study applies to cohort {cohort.name} ({path}): {lacking}. Give a column "
            "'label' (or 'label:<finding>' for several findings), or 'mask', or choose other protocols."
        )
    labels = cohort_digest(cohort, digests) if "classification" in aims else ""
    looks = [image.look for image in study.image_settings]
    if "lesion" in looks and "classification" in aims:
        check_lesion_masks(cohort)
    with_masks = "lesion" in looks or any(uses_masks(protocol, cohort) for protocol in applying)
    masks = cohort_digest(cohort, digests, masks=True) if with_masks else ""
    return [PreparedCohort(cohort, image, _recipe(cohort, image), labels, masks) for image in study.image_settings]


def _varies(modality: str, location: Location) -> bool:
    """Whether an image has more than one value; an empty one of two patients is no leak."""
    from radapt.images import read

    voxels = read(location, modality).array
    return bool(voxels.min() != voxels.max())


def _recipe(cohort: Cohort, image: ImageSettings) -> "Recipe":
    from radapt.images import Recipe

    slices, framing = image.slices.model_dump(), image.model_dump(include={"fit", "border", "look"})
    for name in image.recipe:
        if name == "size" or name in framing or name in slices:
            section = "image: slices" if name in slices else "image"
            raise UsageError(f"{name!r} is given under 'image: recipe' of the study; it belongs under '{section}'.")
    return Recipe.for_kind(cohort.kind, image.size, **slices, **framing, **image.recipe)


def _refuse_equal_names(cohorts: list[PreparedCohort]) -> None:
    """Raise UsageError for cohorts whose names are equal, or equal as folder names."""
    seen: dict[str, str] = {}
    for name in (prepared.cohort.name for prepared in cohorts if prepared.image == cohorts[0].image):
        if slug(name) in seen:
            raise UsageError(
                f"Two cohorts of the study are called {seen[slug(name)]!r} and {name!r}; give each cohort.yaml a "
                "unique name that differs in more than spaces and punctuation."
            )
        seen[slug(name)] = name


def _whole_anyway(cells: list[Cell]) -> list[str]:
    """The looks that a study names for protocols that look elsewhere."""
    found = {
        f"look: {cell.prepared.image.look} for {cell.facts['label']}, which looks at the {cell.facts['look']}": None
        for cell in cells
        if cell.prepared.image.look not in (None, cell.facts["look"])
    }
    return list(found)


def _without_repetitions(cells: list[Cell]) -> tuple[list[Cell], list[str]]:
    """Without the cells that differ from another one only in a look that their protocol does not follow."""
    kept: dict[str, Cell] = {}
    notes: dict[str, None] = {}
    unique = []
    for cell in cells:
        first = kept.setdefault(cell.id, cell)
        if first.prepared.image != cell.prepared.image and first.job.entry == cell.job.entry:
            notes[f"{cell.facts['label']} sees the same as {first.facts['label']}, and is run once"] = None
        else:
            unique.append(cell)
    return unique, list(notes)


def _refuse_equal_cells(cells: list[Cell]) -> None:
    """Raise UsageError for entries that define the same cell, such as `knn` and `{knn: {}}` with its defaults."""
    seen: dict[str, str] = {}
    for cell in cells:
        if cell.id in seen:
            raise UsageError(f"The study defines the same cell twice: {seen[cell.id]}, and {cell.title}. Remove one.")
        seen[cell.id] = cell.title
