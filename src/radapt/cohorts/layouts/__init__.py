"""Folder layouts, one short file each: what a public data set looks like on disk → a draft of a cohort."""

from radapt.cohorts.layouts.registry import LAYOUTS, Layout, recognise

__all__ = ["LAYOUTS", "Layout", "recognise"]
