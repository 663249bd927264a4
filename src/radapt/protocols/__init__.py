"""Protocols: ways to judge a frozen backbone on a cohort, each one shape, fit and then predict. Choices are made on
val, the winner is refitted on train and val, and test labels are never seen."""

from radapt.protocols.evaluate import Result, evaluate
from radapt.protocols.problem import Problem
from radapt.protocols.protocol import Fitted, Model, Protocol
from radapt.protocols.registry import PROTOCOLS, make

__all__ = ["PROTOCOLS", "Fitted", "Model", "Problem", "Protocol", "Result", "evaluate", "make"]
