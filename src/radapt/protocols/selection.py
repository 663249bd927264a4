"""Choosing on val among everything that was fitted, and fitting the winner again on train and val."""

import abc
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from radapt.metrics import auroc
from radapt.metrics.calibration import LEAST_PROBABILITY
from radapt.protocols.fitted import Fitted, Model
from radapt.protocols.holdout import fit_cases
from radapt.protocols.problem import FeatureProblem
from radapt.training.fit_record import Candidate, Cost, FitRecord

CRITERION = "macro AUROC on val, ties by log-loss"
_TIE = 12  # decimals: areas that differ less differ by rounding


class Models(abc.ABC):
    """Candidates fitted together."""

    @abc.abstractmethod
    def predict_all(self, rows: np.ndarray) -> np.ndarray:
        """Probabilities of every candidate: (candidates, n, outputs)."""

    @abc.abstractmethod
    def pick(self, candidate: int) -> Model:
        """One of them."""

    @abc.abstractmethod
    def trained(self, candidate: int) -> int:
        """How many numbers of it were learned, counted from the model; what training cases are kept for is not."""

    def notes(self) -> tuple[str, ...]:
        """What a reader should know about the fit."""
        return ()


class Family(abc.ABC):
    """Candidates of one kind, cheap to fit together."""

    unit_length: ClassVar[bool] = False
    """Whether the vector of each modality has length 1 in what the candidates read."""

    @property
    @abc.abstractmethod
    def candidates(self) -> Sequence[Mapping[str, Any]]:
        """What each candidate is, JSON-like."""

    @property
    @abc.abstractmethod
    def default(self) -> int:
        """The candidate taken where there is nothing to choose on."""

    @abc.abstractmethod
    def fit(
        self, problem: FeatureProblem, rows: np.ndarray, rng: np.random.Generator, only: int | None = None
    ) -> Models:
        """Fit every candidate, or the `only` one, on the cases at `rows`."""


@dataclass(frozen=True)
class ValScores:
    """Macro AUROC and log-loss of each candidate on val, (candidates,) each; NaN where undefined."""

    auroc: np.ndarray
    log_loss: np.ndarray

    @property
    def best(self) -> int:
        """Highest AUROC, then lowest log-loss, then first. Val of one class is compared by log-loss alone."""
        area = np.nan_to_num(np.round(self.auroc, _TIE), nan=-1.0)
        return int(np.lexsort((np.nan_to_num(self.log_loss, nan=np.inf), -area))[0])

    def of(self, candidate: int) -> dict[str, float]:
        """The numbers of one candidate, by name."""
        return {"auroc": float(self.auroc[candidate]), "log_loss": float(self.log_loss[candidate])}


def fit_chosen(problem: FeatureProblem, families: Sequence[Family], rng: np.random.Generator) -> Fitted:
    """Fit all candidates on train, choose on val, refit the winner on train and val if the problem allows it.

    Val that was drawn inside train is always refitted with: it is training data. Where there is no case to choose on,
    the first family's default is taken, and said so.
    """
    start = time.perf_counter()
    drawing, fitting, refitting = rng.spawn(3)
    train, val = problem.choosing(drawing)
    if not len(val):
        return _fit_default(problem, families[0], train, fitting, start)
    offers = [(family, number) for family in families for number in range(len(family.candidates))]
    trained = [family.fit(problem, train, fitting) for family in families]
    found = score_candidates(problem.labels[val], np.concatenate([models.predict_all(val) for models in trained]))
    best = found.best
    family, number = offers[best]
    models = trained[families.index(family)]
    refit = problem.refit or not len(problem.rows("val"))
    both = np.sort(np.concatenate([train, val])) if refit else train
    refitted = family.fit(problem, both, refitting, only=number) if refit else models
    before_refit = models.pick(number)
    final = refitted.pick(0) if refit else before_refit
    notes = [*refitted.notes(), *problem.notes(both, unit_length=family.unit_length)]
    if undefined := undefined_note(found.auroc):
        notes.append(undefined)
    record = FitRecord(
        candidates=tuple(
            Candidate(family.candidates[number], found.of(offer)) for offer, (family, number) in enumerate(offers)
        ),
        chosen=best,
        criterion=CRITERION,
        cases=fit_cases(problem, train, val, both if refit else None),
        cost=_cost(refitted.trained(0) if refit else models.trained(number), start),
        notes=tuple(dict.fromkeys(notes)),
        notes_before_refit=tuple(models.notes()) if refit else (),
    )
    return Fitted(final, before_refit, record)


def score_candidates(truth: np.ndarray, probabilities: np.ndarray) -> ValScores:
    """Score probabilities (candidates, n, outputs) by truth (n,) or (n, F): what is undefined is left out."""
    if truth.ndim == 1:
        questions = [(np.ones(len(truth), bool), truth == c, c) for c in _asked(probabilities.shape[2])]
        likelihood = probabilities[:, np.arange(len(truth)), truth]
        loss = -np.log(np.clip(likelihood, LEAST_PROBABILITY, 1)).mean(axis=1)
    else:
        known = np.isfinite(truth)
        questions = [(known[:, f], truth[:, f] == 1, f) for f in range(truth.shape[1])]
        likelihood = np.where(truth == 1, probabilities, 1 - probabilities)
        surprise = np.where(known, -np.log(np.clip(likelihood, LEAST_PROBABILITY, 1)), 0.0).sum(axis=1)
        loss = (surprise / np.maximum(known.sum(axis=0), 1))[:, known.any(axis=0)].mean(axis=1)
    areas = [
        [float(auroc(yes[known], scores[known, output])) for scores in probabilities]
        for known, yes, output in questions
        if 0 < yes[known].sum() < known.sum()
    ]
    undefined = np.full(len(probabilities), np.nan)
    return ValScores(np.mean(areas, axis=0) if areas else undefined, loss)


def _asked(classes: int) -> Sequence[int]:
    """One question per class; of two classes, one says it all."""
    return (1,) if classes == 2 else range(classes)


def _fit_default(
    problem: FeatureProblem, family: Family, train: np.ndarray, rng: np.random.Generator, start: float
) -> Fitted:
    models = family.fit(problem, train, rng, only=family.default)
    notes = [*models.notes(), *problem.notes(train, unit_length=family.unit_length)]
    why = "no case to choose on: train has too few patients to draw val from, so the default was taken"
    if not problem.choose:
        why = "the default, as asked: val was not looked at"
    record = FitRecord(
        candidates=(Candidate(family.candidates[family.default]),),
        chosen=0,
        criterion=why,
        cases=fit_cases(problem, train, train[:0]),
        cost=_cost(models.trained(0), start),
        notes=tuple(dict.fromkeys(notes)),
    )
    return Fitted(models.pick(0), models.pick(0), record)


def _cost(trained: int, start: float) -> Cost:
    # Memory is not measured: a head beside stored features takes too little to tell from what else the process does.
    return Cost(trained, trained, float("nan"), time.perf_counter() - start)


def undefined_note(auroc: Iterable[float]) -> str | None:
    """The note for candidates whose AUROC on val is undefined; None if it is defined for all."""
    if np.isfinite(np.asarray(list(auroc))).all():
        return None
    return "AUROC is undefined on val, where no question has both answers; chosen by log-loss."
