"""Inputs of any kind → one cohort whose modalities are the sequences of the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from radapt.cohorts import Case, Cohort, Kind
from radapt.cohorts.image_names import is_image
from radapt.cohorts.layouts.dicom.headers import is_dicom
from radapt.cohorts.layouts.image_files import unique, walk
from radapt.deploy.inputs.dicom_studies import dicom_cases, holds_dicom
from radapt.deploy.inputs.files import file_case, folder_cases, remote_case
from radapt.deploy.inputs.raw_case import RawCase, RawInput
from radapt.deploy.inputs.tables import UNNAMED, cases_of, cohort_cases, layout_cases
from radapt.deploy.sequences import ModelSequence, Series, match, sequence_kind
from radapt.errors import DataError, UsageError, suggest
from radapt.locations import Location, expanded, is_remote
from radapt.progress import ProgressMaker, silent

_TABLES = (".csv", ".tsv", ".xlsx", ".parquet", ".npz")
TEST = "test"


@dataclass(frozen=True)
class ResolvedInput:
    """Cases that can be predicted, as a cohort; `failures` {case: reason} of those that cannot, `reasons` {case: note}
    about the choice of series, `series` {case: {sequence: name of the series taken for it, unless it is that of the
    sequence or the case}}, `order` of all cases, and `truths` {case: label in words}."""

    cohort: Cohort
    failures: Mapping[str, str]
    reasons: Mapping[str, str]
    series: Mapping[str, Mapping[str, str]]
    truths: Mapping[str, str]
    order: tuple[str, ...]
    notes: tuple[str, ...]


def resolve_inputs(
    inputs: Sequence[Cohort | Path | str],
    wanted: Sequence[ModelSequence],
    kind: Kind,
    mapping: Mapping[str, str] | None = None,
    progress: ProgressMaker = silent,
) -> ResolvedInput:
    """The cases of all `inputs`. A model without sequences reads the table of cases, whose images stay as they are.

    `mapping` {name of a series: name of a sequence}. An input whose data cannot be read is a failed case. Raises
    UsageError for an input that does not exist, and for a mapping to an unknown sequence.
    """
    given = _mapping(mapping or {}, wanted)
    paths = [_given(each) for each in inputs]
    for path in paths:
        if isinstance(path, Path) and not path.exists():
            raise UsageError(
                f"There is no {path}. Expected a cohort.yaml, a folder, an image, or a DICOM file or folder."
            )
    read = [_read(path, wanted, progress) for path in paths]
    raw = [case for each in read for case in each.cases]
    cases = [replace(case, case=name) for case, name in zip(raw, unique(case.case for case in raw), strict=True)]
    return _resolved(cases, wanted, kind, given, tuple(dict.fromkeys(note for each in read for note in each.notes)))


def _given(each: Cohort | Path | str) -> Cohort | Path | Location:
    if isinstance(each, Cohort):
        return each
    if is_remote(str(each)):
        return Location.parse(str(each))
    return expanded(each)


def _mapping(mapping: Mapping[str, str], wanted: Sequence[ModelSequence]) -> dict[str, str]:
    names = [each.name for each in wanted]
    for series, sequence in mapping.items():
        if sequence not in names:
            raise UsageError(f"--map {series}={sequence}: {suggest(sequence, names)}")
    return dict(mapping)


def _read(path: Cohort | Path | Location, wanted: Sequence[ModelSequence], progress: ProgressMaker) -> RawInput:
    if isinstance(path, Cohort):
        return cases_of(path)
    if isinstance(path, Location):
        return remote_case(path)
    try:
        return _cases_in(path, wanted, progress)
    except DataError as error:
        name = path.resolve().name
        return RawInput((RawCase(name, name, problem=str(error)),))


def _cases_in(path: Path, wanted: Sequence[ModelSequence], progress: ProgressMaker) -> RawInput:
    if path.is_file():
        if path.suffix.lower() in (".yaml", ".yml"):
            return cohort_cases(path)
        if is_dicom(path):
            return dicom_cases(path, progress)
        if path.suffix.lower() in _TABLES and not is_image(path.name):
            return layout_cases(path, progress)
        return file_case(path)
    if next(walk(path), None) is None:
        raise DataError(f"The folder {path} is empty. Was the copy interrupted?")
    if holds_dicom(path):
        return dicom_cases(path, progress)
    try:
        found = layout_cases(path, progress)
        if len(wanted) > 1 and all(series.name == UNNAMED for case in found.cases for series in case.series):
            return folder_cases(path, wanted)  # folders of patients look like folders of classes
        return found
    except DataError as unknown:
        try:
            return folder_cases(path, wanted)
        except DataError:
            raise unknown from None


def _resolved(
    raw: Sequence[RawCase],
    wanted: Sequence[ModelSequence],
    kind: Kind,
    mapping: dict[str, str],
    notes: tuple[str, ...],
) -> ResolvedInput:
    cases: list[Case] = []
    failures: dict[str, str] = {}
    reasons: dict[str, str] = {}
    renamed: dict[str, dict[str, str]] = {}
    for each in raw:
        if each.problem:
            failures[each.case] = each.problem
            continue
        matched = match(each.series, wanted, mapping)
        taken = matched.taken if wanted else {series.name: series for series in each.series}
        if wanted and not taken:
            failures[each.case] = _unusable(each.series, wanted)
            continue
        renamed[each.case] = {
            name: series.name for name, series in taken.items() if series.name not in (name, UNNAMED, each.case)
        }
        warnings = tuple(series.warning for series in taken.values() if series.warning)
        if said := (*each.notes, *matched.notes, *warnings):
            reasons[each.case] = "; ".join(said)
        cases.append(_case(each, {name: _location(series) for name, series in taken.items()}))
    names = tuple(each.name for each in wanted) or tuple(dict.fromkeys(name for case in cases for name in case.images))
    cohort = Cohort("predict", kind, tuple(cases), names)
    truths = {each.case: each.label for each in raw if each.label is not None}
    return ResolvedInput(cohort, failures, reasons, renamed, truths, tuple(each.case for each in raw), notes)


def _location(series: Series) -> Location:
    if not isinstance(series.location, Location):
        raise TypeError(f"A series lies at a {type(series.location).__name__}.")
    return series.location


def _case(raw: RawCase, images: dict[str, Location]) -> Case:
    return Case(
        case=raw.case,
        patient=raw.patient,
        split=TEST,
        images=images,
        site=raw.site,
        mask=raw.mask,
        metadata=raw.metadata,
    )


def _unusable(series: Sequence[Series], wanted: Sequence[ModelSequence]) -> str:
    names = ", ".join(
        f"{each.name!r}" + (f" ({kind})" if (kind := sequence_kind(each.name) or each.header_kind) else "")
        for each in series
    )
    read = ", ".join(each.name for each in wanted)
    fix = f" If one of them is, say so: --map {series[0].name}={wanted[0].name}" if series else ""
    return f"No usable sequence: the model reads {read}; the study has {names or 'no images'}.{fix}"
