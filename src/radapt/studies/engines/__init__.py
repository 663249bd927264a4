"""Studies on several devices or machines: the shards of a run as processes, tasks of Ray or jobs of Slurm."""

from radapt.studies.engines.shares import ENGINES, Resources, Shares
from radapt.studies.engines.start import run_here, run_on_engine

__all__ = ["ENGINES", "Resources", "Shares", "run_here", "run_on_engine"]
