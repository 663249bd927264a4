"""Trackers: places outside a run folder that receive the numbers of training, step by step, and results.

`tracking` opens them for a run; while it is open, every training and `Tracking.results` write there. Without it nothing
of this package runs. Trackers only receive: they decide nothing, and results are the same with and without them.
"""

from radapt.trackers.tracking import Tracking, tracked_training, tracking
from radapt.trackers.where import TRACKERS, Where

__all__ = ["TRACKERS", "Tracking", "Where", "tracked_training", "tracking"]
