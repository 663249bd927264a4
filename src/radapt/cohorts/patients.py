"""The patients of a draft: from a column, the layout or --patient-regex, or unknown, with who probably is one."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from radapt.cohorts.draft import CohortDraft, ScanOptions
from radapt.cohorts.patient_key import one_spelling
from radapt.cohorts.patient_state import UNKNOWN, path_name, propose
from radapt.errors import DataError, UsageError, counted


def name_patients(draft: CohortDraft, options: ScanOptions, root: Path | None = None) -> None:
    """Fill the column `patient`: the case where no patient is given, which is counted and noted."""
    table = draft.table
    names = _names(draft, root)
    if options.patient_regex:
        patients_by_regex(draft, options.patient_regex, root)
    given = table["patient"].fillna("").str.strip() if "patient" in table else pd.Series([""] * len(table), table.index)
    draft.patients_unknown = int((given == "").sum())
    patients, spellings = one_spelling(list(given.where(given != "", table["case"])))
    table["patient"] = pd.Series(patients, table.index, dtype=object)
    if spellings:
        first, others = next(iter(spellings.items()))
        draft.notes.append(
            f"{counted(len(spellings), 'patient')} written in several ways, such as {first!r} and {others[0]!r}, count "
            "as one each: ids that differ only in letter case, blanks, leading zeros or '.0' are the same patient."
        )
    if draft.patients_unknown:
        _unknown(draft, names)
    elif len(table) > 1 and len(set(patients)) == 1:
        draft.notes.append(
            f"All {len(table)} cases are of one patient, {patients[0]!r}. An anonymiser may have given everybody the "
            "same id; then name another column with --patient, or a pattern with --patient-regex."
        )
    elif draft.layout == "patients" and not options.patient_regex:
        _visits(draft, names)


def patients_by_regex(draft: CohortDraft, pattern: str, root: Path | None) -> None:
    """Fill the column `patient` with what the pattern finds in the names of files."""
    draft.table["patient"] = _by_pattern(pattern, list(draft.table["case"]), _names(draft, root))


def _names(draft: CohortDraft, root: Path | None) -> list[str]:
    base = None if root is None else os.path.realpath(root if root.is_dir() else root.parent)
    return [_inside(text, root, base) for text in draft.first_images]


def _unknown(draft: CohortDraft, names: Sequence[str]) -> None:
    missing, total = draft.patients_unknown, len(draft.table)
    some = "" if missing == total else f" {missing} of {counted(total, 'case')} have no patient."
    proposal = propose(names) if missing == total else None
    draft.proposal = proposal.pattern if proposal else ""
    advice = proposal.sentence(names) if proposal else "Name them with --patient-regex, or in a column 'patient'."
    draft.notes.append(f"{UNKNOWN}{some} {advice}")
    draft.source = {**draft.source, "patients": "unknown: splits and intervals count images"}


def _of_patient(name: str, patient: str) -> str:
    """A path without the folders inside that of the patient, which hold sequences or visits."""
    parts = name.split("/")
    at = parts.index(patient) if patient in parts[:-1] else len(parts) - 2
    return "/".join([*parts[: at + 1], parts[-1]])


def _visits(draft: CohortDraft, names: Sequence[str]) -> None:
    """Propose that folders whose names differ only in a date, a visit or a letter are of one patient."""
    patients = draft.table["patient"]
    names = [_of_patient(name, patient) for name, patient in zip(names, patients, strict=True)]
    proposal = propose(names, folders=True)
    if proposal and proposal.n_patients < patients.nunique():
        draft.proposal = proposal.pattern
        draft.notes.append(f"Folders are perhaps visits. {proposal.sentence(names)}")


def _inside(location: str, root: Path | None, base: str | None) -> str:
    """The path of an image inside the source, `base` without links, without ending; the whole path outside of it."""
    head, tail = os.path.split(location.partition("::")[0])
    path = f"{head}/{tail}" if head else tail
    if base and path.startswith((base + os.sep, str(root) + os.sep)):
        path = os.path.relpath(path, base)
    return path_name(path)


def _by_pattern(text: str, cases: Sequence[str], names: Sequence[str]) -> list[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"--patient-regex {text!r} is not a regular expression: {error}.") from error
    stems = [name.rpartition("/")[2] for name in names]
    if "/" not in text and all(_patient(pattern, stem) for stem in stems):
        names = stems
    patients = []
    for case, name in zip(cases, names, strict=True):
        patient = _patient(pattern, name)
        if not patient:
            raise DataError(f"Case {case!r}: --patient-regex {text!r} finds no patient in {name!r}.")
        patients.append(patient)
    return patients


def _patient(pattern: re.Pattern[str], name: str) -> str:
    match = pattern.search(name)
    return ((match.group(1) if match.re.groups else match.group(0)) or "") if match else ""
