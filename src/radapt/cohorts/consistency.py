"""Checks across the cases of a cohort: one split per patient, and enough cases of every class."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from radapt.cohorts.cohort import Case, Cohort
from radapt.cohorts.issue import CohortIssue, Severity

_SPLIT_WORDS = {"training": "train", "tr": "train", "valid": "val", "validation": "val", "dev": "val",
                "validate": "val", "validierung": "val", "testing": "test", "tests": "test", "ts": "test",
                "training set": "train", "train set": "train", "validation set": "val", "test set": "test"}  # fmt: skip


def misspelt_split(split: str) -> str | None:
    """The usual split that a name such as `validation` means, which would become a test set; else None."""
    plain = split.casefold()
    if plain in ("train", "val", "test"):
        return plain if plain != split else None
    return _SPLIT_WORDS.get(plain)


def one_split_per_patient(
    patients: Sequence[str], splits: Sequence[str], cases: Sequence[str], rows: Sequence[int | None], file: str
) -> list[CohortIssue]:
    """An error for every patient in two splits that names two of the rows (or cases, without rows)."""
    first: dict[str, int] = {}
    reported: set[str] = set()
    problems = []
    for at, (patient, split) in enumerate(zip(patients, splits, strict=True)):
        if not split:
            continue
        other = first.setdefault(patient, at)
        if splits[other] != split and patient not in reported:
            reported.add(patient)
            where = f"row {rows[other]}" if rows[other] else f"case {cases[other]!r}"
            message = f"Patient {patient!r} is in {splits[other]!r} ({where}) and in {split!r}."
            fix = "Put all cases of a patient into one split."
            problems.append(CohortIssue("error", "patient-split", message, cases[at], rows[at], file, fix))
    return problems


def one_patient_per_file(cohort: Cohort, file: str) -> list[CohortIssue]:
    """A warning for every file that is an image of two patients, by whatever path or link; the first is named.

    A study refuses equal images across splits, unless it has `duplicates: allow`.
    """
    owners: dict[tuple[int, int, str | None, int | None], Case] = {}
    problems = []
    for case in cohort:
        for location in case.images.values():
            try:
                found = location.path.stat()
            except (OSError, ValueError):
                continue  # said elsewhere
            owner = owners.setdefault((found.st_dev, found.st_ino, location.array, location.index), case)
            if owner.patient != case.patient:
                splits = f"{owner.split} and {case.split}" if owner.split != case.split else f"both in {case.split}"
                message = f"{location} is an image of patient {owner.patient!r} (case {owner.case!r}) too, in {splits}."
                fix = "Give both cases one patient, or each its own image."
                problems.append(CohortIssue("warning", "same-file", message, case.case, case.row, file, fix))
    return problems


def enough_of_every_class(cohort: Cohort, file: str) -> list[CohortIssue]:
    """Issues about too few labelled cases, and splits with a single class.

    A single class in train is an error, because nothing can be learnt; in other splits it is a warning, because metrics
    that need two classes are NaN there.
    """
    if cohort.findings:
        return _findings(cohort, file)
    if not cohort.classes:
        return []
    if len(cohort.classes) == 1:
        message = f"Every label is {cohort.classes[0]!r}; classification needs two classes or more."
        return [_problem("error", "one-class", message, file, "Correct the labels, or empty the column.")]
    labelled = [case for case in cohort if case.label is not None]
    if not labelled:
        return [_problem("warning", "no-labels", "Classes are declared, but no case has a label.", file)]
    if len(labelled) < len(cohort.classes):
        message = f"There are fewer labelled cases ({len(labelled)}) than classes ({len(cohort.classes)})."
        return [_problem("error", "too-few-cases", message, file, "Add cases, or declare only the classes that occur.")]
    problems = []
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for case in labelled:
        counts[case.split][cohort.classes[case.label or 0]] += 1
    absent = [name for name in cohort.classes if not any(count[name] for count in counts.values())]
    if absent:
        problems.append(_problem("warning", "absent-class", f"No case has the label {_names(absent)}.", file))
    for split in ("train", *sorted({case.split for case in cohort} - {"train"})):
        problems += _one_class(split, counts[split], cohort.classes, absent, file)
    patients: dict[str, set[str]] = defaultdict(set)
    for case in labelled:
        patients[cohort.classes[case.label or 0]].add(case.patient)
    if alone := [name for name in cohort.classes if len(patients[name]) == 1]:
        more = f" (and {len(alone) - _NAMED} more)" if len(alone) > _NAMED else ""
        who = "patient" if cohort.patients_known else "image"
        message = f"{_names(alone[:_NAMED])}{more}: one {who} alone, which cannot be both learned from and tested."
        fix = "Join rare classes, or leave these cases unlabelled."
        problems.append(_problem("warning", "one-patient-class", message, file, fix))
    return problems + _no_test(cohort, file)


def _no_test(cohort: Cohort, file: str) -> list[CohortIssue]:
    if any(case.split not in ("train", "val") for case in cohort):
        return []
    if len(cohort) > 1 and len(set(cohort.patients)) == 1:
        message = f"All {len(cohort)} cases are of one patient, {cohort.patients[0]!r}, so there is no test set."
        fix = "Did an anonymiser give everybody one id? Give each patient their own, or empty the column 'patient'."
        return [_problem("warning", "one-patient", message, file, fix)]
    fix = "Give some patients the split 'test', or leave the column empty to have radapt draw one."
    return [_problem("warning", "no-test", "No case is in a test set, so nothing can be evaluated.", file, fix)]


_NAMED = 4
_ELSE = "or leave out the labels to use the images alone."
_TRAIN_NEEDS = f"Train needs two classes or more: give labelled patients of each the split 'train', {_ELSE}"
_TRAIN_NEEDS_BOTH = f"Train needs positive and negative cases of a finding: put such patients in 'train', {_ELSE}"


def _one_class(
    split: str, count: Counter[str], classes: tuple[str, ...], absent: list[str], file: str
) -> list[CohortIssue]:
    severity: Severity = "error" if split == "train" else "warning"
    if len(count) < 2:
        what = f"only cases of the class {next(iter(count))!r}" if count else "no labelled case"
        fix = _TRAIN_NEEDS if split == "train" else "Metrics that need two classes will be NaN."
        return [_problem(severity, "one-class", f"Split {split!r} holds {what}.", file, fix)]
    missing = [name for name in classes if not count[name] and name not in absent]
    if missing:
        return [_problem("warning", "missing-class", f"Split {split!r} holds no case of {_names(missing)}.", file)]
    return []


def _findings(cohort: Cohort, file: str) -> list[CohortIssue]:
    problems = []
    labels = cohort.labels
    for split in ("train", *sorted(set(cohort.splits) - {"train"})):
        rows = labels[cohort.splits == split]
        lacking = [
            name
            for at, name in enumerate(cohort.findings)
            if not ((rows[:, at] == 1).any() and (rows[:, at] == 0).any())
        ]
        if split == "train" and len(lacking) == len(cohort.findings):
            message = f"Split {split!r} holds no finding that is both present and absent."
            problems.append(_problem("error", "one-class", message, file, _TRAIN_NEEDS_BOTH))
        elif lacking:
            message = f"Split {split!r} lacks cases with or without {_names(lacking)}."
            fix = "Metrics that need both will be NaN there."
            problems.append(_problem("warning", "one-class", message, file, fix))
    if not np.isfinite(labels).any():
        return [_problem("warning", "no-labels", "Findings are declared, but all values are unknown.", file)]
    return problems + _no_test(cohort, file)


def _names(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _problem(severity: Severity, code: str, message: str, file: str, fix: str = "") -> CohortIssue:
    return CohortIssue(severity, code, message, file=file, fix=fix)
