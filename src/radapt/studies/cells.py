"""Cells: each one number-producing job, named by a digest of everything that decides its numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from radapt.cohorts import Cohort
from radapt.digests import digest
from radapt.studies.study import BackboneEntry, Image, ProtocolEntry, Study
from radapt.versions import __version__

if TYPE_CHECKING:
    from radapt.backbones import Found
    from radapt.cohorts.label_draws import Draw
    from radapt.images import Recipe
    from radapt.protocols import Protocol

NO_BACKBONE = "none"
"""What the backbone column says of networks trained from scratch."""


@dataclass(frozen=True)
class Prepared:
    """A cohort ready to be crossed: read, its recipe chosen, its cases digested.

    `digest` covers cases, labels and images; `mask_digest` the masks too, and is '' for a cohort without any.
    """

    cohort: Cohort
    image: Image
    recipe: "Recipe"
    digest: str
    mask_digest: str = ""


@dataclass(frozen=True)
class Encoder:
    """A backbone of the study with its card and weights found, but not loaded."""

    entry: BackboneEntry
    found: "Found"


@dataclass(frozen=True, eq=False)
class Job:
    """A protocol of the study, ready to be fitted, with its place in the study file."""

    entry: ProtocolEntry
    protocol: "Protocol"
    draw: "Draw | None" = None


@dataclass(frozen=True)
class Cell:
    """Cohort × image × backbone × protocol × seed, and with few shots one draw of them."""

    id: str
    prepared: Prepared
    encoder: Encoder | None
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


def cell_of(study: Study, prepared: Prepared, encoder: Encoder | None, job: Job, seed: int, device: str) -> Cell:
    """The cell of one job, whose id is the same wherever and whenever the same numbers are asked for."""
    from radapt.backbones import auto_dtype
    from radapt.features import LAYERS

    protocol, draw = job.protocol, job.draw
    lazy = encoder.found.lazy if encoder else None
    decisive = {
        "cohort_digest": prepared.mask_digest if looks_at_masks(protocol, prepared.cohort) else prepared.digest,
        "recipe": prepared.recipe.digest,
        "architecture": encoder.entry.architecture if encoder else None,
        "weights": lazy.identity if lazy else None,
        "dtype": lazy.dtype if lazy else auto_dtype(device),
        "layers": list(LAYERS) if protocol.reads == "features" else None,
        "protocol": protocol.name,
        "aim": protocol.aim,
        "options": asdict(cast(Any, protocol)),
        "pooling": study.pooling.model_dump(),
        "seed": seed,
        "shots": draw.shots if draw else None,
        "fraction": draw.fraction if draw else None,
        "repeat": draw.repeat if draw else None,
        "resamples": study.resamples,
        "radapt": __version__,
    }
    names = [entry.name for entry in study.protocols]
    is_plain = names.count(job.entry.name) == 1 and job.entry.title is None
    label = job.entry.name if is_plain else job.entry.label
    shown = {
        "cohort": prepared.cohort.name,
        "backbone": encoder.entry.name if encoder else NO_BACKBONE,
        "label": f"{label} @ {prepared.image.name}" if study.images else label,
        "image": prepared.image.model_dump(mode="json"),
    }
    # Names of cohorts and backbones are part of what tables show, so two names for equal weights stay two cells; and a
    # few-shot draw of every case is not the whole training set to those who read it.
    few = [job.entry.name] if draw else []
    cell_id = digest([decisive, shown["cohort"], shown["backbone"], *few])[:16]
    return Cell(cell_id, prepared, encoder, job, seed, {"id": cell_id, **shown, **decisive})


def applies(protocol: "Protocol", cohort: Cohort) -> bool:
    """Whether the cohort has what the protocol answers: labels, or masks."""
    if protocol.aim == "segmentation":
        return any(case.mask is not None for case in cohort)
    return cohort.task not in ("unlabelled", "segmentation")


def looks_at_masks(protocol: "Protocol", cohort: Cohort) -> bool:
    """Whether masks decide the protocol's numbers on the cohort."""
    return protocol.aim == "segmentation" or (protocol.uses_masks and any(case.mask is not None for case in cohort))


def jobs_of(entry: ProtocolEntry, cohort: Cohort, seed: int) -> Iterator[Job]:
    """One job, or one for each draw of a learning curve."""
    from radapt.protocols import FewShot, make

    made = make(entry.name, **entry.options)
    if isinstance(made, FewShot):
        for draw in made.draws(cohort, seed):
            yield Job(entry, made.base, draw)
    else:
        yield Job(entry, made)
