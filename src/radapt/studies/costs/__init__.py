"""What a study costs on this machine, measured before it runs, and what of it fits into a given time."""

from radapt.studies.costs.estimate import GroupCost, estimate
from radapt.studies.costs.fit import Choice, choose, parse_time
from radapt.studies.costs.fitted import choice_text, fitted_study
from radapt.studies.costs.text import Prices, plan_text

__all__ = [
    "Choice",
    "GroupCost",
    "Prices",
    "choice_text",
    "choose",
    "estimate",
    "fitted_study",
    "parse_time",
    "plan_text",
]
