"""Shortcuts: columns, such as the view or the scanner, that can be read from the features and predict the label."""

from radapt.probes.shortcuts.search import ProbedCases, Shortcut, find_shortcuts
from radapt.probes.shortcuts.stored_features import shortcuts_of

__all__ = ["ProbedCases", "Shortcut", "find_shortcuts", "shortcuts_of"]
