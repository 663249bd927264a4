"""Cells: the units of a study, each identified by a digest of everything that determines its numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from radapt.cohorts import Cohort
from radapt.cohorts.fold_groups import named_column
from radapt.cohorts.metadata import metadata_digest
from radapt.digests import digest
from radapt.licences import UNKNOWN, use_of
from radapt.pretraining import overlap
from radapt.studies.study import BackboneEntry, ImageSettings, ProtocolEntry, Study
from radapt.versions import __version__

if TYPE_CHECKING:
    from radapt.backbones import LocatedBackbone
    from radapt.cohorts.label_draws import Draw
    from radapt.images import Recipe
    from radapt.protocols import Protocol

NO_BACKBONE = "none"
"""The backbone column for networks trained from scratch."""


@dataclass(frozen=True)
class PreparedCohort:
    """A cohort with its image settings, recipe and digests.

    `digest` covers cases, labels and images; `mask_digest` also covers masks. Either is '' if no protocol needs it.
    """

    cohort: Cohort
    image: ImageSettings
    recipe: "Recipe"
    digest: str
    mask_digest: str = ""


@dataclass(frozen=True)
class CellEncoder:
    """A backbone of the study whose card and weights are located but not loaded."""

    entry: BackboneEntry
    located: "LocatedBackbone"


@dataclass(frozen=True, eq=False)
class Job:
    """A protocol of the study with its entry in the study file and, in a learning curve, one draw of the labels.

    `control` names what is run beside the protocols of the study and ranked apart; '' for these.
    """

    entry: ProtocolEntry
    protocol: "Protocol"
    draw: "Draw | None" = None
    control: str = ""


class CellJob(NamedTuple):
    """What a cell is made of."""

    prepared: PreparedCohort
    encoder: CellEncoder | None
    job: Job
    seed: int


@dataclass(frozen=True)
class Cell:
    """Cohort × image settings × backbone × protocol × seed, and in a learning curve × draw of the labels."""

    id: str
    prepared: PreparedCohort
    encoder: CellEncoder | None
    job: Job
    seed: int
    facts: Mapping[str, Any]

    @property
    def title(self) -> str:
        names = [str(self.facts[name]) for name in ("cohort", "backbone", "label")]
        drawn = self.job.draw
        if drawn is not None:
            names.append(f"{drawn.words}, repeat {drawn.repeat}")
        return " × ".join([*names, f"seed {self.seed}"])


def cell_of(
    study: Study, prepared: PreparedCohort, encoder: CellEncoder | None, job: Job, seed: int, device: str
) -> Cell:
    """The cell of one job. Its id is the digest of everything that determines its numbers."""
    from radapt.backbones import scratch_dtype
    from radapt.features import LAYERS

    protocol, draw = job.protocol, job.draw
    recipe = protocol.recipe_read(prepared.recipe)
    with_masks = uses_masks(protocol, prepared.cohort) or recipe.look == "lesion"
    lazy = encoder.located.lazy if encoder else None
    determining = {
        "cohort_digest": prepared.mask_digest if with_masks else prepared.digest,
        "recipe": recipe.digest,
        "look": recipe.look,
        "lesion_masks": prepared.image.lesion_masks if recipe.look == "lesion" else None,
        "architecture": encoder.entry.architecture if encoder else None,
        "weights": lazy.identity if lazy else None,
        "dtype": lazy.dtype if lazy else scratch_dtype(device),
        "layers": list(LAYERS) if protocol.reads == "features" else None,
        "protocol": protocol.name,
        "aim": protocol.aim,
        "options": asdict(cast(Any, protocol)),
        "pooling": study.pooling.model_dump(),
        "choices": study.choices,
        "seed": seed,
        "shots": draw.shots if draw else None,
        "fraction": draw.fraction if draw else None,
        "repeat": draw.repeat if draw else None,
        "resamples": study.resamples,
        "radapt": __version__,
    }
    if lazy and lazy.runtime != "pytorch" and protocol.reads == "features":
        determining["runtime"] = lazy.runtime
    if protocol.uses_metadata or named_column(study.inner_folds):
        determining["metadata"] = metadata_digest(prepared.cohort)
    names = [entry.name for entry in study.protocols]
    is_plain = names.count(job.entry.name) == 1 and job.entry.title is None
    label = job.entry.name if is_plain else job.entry.label
    shown: dict[str, Any] = {
        "cohort": prepared.cohort.name,
        "backbone": encoder.entry.name if encoder else NO_BACKBONE,
        "label": f"{label} @ {prepared.image.name}" if study.images and not job.control else label,
        "unit": "patient" if prepared.cohort.patients_known else "image",
        "control": job.control or (protocol.name if protocol.control else ""),
        "image": prepared.image.model_dump(mode="json"),
    }
    shown |= _provenance(encoder, prepared.cohort)
    # Tables show the names of cohorts and backbones, so two names for equal weights stay two cells, and a few-shot draw
    # that takes every case stays distinct from the protocol on the whole training set.
    few = [job.entry.name] if draw else []
    cell_id = digest([determining, shown["cohort"], shown["backbone"], *few])[:16]
    return Cell(cell_id, prepared, encoder, job, seed, {"id": cell_id, **shown, **determining})


def _provenance(encoder: CellEncoder | None, cohort: Cohort) -> dict[str, str | None]:
    """Whether the pretraining lists the cohort, the licence of the weights, and what a model made of both may be used
    for; networks without weights from outside have neither of the first two."""
    data = [str(cohort.source.get("licence") or UNKNOWN)]
    if encoder is None or encoder.located.source.kind == "random":
        return {"contamination": None, "licence": None, "use": use_of(data)}
    card = encoder.located.card
    seen = overlap(card.pretraining, cohort.name, cohort.source)
    return {"contamination": seen, "licence": card.licence or None, "use": use_of([card.licence or UNKNOWN, *data])}


def applies(protocol: "Protocol", cohort: Cohort) -> bool:
    """Whether the cohort has the targets of the protocol: labels or masks."""
    if protocol.aim == "segmentation":
        return any(case.mask is not None for case in cohort)
    return cohort.task not in ("unlabelled", "segmentation")


def uses_masks(protocol: "Protocol", cohort: Cohort) -> bool:
    """Whether masks influence the protocol's numbers on the cohort."""
    return protocol.aim == "segmentation" or (protocol.uses_masks and any(case.mask is not None for case in cohort))


def jobs_of(entry: ProtocolEntry, cohort: Cohort, seed: int) -> Iterator[Job]:
    """One job, or one for each draw of a learning curve."""
    from radapt.protocols import FewShot, make

    protocol = make(entry.name, **entry.options)
    if isinstance(protocol, FewShot):
        for draw in protocol.draws(cohort, seed):
            yield Job(entry, protocol.base, draw)
    else:
        yield Job(entry, protocol)
