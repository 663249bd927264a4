"""Cohorts: tables of cases, their labels, splits and paths, and the folder layouts they come from."""

from radapt.cohorts.case_table import case_table, cohort_digest
from radapt.cohorts.cohort import KINDS, Case, Cohort, Kind, Task
from radapt.cohorts.cohort_file import Fractions
from radapt.cohorts.draft import CohortDraft, ScanOptions
from radapt.cohorts.issue import CohortIssue
from radapt.cohorts.label_draws import Draw, draw_patients, restrict
from radapt.cohorts.loading import as_cohort, load_cohort, read_cohort
from radapt.cohorts.remote_images import refuse_offline
from radapt.cohorts.save import write_cohort
from radapt.cohorts.scan import scan

__all__ = [
    "KINDS",
    "Case",
    "Cohort",
    "CohortDraft",
    "CohortIssue",
    "Draw",
    "Fractions",
    "Kind",
    "ScanOptions",
    "Task",
    "as_cohort",
    "case_table",
    "cohort_digest",
    "draw_patients",
    "load_cohort",
    "read_cohort",
    "refuse_offline",
    "restrict",
    "scan",
    "write_cohort",
]
