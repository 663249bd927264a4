"""Protocols: ways to judge and adapt backbones on a cohort, each one shape, fit and then predict. Choices are made on
val, and test labels are never seen."""

from radapt.protocols.evaluate import evaluate
from radapt.protocols.fewshot import FewShot, learning_curve
from radapt.protocols.images import ImageProblem, Machine
from radapt.protocols.judge import Result
from radapt.protocols.problem import Problem
from radapt.protocols.protocol import Cost, Fitted, Model, Protocol, Segmenter, SubsetModel
from radapt.protocols.registry import PROTOCOLS, make
from radapt.protocols.subsets import SubsetResult, judge_subsets
from radapt.protocols.train import train

__all__ = [
    "PROTOCOLS",
    "Cost",
    "FewShot",
    "Fitted",
    "ImageProblem",
    "Machine",
    "Model",
    "Problem",
    "Protocol",
    "Result",
    "Segmenter",
    "SubsetModel",
    "SubsetResult",
    "evaluate",
    "judge_subsets",
    "learning_curve",
    "make",
    "train",
]
