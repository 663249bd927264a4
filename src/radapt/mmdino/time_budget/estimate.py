"""How long an adaptation takes, from a few measured seconds and the counts of a cohort, and what fits into a time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from radapt.cohorts.cohort import Cohort
from radapt.errors import UsageError
from radapt.mmdino.options import Options
from radapt.protocols.holdout import TASKS, labelled

Part = Literal["full", "lora", "partial", "fusion"]
PARTS: tuple[Part, ...] = ("full", "lora", "partial", "fusion")
"""From the most of an encoder to none of it."""

ENOUGH = 0.5
"""Least share of its usual epochs for which a training is chosen over one of less of the encoder."""
RESERVE = 0.15
"""Share of the stated time that is left for what is not estimated: reading, intervals, the report."""


@dataclass(frozen=True)
class Cost:
    """Seconds on this machine, in one training: of a step of the optimiser with a whole batch; of encoding one slice of
    one sequence for the store; of predicting one case from all of its sequences; of preparing one case."""

    step: float
    encode: float
    predict: float
    prepare: float


@dataclass(frozen=True)
class Work:
    """Counts of an adaptation: how often is trained (each fold, and the delivered model); all cases, those of a
    training, those with a label; the mean number of sequences of a case, and of its subsets."""

    trainings: int
    cases: int
    train: int
    labelled: int
    sequences: float
    subsets: float

    @classmethod
    def of(cls, cohort: Cohort) -> "Work":
        folds = len(cohort.folds) if cohort.folds and cohort.task in TASKS else 0
        present = cohort.presence.sum(axis=1)
        known = int(labelled(cohort.labels).sum()) if len(cohort.outputs) else 0
        train = len(cohort) if folds else int((cohort.splits == "train").sum())
        return cls(
            folds + 1, len(cohort), train, known, float(present.mean()), float(np.mean(2.0**present - 1))
        )  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """One candidate: the hours that it takes whatever its epochs, those of an epoch over all trainings, its usual
    epochs, and the most that fit; 0: not even one."""

    trained: Part
    fixed_hours: float
    epoch_hours: float
    usual_epochs: int
    epochs: int

    @property
    def hours(self) -> float:
        """With the epochs that fit."""
        return self.fixed_hours + self.epochs * self.epoch_hours

    @property
    def usual_hours(self) -> float:
        return self.fixed_hours + self.usual_epochs * self.epoch_hours

    @property
    def line(self) -> str:
        """For a person."""
        usual = f"{self.trained}: about {duration(self.usual_hours)} for its usual {self.usual_epochs} epochs"
        fits = "not one fits" if not self.epochs else f"{self.epochs} fit"
        return f"{usual}; {'all fit' if self.epochs == self.usual_epochs else fits}"


def estimate(trained: Part, options: Options, work: Work, cost: Cost, hours: float) -> Estimate:
    """What an adaptation of this kind takes, and how many of its usual epochs fit into `hours`.

    Slices are encoded once for all trainings; a classifier is fitted to every labelled case and subset in each training
    of an encoder, and every case is answered for once.
    """
    own, stored = options.fusion, trained in ("fusion", "partial")
    per_epoch = math.ceil(work.train / (own.batch if stored else options.batch))
    usual = own.epochs if stored else options.epochs
    if stored and own.steps is not None:
        usual = min(usual, math.ceil(own.steps / per_epoch))
    fitted = 0 if stored else work.trainings * work.labelled
    answers = (fitted + work.cases) * work.subsets * _SUBSET
    encoded = work.sequences * options.slices * cost.encode  # of a case; 0 where nothing is stored
    fixed = work.cases * (cost.prepare + encoded) + answers * cost.predict
    epoch = work.trainings * per_epoch * cost.step
    left = hours * 3600 * (1 - RESERVE) - fixed
    fits = 0 if left < epoch else min(usual, int(left // epoch))
    return Estimate(trained, fixed / 3600, epoch / 3600, usual, fits)


_SUBSET = 0.6
"""Mean size of a subset of sequences relative to all of them: 4/7 of three, 8/15 of four."""


@dataclass(frozen=True)
class TimePlan:
    """What was chosen for a stated time and a request with the digest `asked`, with the estimates of all candidates."""

    hours: float
    asked: str
    estimates: tuple[Estimate, ...]
    trained: Part

    @property
    def chosen(self) -> Estimate:
        return next(each for each in self.estimates if each.trained == self.trained)

    @property
    def note(self) -> str:
        """For the record of the adaptation."""
        best = self.chosen
        return (
            f"For {duration(self.hours)} on this machine `{best.trained}` was chosen with {best.epochs} of its usual "
            f"{best.usual_epochs} epochs, about {duration(best.hours)}: the most of the encoder that can be trained "
            "for at least half of its usual epochs, or else what comes closest. It was chosen by time, not by accuracy."
        )

    @property
    def lines(self) -> list[str]:
        return [each.line for each in self.estimates]

    def applied(self, options: Options) -> Options:
        """The options with what was chosen."""
        best = self.chosen
        if best.trained in ("fusion", "partial"):
            return replace(options, trained=best.trained, fusion=replace(options.fusion, epochs=best.epochs))
        return replace(options, trained=best.trained, epochs=best.epochs)


def choose(hours: float, estimates: Sequence[Estimate], asked: str = "") -> TimePlan:
    """The first candidate, from the most of the encoder to none, for which `ENOUGH` of its usual epochs fit; if there
    is none, that with the largest share. Raises UsageError if not one epoch of anything fits."""
    ordered = sorted(estimates, key=lambda each: PARTS.index(each.trained))
    enough = [each for each in ordered if each.epochs >= ENOUGH * each.usual_epochs and each.epochs]
    best = enough[0] if enough else max(ordered, key=lambda each: each.epochs / each.usual_epochs)
    if not best.epochs:
        least = min(ordered, key=lambda each: each.fixed_hours + each.epoch_hours)
        needed = (least.fixed_hours + least.epoch_hours) / (1 - RESERVE)
        raise UsageError(
            f"Nothing can be trained in {duration(hours)}: one epoch of the quickest, {least.trained}, needs "
            f"{duration(needed)} on this machine, and its usual {least.usual_epochs} need "
            f"{duration(least.usual_hours / (1 - RESERVE))}. Give --hours {math.ceil(100 * needed) / 100:g} or more."
        )
    return TimePlan(hours, asked, tuple(ordered), best.trained)


def duration(hours: float) -> str:
    """In words, with two digits."""
    for unit, size in (("days", 24.0), ("hours", 1.0), ("minutes", 1 / 60)):
        if hours >= 2 * size:
            return f"{hours / size:.2g} {unit}" if hours / size < 100 else f"{hours / size:.0f} {unit}"
    return f"{max(1, round(hours * 3600))} seconds"
