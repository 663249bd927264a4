"""The groups of patients that a study is scored in, beside the facts of each cohort in the run folder."""

from collections.abc import Iterable, Sequence

from radapt.cohorts import Cohort
from radapt.cohorts.groupings import Grouping, group_table, groupings
from radapt.cohorts.metadata import metadata_columns
from radapt.durable import write_parquet
from radapt.errors import UsageError, suggest
from radapt.studies.cells import PreparedCohort
from radapt.studies.ledger import Ledger
from radapt.studies.study import Study

GROUPS = "groups.parquet"


def study_groupings(study: Study, cohort: Cohort) -> tuple[Grouping, ...]:
    """The groups of a cohort that the study asks for."""
    if study.groups == "none":
        return ()
    return groupings(cohort, None if study.groups == "auto" else study.groups)


def write_groups(ledger: Ledger, study: Study, cohorts: Iterable[PreparedCohort]) -> None:
    """Write `cohorts/<name>/groups.parquet` of each cohort that has groups; remove that of an earlier study."""
    for prepared in cohorts:
        file = ledger.cohort(prepared.cohort.name) / GROUPS
        if found := study_groupings(study, prepared.cohort):
            write_parquet(file, group_table(prepared.cohort, found))
        else:
            file.unlink(missing_ok=True)


def refuse_unknown_groups(study: Study, cohorts: Sequence[PreparedCohort]) -> None:
    """Raise UsageError for a column of `groups` that none of the cohorts has."""
    if isinstance(study.groups, str) or not cohorts:
        return
    columns = {name for prepared in cohorts for name in metadata_columns(prepared.cohort)}
    for name in study.groups:
        if name not in columns:
            raise UsageError(f"'groups' names the column {name!r}, which no cohort has. {suggest(name, columns)}")
