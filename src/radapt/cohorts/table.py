"""cohort.yaml + its table of cases → Cohort, read strictly: everything that is wrong is said at once."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from radapt.cohorts import checks
from radapt.cohorts.cohort import Case, Cohort
from radapt.cohorts.columns import Columns, patient_like, sort_columns
from radapt.cohorts.config import CohortFile, read_config
from radapt.cohorts.labels import Labels, label_array, parse_classes, parse_finding
from radapt.cohorts.places import Places
from radapt.cohorts.problem import Problem, Severity, raise_errors
from radapt.cohorts.sheet import Sheet, read_sheet
from radapt.cohorts.splits import draw_splits, read_recorded, recorded_path, write_recorded
from radapt.errors import DataError
from radapt.locations import Location


def load_cohort(path: Path | str) -> Cohort:
    """Read a cohort.yaml and its table.

    Cases without a split word get one, drawn by patient from the seed in cohort.yaml (`split: {seed, val,
    test}`, default 0, 0.15, 0.2) and written to `<stem>.splits.csv` beside it, which the next load honours.

    Raises UsageError if cohort.yaml itself is wrong, and DataError listing all problems of the table.
    """
    path = Path(path)
    reading = _Reading(read_config(path))
    cohort = reading.read()
    raise_errors(reading.problems, f"Cohort {path}")
    if cohort is None:  # raise_errors has raised; told to the type checker
        raise DataError(f"Cohort {path} cannot be read.")
    if cohort.split_seed is not None:
        drawn = [(case.case, case.patient, case.split) for case in cohort if case.row in reading.drawn_rows]
        write_recorded(recorded_path(path), drawn, cohort.split_seed)
    return cohort


def read_cohort(path: Path | str) -> tuple[Cohort | None, list[Problem]]:
    """Read a cohort.yaml and its table without raising for the table's problems, and without writing
    anything.

    The cohort holds what could be read in spite of the problems (rows without a case id are left out, missing
    images and wrong labels are empty), so that the images of the others can still be looked at; None if not
    even that. Raises UsageError if cohort.yaml itself is wrong.
    """
    reading = _Reading(read_config(Path(path)))
    return reading.read(), reading.problems


class _Reading:
    """One pass over a table that collects problems on the way."""

    def __init__(self, config: CohortFile) -> None:
        self.config = config
        self.file = config.cases.name
        self.problems: list[Problem] = []
        self.drawn_rows: frozenset[int] = frozenset()

    def read(self) -> Cohort | None:
        if self.config.kind is None:
            fix = "Add 'kind: xray', ct, mri or other; 'other' is used meanwhile."
            self._say(
                "warning", "no-kind", "cohort.yaml does not say what kind of images these are.", fix=fix
            )
        sheet, problems = read_sheet(self.config.cases)
        self.problems += problems
        if sheet is None:
            return None
        columns, problems = sort_columns(list(sheet.columns), self.file)
        self.problems += problems
        if "case" not in columns.has or not columns.images or not len(sheet):
            return None
        return self._cohort(sheet, columns)

    def _cohort(self, sheet: Sheet, columns: Columns) -> Cohort | None:
        self.rows = sheet.rows
        self.ids = [text.strip() for text in sheet.columns["case"]]
        self._check_ids()
        patients = self._patients(sheet, columns)
        classes, findings = self._labels(sheet, columns)
        labels = label_array(classes, findings, len(sheet))
        words, seed = self._splits(sheet, labels, patients)
        images = {
            name: self._locations(sheet.columns[column], name) for name, column in columns.images.items()
        }
        masks = (
            self._locations(sheet.columns["mask"], "mask") if "mask" in columns.has else [None] * len(sheet)
        )
        sites = [text.strip() or None for text in sheet.columns.get("site", [""] * len(sheet))]
        cases = []
        for at, name in enumerate(self.ids):
            present = {modality: found[at] for modality, found in images.items() if found[at] is not None}
            if name:
                cases.append(
                    Case(
                        case=name,
                        patient=patients[at],
                        split=words[at],
                        images={modality: location for modality, location in present.items() if location},
                        site=sites[at],
                        mask=masks[at],
                        label=classes.values[at] if classes else None,
                        findings=tuple(finding.values[at] for finding in findings.values()),
                        metadata={column: sheet.columns[column][at] for column in columns.metadata},
                        row=self.rows[at],
                    )
                )
        self._check_present(sheet, columns)
        cohort = Cohort(
            name=self.config.name,
            kind=self.config.kind or "other",
            cases=tuple(cases),
            modalities=tuple(columns.images),
            classes=classes.classes if classes else (),
            findings=tuple(findings),
            ordered=self.config.ordered,
            mask_labels=self.config.mask_labels,
            source=self.config.source,
            path=self.config.path.absolute(),
            split_seed=seed,
        )
        return self._checked(cohort, classes)

    def _checked(self, cohort: Cohort, classes: Labels | None) -> Cohort:
        if classes and not self.config.classes and len(classes.classes) == 1:
            message = f"Every label is {classes.classes[0]!r}; a classification needs two classes or more."
            self._say("error", "one-class", message, fix="Correct the labels, or empty the column.")
            return replace(cohort, classes=())
        self.problems += checks.enough_of_every_class(cohort, self.file)
        self.problems += checks.shared_images(cohort.cases, self.file)
        return cohort

    def _check_ids(self) -> None:
        first: dict[str, int] = {}
        for at, name in enumerate(self.ids):
            if not name:
                fix = "Give every row a unique case, or delete the row."
                self._say("error", "empty-case", "The case is empty.", at, fix)
            elif first.setdefault(name, at) != at:
                message = f"Case {name!r} is also in row {self.rows[first[name]]}."
                self._say("error", "duplicate-case", message, at, "Give every row its own case.")

    def _patients(self, sheet: Sheet, columns: Columns) -> list[str]:
        if column := patient_like(columns):
            message = f"Column {column!r} looks like the patient but is metadata; every case counts as one."
            fix = "Rename it to 'patient', so that splits and intervals go by patient."
            self._say("warning", "patient-column", message, fix=fix)
        given = sheet.columns.get("patient", [""] * len(sheet))
        return [text.strip() or name for text, name in zip(given, self.ids, strict=True)]

    def _labels(self, sheet: Sheet, columns: Columns) -> tuple[Labels | None, dict[str, Labels]]:
        """Class labels or findings, whichever the table has."""
        classes: Labels | None = None
        named = self.config.classes
        if "label" in columns.has:
            classes = parse_classes(sheet.columns["label"], named)
            self._say_wrong(classes)
        elif named and not columns.findings:
            classes = Labels(named, [None] * len(sheet), {})
        findings: dict[str, Labels] = {}
        if classes is None:
            names = list(columns.findings)
            if named and set(named) != set(names):
                message = (
                    f"cohort.yaml names the classes {', '.join(named)}, the findings are {', '.join(names)}."
                )
                fix = "With several findings leave 'classes' out, or list exactly the findings."
                self._say("error", "classes-and-findings", message, fix=fix)
            elif named:
                names = list(named)
            findings = {name: parse_finding(sheet.columns[columns.findings[name]], name) for name in names}
            for finding in findings.values():
                self._say_wrong(finding)
        return (classes if classes and classes.classes else None), findings

    def _splits(self, sheet: Sheet, labels: np.ndarray, patients: list[str]) -> tuple[list[str], int | None]:
        """The split word of every row and, if any was drawn, the seed."""
        given = [text.strip() for text in sheet.columns.get("split", [""] * len(sheet))]
        for at, word in enumerate(given):
            if meant := checks.misspelt_split(word):
                self._say(
                    "error",
                    "split-word",
                    f"Split {word!r} would be one more test set.",
                    at,
                    f"Write {meant!r}.",
                )
        self.problems += checks.one_split_per_patient(patients, given, self.ids, self.rows, self.file)
        if all(given):
            return given, None
        seed = self.config.seed
        recorded, problems = read_recorded(recorded_path(self.config.path), seed)
        self.problems += problems
        rng = np.random.default_rng(seed)
        owners, words = np.asarray(patients, dtype=object), np.asarray(given, dtype=object)
        drawn = draw_splits(labels, owners, words, self.config.fractions, rng, recorded)
        self.drawn_rows = frozenset(row for row, word in zip(self.rows, given, strict=True) if not word)
        return [str(word) for word in drawn], seed

    def _locations(self, texts: list[str], column: str) -> list[Location | None]:
        places = self._places()
        found: list[Location | None] = []
        for at, text in enumerate(texts):
            location = None
            if text and not text.isspace():
                try:
                    location = places.parse(text)
                except DataError as error:
                    self._say("error", "bad-location", f"{column}: {error}", at)
                if location is not None and not places.exists(location):
                    what = "Mask" if column == "mask" else "Image"
                    message = f"{what} {text!r} does not exist."
                    self._say("error", f"missing-{what.lower()}", message, at, places.hint(location))
                    location = None
            found.append(location)
        return found

    def _places(self) -> Places:
        # The contract takes paths from the folder of the table, which is that of cohort.yaml unless `cases`
        # says other.
        return Places(self.config.cases.parent)

    def _check_present(self, sheet: Sheet, columns: Columns) -> None:
        cells = [sheet.columns[column] for column in columns.images.values()]
        for at in range(len(sheet)):
            if not any(column[at].strip() for column in cells):
                fix = "Give an image, or delete the row."
                self._say("error", "no-image", "The case has no image at all.", at, fix)

    def _say_wrong(self, labels: Labels) -> None:
        for at, (message, fix) in labels.wrong.items():
            self._say("error", "bad-label", message, at, fix)

    def _say(self, severity: Severity, code: str, message: str, at: int | None = None, fix: str = "") -> None:
        case = None if at is None else self.ids[at] or None
        row = None if at is None else self.rows[at]
        self.problems.append(Problem(severity, code, message, case, row, self.file, fix))
