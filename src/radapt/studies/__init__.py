"""Studies: a grid of cohorts, backbones and protocols, its plan, its cells and its run folder."""

from radapt.studies.costs import Prices, choice_text, choose, estimate, fitted_study, parse_time, plan_text
from radapt.studies.ledger import Ledger
from radapt.studies.part import Part
from radapt.studies.plan import Plan, Settings, plan_study
from radapt.studies.run import Outcome, run_study
from radapt.studies.shard import Shard
from radapt.studies.study import Study, read_study

__all__ = [
    "Ledger",
    "Outcome",
    "Part",
    "Plan",
    "Prices",
    "Settings",
    "Shard",
    "Study",
    "choice_text",
    "choose",
    "estimate",
    "fitted_study",
    "parse_time",
    "plan_study",
    "plan_text",
    "read_study",
    "run_study",
]
