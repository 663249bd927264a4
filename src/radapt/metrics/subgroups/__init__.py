"""Scores and calibration in groups of the cases, and the gaps between groups, with intervals and tests by patient."""

from radapt.metrics.subgroups.gaps import ColumnScores, Gap, Groups, GroupScore, score_groups
from radapt.metrics.subgroups.parts import LabelMapParts, PredictionParts, ScoredParts

__all__ = [
    "ColumnScores",
    "Gap",
    "GroupScore",
    "Groups",
    "LabelMapParts",
    "PredictionParts",
    "ScoredParts",
    "score_groups",
]
