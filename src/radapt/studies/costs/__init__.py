"""What a study costs on this machine, measured before it runs, and what of it fits into a given time."""

from radapt.studies.costs.estimate import GroupCost, estimate
from radapt.studies.costs.text import Prices, plan_text

__all__ = ["GroupCost", "Prices", "estimate", "plan_text"]
