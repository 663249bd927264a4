"""Shortcuts: columns of the table, such as the view or the scanner, that the features tell and the label follows."""

from radapt.probes.shortcuts.search import ProbedCases, Shortcut, find_shortcuts
from radapt.probes.shortcuts.stored_features import shortcuts_of

__all__ = ["ProbedCases", "Shortcut", "find_shortcuts", "shortcuts_of"]
