"""The images of a cohort that gave no features, and why."""

from collections.abc import Sequence
from typing import NamedTuple

from radapt.cases.preflight import failure_list
from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError


class ExtractionFailure(NamedTuple):
    """An image whose features could not be computed, and the reason."""

    case: str
    modality: str
    reason: str


class ExtractionError(DataError):
    """Images of a cohort gave no features; `failures` says which, and why."""

    def __init__(self, message: str, failures: Sequence[ExtractionFailure] = ()) -> None:
        super().__init__(message)
        self.failures = tuple(failures)


def extraction_error(failures: list[ExtractionFailure], cohort: Cohort, what: str) -> ExtractionError:
    """The error that lists the failures among the `what` of a cohort: cases or images."""
    total = len(cohort) if what == "cases" else int(cohort.presence.sum())
    head = (
        f"{len(failures)} of {total} {what} of {cohort.name} gave no features; the others are stored. Fix these, or "
        "remove their rows from the table, and run again"
    )
    reasons = (f"Case {fail.case}, {fail.modality}: {fail.reason}" for fail in failures)
    return ExtractionError(failure_list(head, reasons), failures)
