"""The cells of a table → case ids, patients, labels and locations, row by row, with the problems they have."""

from functools import cached_property
from pathlib import Path

import numpy as np

from radapt.cohorts.columns import Columns, patient_like
from radapt.cohorts.file_index import FileIndex
from radapt.cohorts.issue import CohortIssue, Severity
from radapt.cohorts.labels import Labels, label_array, missing_label, parse_classes, parse_finding, spelt_alike
from radapt.cohorts.patient_key import one_spelling, patient_key
from radapt.cohorts.sheets.sheet import Sheet
from radapt.errors import DataError
from radapt.locations import Location


class Rows:
    """The parsed columns of a table, each a list with one entry per row; `problems` grows as they are parsed.

    Paths are relative to the folder of the table. `named` are the classes that cohort.yaml declares, if any.
    """

    def __init__(self, sheet: Sheet, columns: Columns, named: tuple[str, ...]) -> None:
        self.sheet, self.columns, self.named = sheet, columns, named
        self.lines = sheet.rows
        self.problems: list[CohortIssue] = []
        self._names = self._plain("case")
        self._files = FileIndex(sheet.path.parent)

    def __len__(self) -> int:
        return len(self.lines)

    @cached_property
    def ids(self) -> list[str]:
        first: dict[str, int] = {}
        for at, name in enumerate(self._names):
            if not name:
                fix = "Give every row a unique case, or delete the row."
                self.say("error", "empty-case", "The case is empty.", at, fix)
            elif first.setdefault(name, at) != at:
                message = f"Case {name!r} is also in row {self.lines[first[name]]}."
                self.say("error", "duplicate-case", message, at, "Give every row its own case.")
        return self._names

    @cached_property
    def patients(self) -> list[str]:
        if column := patient_like(self.columns):
            message = f"Column {column!r} probably names the patient but is metadata; every case counts as a patient."
            fix = "Rename it to 'patient', so that splits and intervals go by patient."
            self.say("warning", "patient-column", message, fix=fix)
        patients, spellings = one_spelling(
            [text or name for text, name in zip(self._plain("patient"), self.ids, strict=True)]
        )
        if spellings:
            self._say_spellings(spellings)
        return patients

    @cached_property
    def spelling(self) -> dict[str, str]:
        """Key of each patient → the spelling that is used."""
        return {patient_key(text): text for text in self.patients}

    @cached_property
    def without_patient(self) -> int:
        """The number of rows whose patient is not given, so that the image counts as one."""
        return sum(not text for text in self._plain("patient"))

    def _say_spellings(self, spellings: dict[str, list[str]]) -> None:
        first, others = next(iter(spellings.items()))
        count = f"{len(spellings)} patients are" if len(spellings) > 1 else "1 patient is"
        message = (
            f"{count} written in several ways, such as {first!r} and {others[0]!r}, and each counts as one: ids that "
            "differ only in letter case, blanks, leading zeros, '.0' or Unicode form are the same patient."
        )
        fix = "Write each patient in one way; if they are two patients, give them ids that differ in more."
        self.say("warning", "patient-spelling", message, fix=fix)

    @cached_property
    def sites(self) -> list[str | None]:
        return [text or None for text in self._plain("site")]

    @cached_property
    def given_splits(self) -> list[str]:
        return self._plain("split")

    @cached_property
    def labels(self) -> Labels | None:
        """Class labels; None in a table with findings or without labels."""
        if "label" in self.columns.has:
            labels = parse_classes(self.sheet.columns["label"], self.named)
            self._say_wrong(labels)
            return labels if labels.classes else None
        if self.named and not self.columns.findings:
            return Labels(self.named, [None] * len(self), {})
        return None

    @cached_property
    def findings(self) -> dict[str, Labels]:
        names = list(self.columns.findings)
        if "label" in self.columns.has or not names:
            return {}
        if self.named and set(self.named) != set(names):
            message = f"cohort.yaml declares the classes {', '.join(self.named)}; findings are {', '.join(names)}."
            fix = "With several findings leave 'classes' out, or list exactly the findings."
            self.say("error", "classes-and-findings", message, fix=fix)
        elif self.named:
            names = list(self.named)
        columns = {name: self.sheet.columns[self.columns.findings[name]] for name in names}
        findings = {name: parse_finding(texts, name) for name, texts in columns.items()}
        for finding in findings.values():
            self._say_wrong(finding)
        return findings

    @cached_property
    def label_array(self) -> np.ndarray:
        """(N,) class index with -1 unlabelled, or (N, F) with NaN unknown."""
        return label_array(self.labels, self.findings, len(self))

    @cached_property
    def images(self) -> dict[str, list[Location | None]]:
        """The locations of every modality; None where the cell is empty or the file does not exist."""
        cells = {name: self.sheet.columns[column] for name, column in self.columns.images.items()}
        for at in range(len(self)):
            if not any(column[at].strip() for column in cells.values()):
                fix = "Give an image, or delete the row."
                self.say("error", "no-image", "The case has no image.", at, fix)
        self._check_shared(cells)
        return {name: self._locations(texts, "Image") for name, texts in cells.items()}

    @cached_property
    def masks(self) -> list[Location | None]:
        if "mask" not in self.columns.has:
            return [None] * len(self)
        return self._locations(self.sheet.columns["mask"], "Mask")

    def say(
        self,
        severity: Severity,
        code: str,
        message: str,
        at: int | None = None,
        fix: str = "",
    ) -> None:
        """Record a problem of the row at position `at`, or of the whole table."""
        name = None if at is None else self._names[at] or None
        line = None if at is None else self.lines[at]
        self.problems.append(CohortIssue(severity, code, message, name, line, self.sheet.path.name, fix))

    def _plain(self, column: str) -> list[str]:
        return [text.strip() for text in self.sheet.columns.get(column, [""] * len(self))]

    def _locations(self, texts: list[str], what: str) -> list[Location | None]:
        return [self._location(at, text, what) if text.strip() else None for at, text in enumerate(texts)]

    def _location(self, at: int, text: str, what: str) -> Location | None:
        try:
            location = self._files.parse(text)
        except DataError as error:
            self.say("error", "bad-location", str(error), at)
            return None
        if self._files.exists(location):
            return location
        if text != text.strip():  # blanks around a comma are not part of the name, unless such a file exists
            return self._location(at, text.strip(), what)
        if not text.isascii() and (same := self._files.in_other_unicode(location)):
            return same
        hint = self._files.hint(location)
        self.say("error", f"missing-{what.lower()}", f"{what} {text!r} does not exist.", at, hint)
        return None

    def _check_shared(self, cells: dict[str, list[str]]) -> None:
        first: dict[str, int] = {}
        for texts in cells.values():
            for at, text in enumerate(texts):
                if text.strip() and (other := first.setdefault(text, at)) != at:
                    apart = self._label_apart(at, other)
                    message = f"Its image {Path(text).name} is also that of row {self.lines[other]}{apart}."
                    fix = "List every image once, or it may be in the training and the test set."
                    self.say("warning", "shared-image", message, at, fix)

    def _label_apart(self, at: int, other: int) -> str:
        """That two rows of one image have different labels; '' if they have not."""
        labels = self.labels
        if labels is None or labels.values[at] == labels.values[other]:
            return ""
        own, first = (
            labels.classes[value] if (value := labels.values[row]) is not None else "none" for row in (at, other)
        )
        return f", but its label is {own!r} and that one's {first!r}"

    def _say_wrong(self, labels: Labels) -> None:
        for at, (message, fix) in labels.wrong.items():
            self.say("error", "bad-label", message, at, fix)
        if labels.missing:
            message, fix = missing_label(labels.missing)
            self.say("warning", "missing-label", message, fix=fix)
        for names in spelt_alike(labels.classes):
            message = f"The classes {' and '.join(map(repr, names))} differ only in letter case or blanks."
            fix = "Write the label in one way, or declare both under 'classes' in cohort.yaml if they are two classes."
            if not set(names) <= set(self.named):
                self.say("error", "class-spelling", message, fix=fix)
