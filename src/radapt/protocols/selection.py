"""Choosing among everything that was fitted, on val or out of fold, and fitting the winner again on train and val."""

import time
from collections.abc import Sequence

import numpy as np

from radapt.protocols.candidates import Family
from radapt.protocols.choice import FOLDS
from radapt.protocols.cross_validation import cross_validate
from radapt.protocols.fitted import Fitted
from radapt.protocols.holdout import fit_cases
from radapt.protocols.out_of_fold import OutOfFold
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.ratings import Rater, Ratings
from radapt.protocols.targets import ClassWeight
from radapt.training.fit_record import Candidate, Cost, FitCases, FitRecord


def fit_chosen(
    problem: FeatureProblem, families: Sequence[Family], rng: np.random.Generator, class_weight: ClassWeight = "none"
) -> Fitted:
    """Fit all candidates, choose by the problem's rules, and fit the winner again on train and val.

    On val: fitted on train, refitted with the cohort's val if the problem allows it; val that was drawn inside train
    is always refitted with, as it is training data. By inner folds: see `cross_validate`. Where there is no case to
    choose on, the first family's default is taken, and said so. `class_weight` is how candidates weigh the classes.
    """
    start = time.perf_counter()
    if problem.method == "cv":
        return _fit_by_folds(problem, families, rng, class_weight, start)
    drawing, fitting, refitting = rng.spawn(3)
    train, val = problem.choosing(drawing)
    if not len(val):
        return _fit_default(problem, families[0], train, fitting, start)
    offers = [(family, number) for family in families for number in range(len(family.candidates))]
    trained = [family.fit(problem, train, fitting) for family in families]
    rater = problem.rater(class_weight)
    probabilities = np.concatenate([models.predict_all(val) for models in trained])
    found = rater.rate(problem.labels[val], probabilities, problem.labels[train])
    best = found.best
    family, number = offers[best]
    models = trained[families.index(family)]
    refit = problem.refit or not len(problem.rows("val"))
    both = np.sort(np.concatenate([train, val])) if refit else train
    refitted = family.fit(problem, both, refitting, only=number) if refit else models
    before_refit = models.pick(number)
    final = refitted.pick(0) if refit else before_refit
    notes = [*refitted.notes(), *problem.notes(both, unit_length=family.unit_length)]
    if undefined := rater.undefined_note(found.value):
        notes.append(undefined)
    record = FitRecord(
        candidates=_candidates(offers, found),
        chosen=best,
        criterion=criterion_on_val(rater),
        cases=fit_cases(problem, train, val, both if refit else None),
        cost=_cost(refitted.trained(0) if refit else models.trained(number), start),
        notes=tuple(dict.fromkeys(notes)),
        notes_before_refit=tuple(models.notes()) if refit else (),
    )
    return Fitted(final, before_refit, record)


def criterion_on_val(rater: Rater) -> str:
    """What a record says of a choice on val."""
    title = f"macro {rater.metric.title}" if rater.metric.name == "auroc" else rater.metric.title
    return f"{title} on val, ties by log-loss"


def _fit_by_folds(
    problem: FeatureProblem,
    families: Sequence[Family],
    rng: np.random.Generator,
    class_weight: ClassWeight,
    start: float,
) -> Fitted:
    drawing, fitting, refitting = rng.spawn(3)
    folds = problem.inner_folds(FOLDS, drawing)
    rater = problem.rater(class_weight)
    offers = [(family, number) for family in families for number in range(len(family.candidates))]
    found = cross_validate(problem, families, folds, rater, fitting)
    chosen = found.choose(problem.rules.one_standard_error)
    family, number = offers[chosen]
    refitted = family.fit(problem, folds.rows, refitting, only=number)
    final = refitted.pick(0)
    notes = [*refitted.notes(), *problem.notes(folds.rows, unit_length=family.unit_length), *found.notes(chosen)]
    record = FitRecord(
        candidates=_candidates(offers, found.ratings, found.extra),
        chosen=chosen,
        criterion=found.criterion(problem.rules.one_standard_error),
        cases=FitCases(
            len(folds.rows), len(folds.rows), "folds", len(folds.rows), folds=folds.folds, repeats=len(folds.repeats)
        ),
        cost=_cost(refitted.trained(0), start),
        notes=tuple(dict.fromkeys(notes)),
    )
    return Fitted(final, OutOfFold(final, folds.rows, folds.answered, found.predictions(chosen)), record)


def _candidates(
    offers: Sequence[tuple[Family, int]], found: Ratings, extra: Sequence[dict[str, float]] | None = None
) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(family.candidates[number], found.of(offer) | (extra[offer] if extra else {}))
        for offer, (family, number) in enumerate(offers)
    )


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
