"""Shortcuts: columns of the table, such as the view or the scanner, that the features tell and the label follows."""

from radapt.probes.shortcuts.search import ProbedCases, Shortcut, find_shortcuts

__all__ = ["ProbedCases", "Shortcut", "find_shortcuts"]
