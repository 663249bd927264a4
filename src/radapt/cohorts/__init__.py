"""Cohorts: tables of cases, their labels, splits and paths, and the folder layouts they come from."""

from radapt.cohorts.cohort import KINDS, Case, Cohort, Kind, Task
from radapt.cohorts.config import Fractions
from radapt.cohorts.describe import case_table, cohort_digest
from radapt.cohorts.draft import CohortDraft, ScanOptions
from radapt.cohorts.label_draws import Draw, draw_patients, restrict
from radapt.cohorts.problem import CohortIssue
from radapt.cohorts.save import write_cohort
from radapt.cohorts.scan import scan
from radapt.cohorts.table import load_cohort, read_cohort

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
    "case_table",
    "cohort_digest",
    "draw_patients",
    "load_cohort",
    "read_cohort",
    "restrict",
    "scan",
    "write_cohort",
]
