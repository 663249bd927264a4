"""cohort.yaml and its table of cases → Cohort, read strictly: all problems are reported at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from radapt.cohorts import consistency as checks
from radapt.cohorts.cohort import KINDS, Case, Cohort, Kind
from radapt.cohorts.cohort_file import CohortFile, read_config
from radapt.cohorts.columns import sort_columns
from radapt.cohorts.fold_consistency import folds_can_be_learned
from radapt.cohorts.fold_reading import read_folds
from radapt.cohorts.fold_rule import FoldRule
from radapt.cohorts.folds import folds_path, in_folds
from radapt.cohorts.issue import CohortIssue, raise_errors
from radapt.cohorts.patient_key import patient_key
from radapt.cohorts.patient_state import unknown_patients
from radapt.cohorts.rows import Rows
from radapt.cohorts.sheets.parquet import sheet_of
from radapt.cohorts.sheets.reading import read_sheet
from radapt.cohorts.sheets.sheet import Sheet
from radapt.cohorts.splits import FOLD, SPLIT, draw_splits, read_recorded, recorded_path, write_recorded
from radapt.errors import DataError, UsageError, suggest


def load_cohort(path: Path | str) -> Cohort:
    """Read a cohort.yaml and its table.

    Cases without a split get one, drawn by patient from the seed in cohort.yaml (`split: {seed, val, test}`, default 0,
    0.15, 0.2) and written to `<stem>.splits.csv` beside it, which the next load reuses. With `split: {folds: 5}`,
    `{by: site}`, `{folds_column: …}` or `{folds_file: …}` every labelled patient is in one fold; folds that are drawn
    are written to `<stem>.folds.csv`.

    Raises UsageError for errors in cohort.yaml itself, and a DataError that lists all problems of the table.
    """
    path = Path(path)
    reading = _read(read_config(path))
    raise_errors(reading.problems, f"Cohort {path}")
    if reading.cohort is None:  # raise_errors has said why; this is for the type checker
        raise DataError(f"Cohort {path} cannot be read.")
    cohort = reading.cohort
    if cohort.split_seed is not None:
        word, file = (FOLD, folds_path(path)) if cohort.folds else (SPLIT, recorded_path(path))
        write_recorded(file, reading.drawn, cohort.split_seed, word)
    return cohort


def as_cohort(cohort: Cohort | Path | str) -> Cohort:
    """A cohort, or the one whose cohort.yaml is at a path. Raises UsageError for anything else."""
    if isinstance(cohort, str | Path):
        return load_cohort(cohort)
    if not isinstance(cohort, Cohort):
        raise UsageError(
            f"The cohort is a {type(cohort).__name__}; expected the path of a cohort.yaml, or radapt.load_cohort(PATH)."
        )
    return cohort


def read_cohort(path: Path | str) -> tuple[Cohort | None, list[CohortIssue]]:
    """Read a cohort.yaml and its table without raising the table's problems, and without writing anything.

    The cohort holds what could be read (rows without a case id are left out, missing images and invalid labels are
    empty), so that the other images can still be checked; None if nothing could. Raises UsageError for errors in
    cohort.yaml itself.
    """
    reading = _read(read_config(Path(path)))
    return reading.cohort, reading.problems


def cohort_from_pandas(
    table: pd.DataFrame,
    *,
    name: str = "table",
    kind: Kind = "other",
    root: Path | str = ".",
    classes: Sequence[str] = (),
    ordered: bool = False,
    mask_labels: Mapping[int, str] | None = None,
    seed: int = 0,
    folds: int | None = None,
) -> Cohort:
    """A cohort from a table in memory, with the columns of a cases.csv (`case`, `image` or `image:<modality>`, `label`,
    `patient`, `split`, `mask` …); without `case` the index names the cases.

    Paths are relative to `root`. What cohort.yaml would say is given by the other arguments. Splits that the table does
    not give are drawn from `seed` as `load_cohort` draws them, and with `folds` every patient is tested once; nothing
    is written. Raises a DataError that lists all problems of the table, and a UsageError for a `kind` that is none.
    """
    if kind not in KINDS:
        raise UsageError(f"A cohort cannot be of the kind {kind!r}. {suggest(kind, KINDS)}")
    if "case" not in table:
        table = table.assign(case=table.index.astype(str))
    place = Path(root) / "cohort.yaml"
    problems: list[CohortIssue] = []
    sheet = sheet_of(Path(root) / "table", table, problems)
    raise_errors(problems, "The table")
    config = CohortFile(
        path=place, name=name, cases=Path(root) / "table", kind=kind, classes=tuple(classes), ordered=ordered,
        mask_labels=dict(mask_labels or {}), seed=seed, fold_rule=None if folds is None else FoldRule(folds, seed=seed),
    )  # fmt: skip
    reading = _read_sheet(config, sheet, problems)
    raise_errors(reading.problems, "The table")
    if reading.cohort is None:  # raise_errors has said why; this is for the type checker
        raise DataError("The table cannot be read.")
    return replace(reading.cohort, path=None)


Cohort.from_pandas = staticmethod(cohort_from_pandas)


@dataclass(frozen=True)
class _Reading:
    """The result of reading a table; `drawn` holds (case, patient, split or fold) of the rows where that is drawn."""

    cohort: Cohort | None
    problems: list[CohortIssue]
    drawn: tuple[tuple[str, str, str], ...] = ()


def _read(config: CohortFile) -> _Reading:
    problems: list[CohortIssue] = []
    if config.kind is None:
        message = "The kind of the images is not given; 'other' is used."
        fix = "Add 'kind: xray', ct, mri or other."
        problems.append(CohortIssue("warning", "no-kind", message, file=config.path.name, fix=fix))
    sheet, more = read_sheet(config.cases)
    return _read_sheet(config, sheet, problems + more)


def _read_sheet(config: CohortFile, sheet: Sheet | None, problems: list[CohortIssue]) -> _Reading:
    if sheet is None:
        return _Reading(None, problems)
    problems += [CohortIssue("warning", "table-format", note, file=config.cases.name) for note in sheet.notes]
    columns, more = sort_columns(list(sheet.columns), config.cases.name)
    problems += more
    if "case" not in columns.has or not columns.images or not len(sheet):
        return _Reading(None, problems)
    rows = Rows(sheet, columns, config.classes)
    if rows.without_patient:
        problems.append(unknown_patients(rows, config))
    if config.fold_rule is not None:
        return _read_in_folds(config, config.fold_rule, rows, problems)
    words, seed, more = _splits(config, rows)
    cohort = _cohort(config, rows, words, seed)
    problems += rows.problems + more + checks.enough_of_every_class(cohort, config.cases.name)
    problems += checks.one_patient_per_file(cohort, config.cases.name)
    drawn = [at for at, word in enumerate(rows.given_splits) if not word]
    return _Reading(cohort, problems, tuple((rows.ids[at], rows.patients[at], words[at]) for at in drawn))


def _read_in_folds(config: CohortFile, rule: FoldRule, rows: Rows, problems: list[CohortIssue]) -> _Reading:
    folds = read_folds(config, rule, rows)
    cohort = _cohort(config, rows, ["train"] * len(rows), None if rule.count is None else rule.seed)
    cohort = in_folds(cohort, [fold for fold, name in zip(folds.of_rows, rows.ids, strict=True) if name], rule)
    problems = [*problems, *rows.problems, *folds.problems]
    if not any(problem.severity == "error" for problem in folds.problems):
        problems += folds_can_be_learned(cohort, config.cases.name)
    problems += checks.one_patient_per_file(cohort, config.cases.name)
    drawn = () if rule.count is None else tuple(zip(rows.ids, rows.patients, folds.of_rows, strict=True))
    return _Reading(cohort, problems, drawn)


def _splits(config: CohortFile, rows: Rows) -> tuple[list[str], int | None, list[CohortIssue]]:
    """The split of every row and, if any was drawn, the seed."""
    given = rows.given_splits
    for at, word in enumerate(given):
        if meant := checks.misspelt_split(word):
            rows.say("error", "split-word", f"Split {word!r} becomes a separate test set.", at, f"Write {meant!r}.")
    problems = checks.one_split_per_patient(rows.patients, given, rows.ids, rows.lines, config.cases.name)
    if all(given):
        return given, None, problems
    recorded, more = read_recorded(recorded_path(config.path), config.seed)
    recorded = {rows.spelling.get(patient_key(patient), patient): word for patient, word in recorded.items()}
    drawn = draw_splits(
        rows.label_array,
        np.asarray(rows.patients, dtype=object),
        np.asarray(given, dtype=object),
        config.fractions,
        np.random.default_rng(config.seed),
        recorded,
    )
    return [str(word) for word in drawn], config.seed, problems + more


def _cohort(config: CohortFile, rows: Rows, words: list[str], seed: int | None) -> Cohort:
    return Cohort(
        name=config.name,
        kind=config.kind or "other",
        cases=tuple(_cases(rows, words)),
        modalities=tuple(rows.images),
        classes=rows.labels.classes if rows.labels else (),
        findings=tuple(rows.findings),
        ordered=config.ordered,
        mask_labels=config.mask_labels,
        source=config.source,
        path=config.path.absolute(),
        split_seed=seed,
        patients_known=not rows.without_patient,
    )


def _cases(rows: Rows, words: list[str]) -> Iterator[Case]:
    images, masks, sites = rows.images, rows.masks, rows.sites
    labels = rows.labels.values if rows.labels else [None] * len(rows)
    findings = [finding.values for finding in rows.findings.values()]
    metadata = {name: rows.sheet.columns[name] for name in rows.columns.metadata}
    for at, name in enumerate(rows.ids):
        if not name:
            continue
        yield Case(
            case=name,
            patient=rows.patients[at],
            split=words[at],
            images={modality: location for modality, cells in images.items() if (location := cells[at])},
            site=sites[at],
            mask=masks[at],
            label=labels[at],
            findings=tuple([values[at] for values in findings]),
            metadata={column: cells[at] for column, cells in metadata.items()},
            row=rows.lines[at],
        )
