"""Features: what a frozen backbone sees in every slice of a cohort, kept on disk and pooled per case."""

from radapt.features.features import Features, Segment
from radapt.features.pooling import Design, Pooling, select

__all__ = ["Design", "Features", "Pooling", "Segment", "select"]
