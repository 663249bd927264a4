"""DICOM files and trees as raw cases: a case is a study; a broken file stops its own study only."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from radapt.cohorts.image_names import DICOM, IMAGES, is_image
from radapt.cohorts.layouts.dicom.cut_series import cut_series
from radapt.cohorts.layouts.dicom.headers import Header, is_dicom, read_header, study_metadata
from radapt.cohorts.layouts.dicom.identity import identified
from radapt.cohorts.layouts.dicom.series import located_series
from radapt.cohorts.layouts.image_files import unique, walk
from radapt.cohorts.layouts.names import slug
from radapt.deploy.inputs.raw_case import RawCase, RawInput
from radapt.deploy.sequences import Series, sequence_kind
from radapt.errors import DataError, counted
from radapt.locations import Location
from radapt.parsing.dicom import dcmread
from radapt.progress import ProgressMaker

_NOT_IMAGES = ("SEG", "RTDOSE", "RTSTRUCT", "PR", "SR", "KO", "REG")
_TAGS = [
    "Modality", "ContrastBolusAgent", "ImageType", "ProtocolName", "SequenceName", "EchoTime", "RepetitionTime",
    "InversionTime", "DiffusionBValue",
]  # fmt: skip
_MAGNETIC = "MR"
_LONG_INVERSION_MS, _SHORT_REPETITION_MS, _LONG_ECHO_MS = 1500, 1200, 60
"""Where the weighting of spin echoes changes: inversion times of FLAIR are above 1,700 ms, repetition times of T1 below
1,000 ms, echo times of T2 above 80 ms."""


def holds_dicom(root: Path, sampled: int = 100) -> bool:
    """Whether at least half of the first files below a folder are DICOM."""
    paths = [path for path, _ in zip(walk(root), range(sampled), strict=False)]
    count = sum(is_dicom(path) for path in paths)
    return bool(count) and count * 2 >= len(paths)


def dicom_cases(root: Path, progress: ProgressMaker) -> RawInput:
    """The studies in a DICOM file, a series folder, a study folder or a tree of these.

    A study whose files are of several patients, or with a file that cannot be read in one of its folders, has a
    problem. Cases are named by pseudonyms. Images of other kinds are not read, which a note says.
    """
    base = root if root.is_dir() else root.parent
    paths = [root] if root.is_file() else list(walk(root))
    notes = list(_other_images(paths, base))
    read, broken = _headers(paths, base, progress)
    headers = identified(read, base, notes)
    studies = defaultdict[str, list[tuple[str, list[Header]]]](list)
    for location, series in located_series(headers, base, notes):
        studies[series[0].study].append((location, series))
    cases = [_case(study, located, broken) for study, located in sorted(studies.items())]
    used = {header.path.parent for header in headers}
    for folder, reason in broken.items():
        if folder not in used:
            name = folder.relative_to(base).as_posix() if folder != base else base.name
            cases.append(RawCase(name, name, problem=reason))
    if not cases:
        raise DataError(f"{root} holds no DICOM images that can be used. {' '.join(notes)}".strip())
    names = unique(case.case for case in cases)
    renamed = tuple(RawCase(name, *_rest(case)) for name, case in zip(names, cases, strict=True))
    return RawInput(renamed, (*notes, "DICOM cases are named by pseudonyms."))


def _other_images(paths: Sequence[Path], base: Path) -> Iterator[str]:
    endings = tuple(ending for ending in IMAGES if ending not in DICOM)
    others = [path for path in paths if is_image(path.name, endings) and not is_dicom(path)]
    if others:
        are = "is" if len(others) == 1 else "are"
        yield (
            f"{base.name} is read as DICOM: {counted(len(others), 'image')} of other kinds {are} left out, such as "
            f"{others[0].relative_to(base).as_posix()}. Give predict their folder by itself."
        )


def _rest(case: RawCase) -> tuple[Any, ...]:
    return case.patient, case.series, case.label, case.mask, case.site, case.metadata, case.problem, case.notes


def _headers(paths: Sequence[Path], base: Path, progress: ProgressMaker) -> tuple[list[Header], dict[Path, str]]:
    """The headers of images, and the reason for each folder with a file that cannot be read."""
    headers: list[Header] = []
    broken: dict[Path, str] = {}
    with progress(len(paths), f"Reading headers of {base.name}", "files") as advance:
        for path in paths:
            try:
                if not is_dicom(path):
                    if is_image(path.name, DICOM):
                        raise DataError(f"{path} is empty or broken off: it is no DICOM file.")
                elif (header := read_header(path)) is not None and header.modality not in _NOT_IMAGES:
                    headers.append(header)
            except DataError as error:
                broken.setdefault(path.parent, f"{error} Was the copy interrupted? Copy the study again.")
            advance(1)
    return headers, broken


def _case(study: str, located: Sequence[tuple[str, list[Header]]], broken: Mapping[Path, str]) -> RawCase:
    headers = [header for _, series in located for header in series]
    patients = {header.patient for header in headers}
    ordered = sorted(located, key=lambda item: (item[1][0].number, item[1][0].series, item[1][0].instance))
    first = ordered[0][1][0]
    problem = next((broken[header.path.parent] for header in headers if header.path.parent in broken), "")
    if len(patients) > 1:
        problem = (
            f"Its files are of {counted(len(patients), 'patient')}, by their PatientID, though they share a "
            "StudyInstanceUID. Give every patient's files to predict by themselves."
        )
    series = () if problem else _all_series(ordered)
    metadata, doubts = study_metadata([header for _, files in ordered for header in files])
    return RawCase(study, first.patient, series, metadata=metadata, problem=problem, notes=tuple(doubts))


def _all_series(ordered: Sequence[tuple[str, list[Header]]]) -> tuple[Series, ...]:
    series = [_series(location, files) for location, files in ordered]
    names = unique(each.name for each in series)
    files = dict(zip(names, (files for _, files in ordered), strict=True))
    cut = {each.name: str(each).rstrip(".") for each in cut_series(files)}
    return tuple(replace(each, warning=cut.get(name, "")) for name, each in zip(names, series, strict=True))


def _series(location: str, files: Sequence[Header]) -> Series:
    first = files[0]
    named = slug(f"{first.modality} {first.view}") if first.is_radiograph and first.view else slug(first.description)
    name = named or slug(f"{first.modality}-{first.number}")
    return Series(name, Location.parse(location), header_kind(first.path), len(files))


def header_kind(path: Path) -> str | None:
    """The kind of image that a DICOM header means (see `sequence_kind`), from its contrast agent, times and type."""
    try:
        data = dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
    except Exception:  # pydicom raises many types; the header was read before, so this file is gone or changed
        return None
    modality = str(data.get("Modality") or "")
    if modality != _MAGNETIC:
        return {"CT": "ct", "CR": "xray", "DX": "xray", "MG": "xray", "PT": "pet"}.get(modality)
    kind = _weighting(data)
    return "t1c" if kind == "t1" and str(data.get("ContrastBolusAgent") or "").strip() else kind


def _weighting(data: Any) -> str | None:
    types = " ".join(map(str, data.get("ImageType") or ()))
    for text in (types, str(data.get("ProtocolName") or ""), str(data.get("SequenceName") or "")):
        if (kind := sequence_kind(text)) in ("adc", "dwi", "flair", "t1", "t1c", "t2"):
            return "t1" if kind == "t1c" else kind
    echo, repetition, inversion = (_number(data.get(name)) for name in ("EchoTime", "RepetitionTime", "InversionTime"))
    if inversion > _LONG_INVERSION_MS and echo > _LONG_ECHO_MS:
        return "flair"
    if 0 < repetition < _SHORT_REPETITION_MS and 0 < echo < _LONG_ECHO_MS:
        return "t1"
    return "t2" if repetition > _SHORT_REPETITION_MS and echo > _LONG_ECHO_MS and inversion <= 0 else None


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0
