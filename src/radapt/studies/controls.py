"""The controls of a study: what is run beside its protocols to show what they would reach without seeing anything.

    age-sex           logistic regression on age and sex; `metadata` with these two columns
    metadata          the same on every column that is not a label
    first-order       the same on brightness and outline of each image
    lesion-numbers    the same on size, shape and texture of the lesion, where training cases have masks
    shuffled-labels   the first probe of the study, trained on the labels of other patients
    random-weights    the first probe of the study on the same network with random weights

They follow the rules and seeds of the study, on the first of its image settings for classification. The last three take
the first backbone of the study that is trained, since encoding with each of them again would double the cost.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from radapt.cohorts import Cohort
from radapt.cohorts.metadata import age_and_sex, metadata_table, values_of, varied_columns
from radapt.errors import UsageError, suggest
from radapt.studies.cells import CellEncoder, CellJob, Job, PreparedCohort
from radapt.studies.study import BackboneEntry, ProtocolEntry, Study

if TYPE_CHECKING:
    from radapt.protocols import Protocol

AGE_SEX, RANDOM_WEIGHTS = "age-sex", "random-weights"
LESIONS = "lesion-numbers"
AUTO = (AGE_SEX, "metadata", "first-order", LESIONS, "shuffled-labels", RANDOM_WEIGHTS)
TITLES = {
    "first-order": "brightness and outline",
    LESIONS: "size and texture of the lesion",
    "shuffled-labels": "shuffled labels",
}

Locate = Callable[[BackboneEntry], CellEncoder]


@dataclass(frozen=True)
class SkippedControl:
    """A control that a cohort does not allow, with the reason."""

    cohort: str
    control: str
    reason: str


class _CannotRunError(Exception):
    """Why a control cannot be run on a cohort; without a reason it would only repeat another cell."""


@dataclass(frozen=True)
class _Probe:
    """The first probe of the study, and the first trained backbone, which controls of the images repeat."""

    entry: ProtocolEntry
    protocol: "Protocol"
    encoder: CellEncoder


def control_jobs(
    study: Study,
    encoders: list[CellEncoder],
    cohorts: Iterable[PreparedCohort],
    protocols: Mapping[int, "Protocol"],
    locate: Locate,
) -> tuple[list[CellJob], tuple[SkippedControl, ...]]:
    """The jobs of the controls, and those that a cohort does not allow.

    `protocols` are those of the study by the index of their entry, `locate` finds the weights of a backbone. A study
    without a protocol that classifies with all labels has no controls. Raises UsageError for an unknown control.
    """
    entries = [ProtocolEntry(name=name) for name in AUTO] if study.controls == "auto" else study.controls
    if isinstance(entries, str) or not any(_compared(study, at, protocol) for at, protocol in protocols.items()):
        return [], ()
    for entry in entries:
        _check(entry)
    probe = _probe(study, encoders, protocols)
    image = next((each for each in study.image_settings if each.aim in (None, "classification")), None)
    jobs: list[CellJob] = []
    skipped: list[SkippedControl] = []
    random: dict[str, CellEncoder] = {}
    for prepared in cohorts:
        if prepared.image != image or not applies_to_labels(prepared.cohort):
            continue
        for entry in entries:
            try:
                encoder, job = _job(entry, prepared.cohort, probe, encoders, locate, random)
            except _CannotRunError as error:
                if str(error):
                    skipped.append(SkippedControl(prepared.cohort.name, entry.name, str(error)))
                continue
            jobs += [CellJob(prepared, encoder, job, seed) for seed in study.seeds]
    return jobs, tuple(skipped)


def applies_to_labels(cohort: Cohort) -> bool:
    """Whether the cohort can be classified."""
    return cohort.task not in ("unlabelled", "segmentation")


def _compared(study: Study, at: int, protocol: "Protocol") -> bool:
    """Whether controls are of use beside a protocol: it classifies, is no control itself and no learning curve."""
    return protocol.aim == "classification" and not protocol.control and study.protocols[at].name != "fewshot"


def _check(entry: ProtocolEntry) -> None:
    """Raises UsageError for what is no control, and for options of one that has none."""
    from radapt.protocols import PROTOCOLS

    if entry.name in (AGE_SEX, RANDOM_WEIGHTS):
        if entry.options:
            raise UsageError(f"Control {entry.name!r} has no options, but {', '.join(entry.options)} is given.")
    elif entry.name not in PROTOCOLS or not PROTOCOLS[entry.name].control:
        raise UsageError(f"Unknown control {entry.name!r}. {suggest(entry.name, AUTO)}")


def _probe(study: Study, encoders: list[CellEncoder], protocols: Mapping[int, "Protocol"]) -> _Probe | None:
    """`logistic` if the study has it, else its first probe; on the first backbone that is trained, if any is."""
    frozen = [
        at
        for at, protocol in protocols.items()
        if _compared(study, at, protocol) and protocol.reads == "features" and protocol.uses_backbone
    ]
    if not frozen or not encoders:
        return None
    at = min(frozen, key=lambda index: (study.protocols[index].name != "logistic", index))
    encoder = next((one for one in encoders if not _is_random(one)), encoders[0])
    return _Probe(study.protocols[at], protocols[at], encoder)


def _is_random(encoder: CellEncoder) -> bool:
    return encoder.located.source.kind == "random"


def _job(
    entry: ProtocolEntry,
    cohort: Cohort,
    probe: _Probe | None,
    encoders: list[CellEncoder],
    locate: Locate,
    random: dict[str, CellEncoder],
) -> tuple[CellEncoder | None, Job]:
    """The encoder and the job of one control on a cohort. Raises _CannotRunError."""
    from radapt.protocols import make

    if entry.name == AGE_SEX:
        names = tuple(_age_and_sex(cohort))
        made = ProtocolEntry(name="metadata", options={"columns": names}, title=entry.title or " and ".join(names))
        return None, Job(made, make(made.name, **made.options), control=entry.name)
    if entry.name == RANDOM_WEIGHTS:
        found = _untrained(_needed(probe), encoders, locate, random)
        return found, Job(_needed(probe).entry, _needed(probe).protocol, control=entry.name)
    options = dict(entry.options)
    if entry.name == "metadata" and not options:
        _check_metadata(cohort)
    if entry.name == LESIONS:
        _check_lesions(cohort, _needed(probe))
    if entry.name == "shuffled-labels" and not options:
        base = _needed(probe).entry
        options = {"protocol": base.name, "options": base.options}
    made = ProtocolEntry(name=entry.name, options=options, title=entry.title or TITLES.get(entry.name, entry.name))
    protocol = make(made.name, **options)
    return _needed(probe).encoder if protocol.uses_backbone else None, Job(made, protocol, control=entry.name)


def _needed(probe: _Probe | None) -> _Probe:
    if probe is None:
        raise _CannotRunError("no protocol of the study is a probe of a frozen backbone, such as logistic")
    return probe


def _age_and_sex(cohort: Cohort) -> Iterator[str]:
    """Those columns of age and sex that say something. Raises _CannotRunError with the reason if there is none."""
    table, varied = metadata_table(cohort), varied_columns(cohort)
    named = [name for name in age_and_sex(cohort) if name is not None]
    if not named:
        raise _CannotRunError("the cohort has no column of age or sex")
    if not set(named) & set(varied):
        words = [f"{name!r} {'has a single value' if values_of(table[name]) else 'is empty'}" for name in named]
        raise _CannotRunError(f"in every case, column {' and column '.join(words)}")
    yield from (name for name in named if name in varied)


def _check_metadata(cohort: Cohort) -> None:
    """Raises _CannotRunError if no metadata vary, and without a reason if they are age and sex alone."""
    varied = set(varied_columns(cohort))
    if not varied:
        raise _CannotRunError("the cohort has no column of metadata with two different values")
    if varied <= {name for name in age_and_sex(cohort) if name}:
        raise _CannotRunError


def _check_lesions(cohort: Cohort, probe: _Probe) -> None:
    """Raises _CannotRunError where no lesion can be located; without a reason if no case has a mask."""
    if all(case.mask is None for case in cohort):
        raise _CannotRunError
    if probe.encoder.located.lazy.modalities:
        raise _CannotRunError(f"{probe.encoder.entry.name} reads several sequences together")


def _untrained(
    probe: _Probe, encoders: list[CellEncoder], locate: Locate, random: dict[str, CellEncoder]
) -> CellEncoder:
    """The network of the probe's backbone with random weights.

    Raises _CannotRunError, without a reason if the study already has it.
    """
    entry = probe.encoder.entry
    alike = [one for one in encoders if _is_random(one) and one.entry.architecture == entry.architecture]
    if alike:
        raise _CannotRunError
    if probe.encoder.located.lazy.modalities:
        raise _CannotRunError(f"{entry.name} reads several sequences together, and the catalog has no untrained one")
    name = f"{entry.name} (random weights)"
    if name not in random:
        random[name] = locate(
            BackboneEntry.model_validate(
                {
                    "name": name,
                    "weights": "random",
                    "as": entry.architecture,
                    "seed": entry.seed,
                    "dtype": entry.dtype,
                    "runtime": entry.runtime,
                }
            )
        )
    return random[name]
