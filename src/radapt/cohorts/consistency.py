"""What must hold between the cases of a cohort: one split per patient, and enough of every class."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from radapt.cohorts.cohort import Cohort
from radapt.cohorts.problem import CohortIssue, Severity

_SPLIT_WORDS = {"training": "train", "tr": "train", "valid": "val", "validation": "val", "dev": "val",
                "validate": "val", "testing": "test", "tests": "test", "ts": "test"}  # fmt: skip


def misspelt_split(word: str) -> str | None:
    """`Train` or `validation` would silently become one more test set; the word that was most likely meant."""
    plain = word.casefold()
    if plain in ("train", "val", "test"):
        return plain if plain != word else None
    return _SPLIT_WORDS.get(plain)


def one_split_per_patient(
    patients: Sequence[str], words: Sequence[str], cases: Sequence[str], rows: Sequence[int | None], file: str
) -> list[CohortIssue]:
    """An error for every patient whose given words differ, naming two of the rows, or cases that have no row."""
    first: dict[str, int] = {}
    told: set[str] = set()
    problems = []
    for at, (patient, word) in enumerate(zip(patients, words, strict=True)):
        if not word:
            continue
        other = first.setdefault(patient, at)
        if words[other] != word and patient not in told:
            told.add(patient)
            place = f"row {rows[other]}" if rows[other] else f"case {cases[other]!r}"
            message = f"Patient {patient!r} is in {words[other]!r} ({place}) and in {word!r}."
            fix = "Put all cases of a patient into one split."
            problems.append(CohortIssue("error", "patient-split", message, cases[at], rows[at], file, fix))
    return problems


def enough_of_every_class(cohort: Cohort, file: str) -> list[CohortIssue]:
    """Fewer labelled cases than classes, and splits that hold one class only.

    Train with one class is an error, since nothing can be learnt; elsewhere it is a warning, since the
    numbers that need two classes will be NaN there.
    """
    if cohort.findings:
        return _findings(cohort, file)
    if not cohort.classes:
        return []
    if len(cohort.classes) == 1:
        message = f"Every label is {cohort.classes[0]!r}; a classification needs two classes or more."
        return [_problem("error", "one-class", message, file, "Correct the labels, or empty the column.")]
    labelled = [case for case in cohort if case.label is not None]
    if not labelled:
        return [_problem("warning", "no-labels", "Classes are named, but no case has a label.", file)]
    if len(labelled) < len(cohort.classes):
        message = f"There are fewer labelled cases ({len(labelled)}) than classes ({len(cohort.classes)})."
        return [_problem("error", "too-few-cases", message, file, "Add cases, or name only the classes there are.")]
    problems = []
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for case in labelled:
        counts[case.split][cohort.classes[case.label or 0]] += 1
    absent = [name for name in cohort.classes if not any(count[name] for count in counts.values())]
    if absent:
        problems.append(_problem("warning", "absent-class", f"No case has the label {_names(absent)}.", file))
    for word in ("train", *sorted({case.split for case in cohort} - {"train"})):
        problems += _one_class(word, counts[word], cohort.classes, absent, file)
    return problems + _no_test(cohort, file)


def _no_test(cohort: Cohort, file: str) -> list[CohortIssue]:
    if any(case.split not in ("train", "val") for case in cohort):
        return []
    fix = "Give some patients the split 'test', or leave the column empty and radapt draws one."
    return [_problem("warning", "no-test", "No case is in a test set, so nothing can be judged.", file, fix)]


_ELSE = "or leave labels out to use the images alone."
_TRAIN_NEEDS = f"Train needs two classes or more: give labelled patients of each the split 'train', {_ELSE}"
_TRAIN_NEEDS_BOTH = f"Train needs both for a finding or more: give such patients the split 'train', {_ELSE}"


def _one_class(
    word: str, count: Counter[str], classes: tuple[str, ...], absent: list[str], file: str
) -> list[CohortIssue]:
    severity: Severity = "error" if word == "train" else "warning"
    if len(count) < 2:
        what = f"only cases of the class {next(iter(count))!r}" if count else "no labelled case"
        fix = _TRAIN_NEEDS if word == "train" else "Numbers that need two classes will be NaN."
        return [_problem(severity, "one-class", f"Split {word!r} holds {what}.", file, fix)]
    missing = [name for name in classes if not count[name] and name not in absent]
    if missing:
        return [_problem("warning", "missing-class", f"Split {word!r} holds no case of {_names(missing)}.", file)]
    return []


def _findings(cohort: Cohort, file: str) -> list[CohortIssue]:
    problems = []
    labels = cohort.labels
    for word in ("train", *sorted(set(cohort.splits) - {"train"})):
        rows = labels[cohort.splits == word]
        lacking = [
            name
            for at, name in enumerate(cohort.findings)
            if not ((rows[:, at] == 1).any() and (rows[:, at] == 0).any())
        ]
        if word == "train" and len(lacking) == len(cohort.findings):
            message = f"Split {word!r} holds no finding that is both present and absent."
            problems.append(_problem("error", "one-class", message, file, _TRAIN_NEEDS_BOTH))
        elif lacking:
            message = f"Split {word!r} does not hold both cases with and without {_names(lacking)}."
            fix = "Numbers that need both will be NaN there."
            problems.append(_problem("warning", "one-class", message, file, fix))
    if not np.isfinite(labels).any():
        return [_problem("warning", "no-labels", "Findings are named, but every one is unknown.", file)]
    return problems + _no_test(cohort, file)


def _names(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _problem(severity: Severity, code: str, message: str, file: str, fix: str = "") -> CohortIssue:
    return CohortIssue(severity, code, message, file=file, fix=fix)
