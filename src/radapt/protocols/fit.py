"""Fitting a protocol by the rules of a study: the fit, its score inside training, its decision, where it looked."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from radapt.cohorts.cohort import Cohort
from radapt.cohorts.folds import OUT_OF_FOLD
from radapt.protocols.choice import NETWORK_FOLDS
from radapt.protocols.final_decision import with_decision, with_look
from radapt.protocols.fitted import Fitted
from radapt.protocols.holdout import blank_test_labels
from radapt.protocols.image_problem import ImageProblem
from radapt.protocols.out_of_fold import OutOfFold
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.protocol import Protocol
from radapt.protocols.targets import ClassWeight
from radapt.training.fit_record import Cost, FitCases

Problem = FeatureProblem | ImageProblem


def fit(protocol: Protocol[Any], problem: Problem, rng: np.random.Generator) -> Fitted[Any]:
    """Fit `protocol` on the problem and complete the record by its rules. Raises what the protocol raises."""
    fitted = protocol.fit(problem, rng)
    if _lacks_score(protocol, fitted, problem):
        fitted = _scored(protocol, fitted, problem, rng)
    return with_look(with_decision(fitted, protocol, problem), problem)


def _lacks_score(protocol: Protocol[Any], fitted: Fitted[Any], problem: Problem) -> bool:
    """Whether it chose nothing inside training, where others choose by inner folds, and is to be scored all the
    same."""
    if problem.rules.inner_scores != "all" or protocol.aim != "classification" or problem.method != "cv":
        return False
    return fitted.record.cases.val_source == "none"


def _scored(protocol: Protocol[Any], fitted: Fitted[Any], problem: Problem, rng: np.random.Generator) -> Fitted[Any]:
    """The same with a score out of `NETWORK_FOLDS` inner folds, for each of which it is fitted again without the labels
    and masks of its patients."""
    again = _fitted_again(protocol, problem, rng)
    labels, record = problem.cohort.labels, fitted.record
    place = np.searchsorted(again.rows, again.learned)
    class_weight: ClassWeight = "balanced" if protocol.settings.get("class_weight") == "balanced" else "none"
    rater = problem.rater(class_weight)
    scores = rater.rate(labels[again.learned], again.probabilities[None, place], labels[again.learned]).of(0)
    candidates = list(record.candidates)
    candidates[record.chosen] = replace(record.winner, val=scores)
    metric = rater.metric
    note = (
        f"Nothing was chosen. To be compared it was fitted again on {again.words}: {metric.title} "
        f"{scores[metric.name]:.3f} out of fold. What is shown for val is out of fold too."
    )
    cases = FitCases(record.cases.train, len(again.learned), "folds", record.cases.refit, folds=again.folds, repeats=1)
    record = replace(
        record, candidates=tuple(candidates), cases=cases, notes=(*record.notes, note),
        cost=Cost.total([record.cost, *again.costs]),
    )  # fmt: skip
    before = OutOfFold(fitted.final, again.learned, again.rows, again.probabilities)
    return replace(fitted, before_refit=before, record=record)


@dataclass(frozen=True, eq=False)
class _Again:
    """Answers (n, outputs) for the cases at `rows` (n,), ascending, each by a model that had not learned from its
    patient; the labelled ones are `learned`."""

    rows: np.ndarray
    probabilities: np.ndarray
    learned: np.ndarray
    words: str
    folds: int
    costs: tuple[Cost, ...]


def _fitted_again(protocol: Protocol[Any], problem: Problem, rng: np.random.Generator) -> _Again:
    drawing, fitting = rng.spawn(2)
    folds = problem.inner_folds(NETWORK_FOLDS, drawing, repeats=1)
    rows, costs = folds.answered, []
    found = np.empty((len(rows), len(problem.cohort.outputs)))
    for number, (fold, own) in enumerate(zip(folds.repeats[0], fitting.spawn(folds.folds), strict=True)):
        part = _without(problem, set(problem.cohort.patients[fold.held_out]), number)
        inner = protocol.fit(part, own)
        found[np.searchsorted(rows, fold.held_out)] = inner.final.predict(fold.held_out)
        costs.append(inner.record.cost)
    return _Again(rows, found, folds.rows, folds.words, folds.folds, tuple(costs))


def _without(problem: Problem, patients: set[str], number: int) -> Problem:
    """The problem in which these patients are a test set, with a folder of its own for what training keeps."""
    cohort = _tested(problem.cohort, patients)
    if isinstance(problem, FeatureProblem):
        return replace(problem, features=replace(problem.features, cohort=cohort))
    kept = problem.machine.checkpoints
    machine = replace(problem.machine, folder=None if kept is None else kept / f"inner-{number}")
    return replace(problem, cohort=cohort, machine=machine)


def _tested(cohort: Cohort, patients: set[str]) -> Cohort:
    cases = tuple(replace(case, split=OUT_OF_FOLD) if case.patient in patients else case for case in cohort)
    return blank_test_labels(replace(cohort, cases=cases))
