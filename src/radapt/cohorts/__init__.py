"""Cohorts: tables of cases, their labels, splits and paths, and the folder layouts they come from."""

from radapt.cohorts.cohort import KINDS, Case, Cohort, Kind, Task
from radapt.cohorts.problem import Problem
from radapt.cohorts.table import load_cohort, read_cohort

__all__ = ["KINDS", "Case", "Cohort", "Kind", "Problem", "Task", "load_cohort", "read_cohort"]
