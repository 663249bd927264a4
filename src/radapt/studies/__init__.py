"""Studies: a grid of cohorts, backbones and protocols; its plan, its cells, and the run folder they are kept in."""

from radapt.studies.ledger import Ledger
from radapt.studies.plan import Plan, Settings, plan_study
from radapt.studies.run import Outcome, run_study
from radapt.studies.study import Study, read_study

__all__ = ["Ledger", "Outcome", "Plan", "Settings", "Study", "plan_study", "read_study", "run_study"]
