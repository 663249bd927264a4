"""The patient and study of DICOM files whose identifying fields an anonymiser has emptied."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from radapt.cohorts.layouts.dicom.headers import Header, pseudonym
from radapt.errors import counted


def identified(headers: Sequence[Header], root: Path, notes: list[str]) -> list[Header]:
    """The headers, all with a patient and a study.

    A file without a study belongs to that of its folder; a radiograph has its own. A file without a patient belongs to
    that of its study; without both, to that of its folder, unless all such files lie in one folder: then every
    radiograph counts as a patient. Notes say how often this is assumed.
    """
    owners: dict[str, set[str]] = defaultdict(set)
    for header in headers:
        owners[header.study].add(header.patient)
    without_study = [header for header in headers if not header.study]
    anonymous = [header for header in without_study if not header.patient]
    by_folder = len({header.path.parent for header in anonymous}) > 1
    if without_study:
        what = "each folder of a patient counts as a study, and so does each radiograph"
        notes.append(f"{counted(len(without_study), 'DICOM file')} without a StudyInstanceUID: {what}.")
    if anonymous:
        what = "folder counts as a patient" if by_folder else "radiograph counts as a patient, and so does the rest"
        notes.append(f"{counted(len(anonymous), 'DICOM file')} without a patient: each {what}.")
    return [_completed(header, root, owners[header.study] - {""}, by_folder) for header in headers]


def _completed(header: Header, root: Path, owners: set[str], by_folder: bool) -> Header:
    path = header.path.relative_to(root)
    folder = path.parent.as_posix()
    file = path.as_posix() if header.is_radiograph else folder
    patient = header.patient
    if not patient and header.study:
        patient = next(iter(owners)) if len(owners) == 1 else header.owner
    patient = patient or f"p-{pseudonym(folder if by_folder else file)}"
    study = header.study or f"s-{pseudonym(f'{patient}/{file}')}"
    return replace(header, patient=patient, study=study)
