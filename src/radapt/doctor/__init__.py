"""The doctor finds all problems of a cohort before any computation."""

from radapt.doctor.check import Findings, check_cohort

__all__ = ["Findings", "check_cohort"]
