"""The task that training solves: cases in, their labels wanted, the criterion on val as one number."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from radapt.classification.case_loader import CaseLoader
from radapt.cohorts.cohort import Cohort
from radapt.errors import UsageError
from radapt.protocols.holdout import labelled
from radapt.protocols.ratings import Rater, Ratings
from radapt.protocols.targets import Targets
from radapt.training import DivergedError, Group, Task, parameter_groups


class OfCohort(Protocol):
    """Something that is read for the cases of a cohort: their images, or features that are stored."""

    @property
    def cohort(self) -> Cohort: ...


Cases = TypeVar("Cases", bound=OfCohort)


@dataclass(frozen=True, eq=False)
class TrainableModel:
    """A network ready to be trained, with what feeds it; here all of it is trained, at one rate.

    It is pickled for other processes, so it has methods where functions inside functions would be shorter.
    `identity` is that of the backbone, if there is one.
    """

    feed: CaseLoader
    identity: str | None = None

    @property
    def network(self) -> nn.Module:
        return self.feed.network

    def train_mode(self) -> None:
        """Put the network into training mode, and what is frozen in it into eval mode."""
        self.network.train()

    def groups(self, lr: float) -> list[Group]:
        """The trained parameters. Their rates are relative to `lr`."""
        return parameter_groups(self.network)

    def frozen(self) -> str:
        """A digest of all that training must not change; '' where nothing is frozen."""
        return ""


@dataclass(frozen=True, eq=False)
class LabelledCases(Generic[Cases]):
    """Cases with what is to be learned from them, and the cases that choices are made on (maybe none)."""

    images: Cases
    train: np.ndarray
    targets: Targets
    val: np.ndarray
    truth: np.ndarray
    """Labels of the val cases: (n,) or (n, F)."""
    rater: Rater
    """What candidates are compared by on val."""

    @property
    def learned(self) -> np.ndarray:
        """Labels of the training cases: (n,) or (n, F)."""
        return self.images.cohort.labels[self.train]


class CaseTask(Task):
    """Samples are training cases; the loss is that of `Targets`, cross-entropy or one question per finding.

    `smoothing` moves every target that far towards not knowing (Szegedy et al. 2016). Unknown findings weigh
    nothing, and a finding's loss is averaged over all cases of the batch: it never depends on how batches are cut.
    """

    def __init__(self, trainee: TrainableModel, cases: LabelledCases, lr: float, smoothing: float) -> None:
        self.trainee, self.cases, self.lr = trainee, cases, lr
        self.module = trainee.network
        self.size = len(cases.train)
        targets = cases.targets
        neutral = 0.5 if targets.link == "sigmoid" else 1 / targets.values.shape[1]
        smooth = targets.values * (1 - smoothing) + smoothing * neutral
        self._values = torch.from_numpy(smooth).float()
        self._weights = torch.from_numpy(targets.weights).float()

    def load(self, indices: np.ndarray, seeds: np.ndarray) -> tuple[Any, Tensor, Tensor]:
        batch = self.trainee.feed.load(self.cases.images, self.cases.train[indices], seeds)
        return batch, self._values[indices], self._weights[indices]

    def loss(self, batch: tuple[Any, Tensor, Tensor], seeds: np.ndarray) -> Tensor:
        cases, values, weights = batch
        with _measurable():
            logits = self.trainee.feed.logits(cases, seeds).float()
        if self.cases.targets.link == "sigmoid":
            return (binary_cross_entropy_with_logits(logits, values, reduction="none") * weights).mean()
        return -((values * log_softmax(logits, dim=1)).sum(1) * weights[:, 0]).mean()

    def score(self) -> float:
        """The metric on val, ties broken by log-loss; log-loss alone where it is undefined. NaN without val."""
        return self.evaluate().number if len(self.cases.val) else math.nan

    def evaluate(self) -> Ratings:
        """The numbers on val that candidates are chosen by. Raises DivergedError if answers are not finite."""
        known = labelled(self.cases.truth)
        answers = self.answers()[None, known]
        return self.cases.rater.rate(self.cases.truth[known], answers, self.cases.learned)

    def answers(self) -> np.ndarray:
        """Probabilities (n, outputs) of the val cases. Raises DivergedError if they are not finite."""
        logits = self.trainee.feed.answers(self.cases.images, self.cases.val)
        if len(lost := np.flatnonzero(~np.isfinite(logits).all(axis=1))):
            case = self.cases.images.cohort.cases[self.cases.val[lost[0]]].case
            raise DivergedError(
                f"The network's answers became infinite or NaN (learning rate {self.lr:.3g}), first for {case}. Look "
                "for values that are not finite in its images, or train with a smaller learning rate."
            )
        return self.cases.targets.probabilities(logits)

    def name(self, index: int) -> str:
        return self.cases.images.cohort.cases[self.cases.train[index]].case

    def groups(self) -> list[Group]:
        return self.trainee.groups(self.lr)

    def train_mode(self) -> None:
        self.trainee.train_mode()


class FoldTask(CaseTask):
    """Keeps what the network answers about the held-out cases each time that it is scored.

    The answers are part of its state, so that they outlive a kill and come back from another process. Weights that were
    best are put back at the end of a training; answers of later epochs stay.
    """

    def __init__(self, trainee: TrainableModel, cases: LabelledCases, lr: float, smoothing: float, looks: int) -> None:
        super().__init__(trainee, cases, lr, smoothing)
        outputs = len(cases.targets.constant)
        self.kept = torch.full((looks, len(cases.val), outputs), torch.nan, dtype=torch.float64)

    def score(self) -> float:
        answers = self.answers()
        looked = int(torch.isfinite(self.kept).all(dim=(1, 2)).sum())
        self.kept[looked] = torch.from_numpy(answers)
        known = labelled(self.cases.truth)
        return self.cases.rater.rate(self.cases.truth[known], answers[None, known], self.cases.learned).number

    def state(self) -> dict[str, Tensor]:
        return {"kept": self.kept}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        self.kept.copy_(torch.where(torch.isnan(tensors["kept"]), self.kept, tensors["kept"]))


@contextmanager
def _measurable() -> Iterator[None]:
    """Torch refuses to normalise a batch in which every channel has one value."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UsageError(
            "Batch normalisation was given one slice that is one pixel wide inside the network, which has no spread. "
            "Use a larger batch or larger images."
        ) from error
