"""Folder layouts, one file each: a data set as it lies on disk → a cohort draft."""

from radapt.cohorts.layouts.registry import LAYOUTS, Layout, recognise

__all__ = ["LAYOUTS", "Layout", "recognise"]
