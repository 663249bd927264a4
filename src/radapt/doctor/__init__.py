"""The doctor: what is wrong with a cohort, all of it at once, before any time is spent on it."""

from radapt.doctor.check import Findings, check_cohort

__all__ = ["Findings", "check_cohort"]
