"""The fold of every row of a table, by the rule that cohort.yaml gives, with the problems it has."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radapt.cohorts.cohort_file import CohortFile
from radapt.cohorts.fold_rule import FoldRule
from radapt.cohorts.folds import draw_folds, fold_order, folds_path
from radapt.cohorts.issue import CohortIssue, Severity
from radapt.cohorts.rows import Rows
from radapt.cohorts.splits import FOLD, read_recorded
from radapt.errors import counted, suggest
from radapt.parsing.json import read_json


@dataclass(frozen=True)
class RowFolds:
    """The fold of every row, '' where it is always trained on."""

    of_rows: list[str]
    problems: list[CohortIssue]


def read_folds(config: CohortFile, rule: FoldRule, rows: Rows) -> RowFolds:
    """Folds of the rows. A patient is tested if any of its cases has a label or a mask; the others are trained on only.

    The column `split` is set aside, which one of the problems, a warning, says.
    """
    reading = _FoldReading(config, rule, rows)
    folds = reading.folds()
    reading.check(folds)
    return RowFolds(folds, reading.problems)


class _FoldReading:
    """Reads the folds of one table and collects problems."""

    def __init__(self, config: CohortFile, rule: FoldRule, rows: Rows) -> None:
        self.config, self.rule, self.rows = config, rule, rows
        self.problems: list[CohortIssue] = []
        labels = rows.label_array
        known = labels >= 0 if labels.ndim == 1 else np.isfinite(labels).any(axis=1)
        answered = known | np.asarray([mask is not None for mask in rows.masks], dtype=bool)
        patients = {patient for patient, able in zip(rows.patients, answered, strict=True) if able}
        self.tested = np.asarray([patient in patients for patient in rows.patients], dtype=bool)

    def folds(self) -> list[str]:
        if any(self.rows.given_splits):
            message = "The column 'split' is set aside: with folds every labelled patient is tested once."
            self._say("warning", "split-set-aside", message, fix="Remove the column, or 'split' from the cohort file.")
        if self.rule.count is not None:
            return self._drawn(self.rule.count)
        if self.rule.by_site:
            return self._by_site()
        return self._from_column() if self.rule.column is not None else self._from_file()

    def check(self, folds: list[str]) -> None:
        """Every patient in one fold, and at least two folds with something to test."""
        first: dict[str, int] = {}
        for at, (patient, fold) in enumerate(zip(self.rows.patients, folds, strict=True)):
            other = first.setdefault(patient, at) if fold else at
            if folds[other] != fold:
                where = f"row {self.rows.lines[other]}"
                message = f"Patient {patient!r} is in fold {folds[other]!r} ({where}) and in fold {fold!r}."
                self._say("error", "patient-fold", message, at, "Put all cases of a patient into one fold.")
        if any(problem.severity == "error" for problem in self.problems):
            return
        names = fold_order([fold for fold, able in zip(folds, self.tested, strict=True) if fold and able])
        if not self.tested.any():
            fix = "Add labels or masks, or remove 'split' from the cohort file."
            self._say("error", "no-folds", "Folds test labelled patients, and no case has a label or a mask.", fix=fix)
        elif len(names) < 2:
            what = f"only fold {names[0]!r}" if names else "no fold"
            message = f"{what.capitalize()} has a patient to test, so that none is left to train on."
            self._say("error", "one-fold", message, fix="Folds need labelled patients in two of them or more.")

    def _drawn(self, count: int) -> list[str]:
        patients = {patient for patient, able in zip(self.rows.patients, self.tested, strict=True) if able}
        if count > len(patients) > 0:
            message = f"There are more folds ({count}) than labelled patients ({len(patients)})."
            self._say("error", "too-many-folds", message, fix=f"Give at most {len(patients)} folds.")
            return [""] * len(self.rows)
        recorded, more = read_recorded(folds_path(self.config.path), self.rule.seed, FOLD)
        self.problems += more
        if recorded and set(recorded.values()) != {str(number) for number in range(count)}:
            message = f"The recorded folds are not {count}; they are drawn again."
            self._say("warning", "folds-redrawn", message)
            recorded = {}
        drawn = draw_folds(
            self.rows.label_array, np.asarray(self.rows.patients, dtype=object), self.tested, count,
            np.random.default_rng(self.rule.seed), recorded,
        )  # fmt: skip
        return [str(fold) for fold in drawn]

    def _by_site(self) -> list[str]:
        sites = self.rows.sites
        known = sorted({site for site in sites if site is not None})
        if not known:
            fix = "Add the column 'site', or give {folds: 5}."
            self._say("error", "no-sites", "'split: {by: site}' needs sites, and no case has one.", fix=fix)
            return [""] * len(sites)
        for joining, joined in self.rule.merge.items():
            for site in (joining, joined):
                if site not in known:
                    message = f"'merge: {{{joining}: {joined}}}' names the site {site!r}, which no case has."
                    self._say("error", "merge-site", message, fix=suggest(site, known))
            if joined in self.rule.merge:
                message = f"'merge' joins {joining!r} to {joined!r}, which itself joins {self.rule.merge[joined]!r}."
                self._say("error", "merge-site", message, fix="Join each site to one that has a fold of its own.")
        self._refuse_gaps([site or "" for site in sites], "site")
        return [self.rule.merge.get(site, site) if site is not None else "" for site in sites]

    def _from_column(self) -> list[str]:
        name = self.rule.column or ""
        columns = self.rows.sheet.columns
        if name not in columns:
            message = f"'split: {{folds_column: {name}}}' names a column that the table lacks."
            self._say("error", "folds-column", message, fix=suggest(name, list(columns)))
            return [""] * len(self.rows)
        folds = [text.strip() for text in columns[name]]
        self._refuse_gaps(folds, f"value in column {name!r}")
        return folds

    def _from_file(self) -> list[str]:
        name = self.rule.file or ""
        try:
            held_out = _held_out_cases(self.config.path.parent / name)
        except (OSError, ValueError) as error:
            message = f"The folds file {name} cannot be used: {error}."
            fix = "Expected a JSON list with {train: [cases], val: [cases]} per fold, as nnU-Net's splits_final.json."
            self._say("error", "folds-file", message, fix=fix)
            return [""] * len(self.rows)
        uses = Counter(case for cases in held_out for case in cases)
        folds = {case: str(number) for number, cases in enumerate(held_out) for case in cases}
        for at, case in enumerate(self.rows.ids):
            if uses[case] > 1:
                message = f"The case is in 'val' of {uses[case]} folds of {name}."
                self._say("error", "patient-fold", message, at, "Every case is tested once.")
        strange = sorted(set(folds) - set(self.rows.ids))
        if strange:
            message = f"{name} names {counted(len(strange), 'case')} that the table lacks, such as {strange[0]!r}."
            self._say("warning", "folds-file", message, fix=suggest(strange[0], self.rows.ids[:20]))
        found = [folds.get(case, "") for case in self.rows.ids]
        self._refuse_gaps(found, f"fold in {name}")
        return found

    def _refuse_gaps(self, folds: list[str], what: str) -> None:
        for at, fold in enumerate(folds):
            if not fold and self.tested[at]:
                message = f"The case has a label or a mask but no {what}, so it is in no fold."
                self._say("error", "fold-gap", message, at, "Fill it in, or empty the label and mask to train only.")

    def _say(self, severity: Severity, code: str, message: str, at: int | None = None, fix: str = "") -> None:
        case, line = (None, None) if at is None else (self.rows.ids[at] or None, self.rows.lines[at])
        file = self.rows.sheet.path.name
        self.problems.append(CohortIssue(severity, code, message, case, line, file, fix))


def _held_out_cases(path: Path) -> list[list[str]]:
    """The cases that each fold of nnU-Net's `splits_final.json` holds out."""
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(fold, dict) and "val" in fold for fold in content):
        raise ValueError("it holds something else")
    return [[str(case) for case in fold["val"]] for fold in content]
