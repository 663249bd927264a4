"""Protocols: ways to evaluate and adapt backbones on a cohort, with one interface: fit, then predict. Choices are made
on val; protocols never see test labels."""

from radapt.protocols.evaluate import evaluate
from radapt.protocols.fewshot import FewShot, learning_curve
from radapt.protocols.fitted import Fitted, Model, Segmenter, SubsetModel, SubsetSegmenter
from radapt.protocols.image_problem import ImageProblem, Machine
from radapt.protocols.load_model import LoadedModel, load_model
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.protocol import Protocol
from radapt.protocols.registry import PROTOCOLS, make
from radapt.protocols.scoring import Result, Scorer
from radapt.protocols.subsets import SubsetResult, score_subsets
from radapt.protocols.train import train
from radapt.training.fit_record import FitRecord

__all__ = [
    "PROTOCOLS",
    "FeatureProblem",
    "FewShot",
    "FitRecord",
    "Fitted",
    "ImageProblem",
    "LoadedModel",
    "Machine",
    "Model",
    "Protocol",
    "Result",
    "Scorer",
    "Segmenter",
    "SubsetModel",
    "SubsetResult",
    "SubsetSegmenter",
    "evaluate",
    "learning_curve",
    "load_model",
    "make",
    "score_subsets",
    "train",
]
