"""Cohort files and folders of a known layout as raw cases: labels may be missing, wrong or unknown to the model."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from radapt.cohorts import Case, Cohort, CohortDraft, CohortIssue, ScanOptions, read_cohort
from radapt.cohorts.columns import sort_columns
from radapt.cohorts.image_names import stem_of
from radapt.cohorts.issue import raise_errors
from radapt.cohorts.layouts.dicom.cut_series import cut_images
from radapt.cohorts.layouts.registry import recognise
from radapt.deploy.inputs.raw_case import RawCase, RawInput
from radapt.deploy.sequences import Series
from radapt.errors import DataError
from radapt.locations import Location
from radapt.progress import ProgressMaker

_OF_CASES = ("bad-location", "no-image", "empty-case", "duplicate-case")
"""Issues for which a case cannot be predicted; those of labels, splits and folds do not matter here."""

_OF_FILES = ("table-format", "no-case-column", "no-images", "empty-table", "unreadable")
UNNAMED = "image"


def cohort_cases(path: Path) -> RawInput:
    """The cases of a cohort file. Raises UsageError for the file itself, DataError if its table cannot be read."""
    cohort, issues = read_cohort(path)
    if cohort is None or not len(cohort):
        raise_errors(issues, f"Cohort {path}")
        raise DataError(f"Cohort {path} has no cases.")
    wrong = {issue.case: issue for issue in issues if issue.severity == "error" and issue.code in _OF_CASES}
    return cases_of(cohort, wrong)


def cases_of(cohort: Cohort, wrong: Mapping[str | None, CohortIssue] | None = None) -> RawInput:
    """The cases of a cohort; `wrong` {case: issue} cannot be predicted."""
    return RawInput(tuple(_of_case(cohort, case, (wrong or {}).get(case.case)) for case in cohort))


def _of_case(cohort: Cohort, case: Case, issue: CohortIssue | None) -> RawCase:
    cut = {} if issue is not None else {each.name: str(each).rstrip(".") for each in cut_images(case.images)}
    return RawCase(
        case.case,
        case.patient,
        tuple(Series(name, location, warning=cut.get(name, "")) for name, location in case.images.items()),
        _label(cohort, case),
        case.mask,
        case.site,
        case.metadata,
        "" if issue is None else f"{issue.message} {issue.fix}".strip(),
    )


def _label(cohort: Cohort, case: Case) -> str | None:
    if cohort.findings:
        present = [name for name, value in zip(cohort.findings, case.findings, strict=True) if value == 1]
        return ";".join(present) if any(value is not None for value in case.findings) else None
    return None if case.label is None else cohort.classes[case.label]


def layout_cases(root: Path, progress: ProgressMaker) -> RawInput:
    """The cases of a folder, table or array file of a known layout. Raises DataError if it is none, or damaged."""
    layout, start = recognise(root)
    if layout.name == "table" and start.suffix.lower() in (".yaml", ".yml"):
        return cohort_cases(start)
    draft = layout.read(start, ScanOptions(progress=progress))
    return RawInput(tuple(_of_rows(draft)), (f"{root.name}: read as {layout.what}.",))


def _of_rows(draft: CohortDraft) -> list[RawCase]:
    table = draft.table
    columns, findings = draft.modalities, draft.findings
    others = sort_columns(list(table.columns), draft.name)[0].metadata
    cases = []
    for row in table.to_dict("records"):
        series = tuple(
            Series(_name(column, str(row[column]), columns), Location.parse(str(row[column])))
            for column in columns
            if row[column]
        )
        if findings:
            answers = [str(row[f"label:{name}"]).strip() for name in findings]
            present = [name for name, answer in zip(findings, answers, strict=True) if answer == "1"]
            label = ";".join(present) if any(answers) else None
        else:
            label = str(row.get("label") or "") or None
        mask = str(row.get("mask") or "")
        cases.append(
            RawCase(
                str(row["case"]),
                str(row.get("patient") or row["case"]),
                series,
                label,
                Location.parse(mask) if mask else None,
                str(row.get("site") or "") or None,
                {name: str(row[name]) for name in others},
            )
        )
    return cases


def _name(column: str, location: str, columns: Sequence[str]) -> str:
    """The modality of a column; an unnamed one is known by its file."""
    name = column.removeprefix("image:")
    return stem_of(location) if column == UNNAMED and len(columns) > 1 else name
