"""Shortcuts: columns, such as the view or the scanner, that can be read from the features and predict the label."""

from radapt.probes.shortcuts.search import LabelledCases, ProbedCases, Shortcut, find_shortcuts
from radapt.probes.shortcuts.stored_features import SEED, FoundShortcuts, shortcuts_again, shortcuts_of

__all__ = [
    "SEED",
    "FoundShortcuts",
    "LabelledCases",
    "ProbedCases",
    "Shortcut",
    "find_shortcuts",
    "shortcuts_again",
    "shortcuts_of",
]
