"""Fitting a protocol by the rules of a study: the fit, its score inside training, its decision, where it looked."""

from dataclasses import replace
from typing import Any

import numpy as np

from radapt.cohorts.cohort import Cohort
from radapt.cohorts.folds import OUT_OF_FOLD
from radapt.protocols.choice import NETWORK_FOLDS
from radapt.protocols.final_decision import class_weight_of, with_decision, with_look
from radapt.protocols.fitted import Fitted
from radapt.protocols.holdout import blank_test_labels
from radapt.protocols.image_problem import ImageProblem
from radapt.protocols.out_of_fold import OutOfFold
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.protocol import Protocol
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
    drawing, fitting = rng.spawn(2)
    folds = problem.inner_folds(NETWORK_FOLDS, drawing, repeats=1)
    rows, learned, costs = folds.answered, folds.rows, [fitted.record.cost]
    found = np.empty((len(rows), len(problem.cohort.outputs)))
    for number, (fold, own) in enumerate(zip(folds.repeats[0], fitting.spawn(folds.folds), strict=True)):
        inner = protocol.fit(_without(problem, set(problem.cohort.patients[fold.held_out]), number), own)
        found[np.searchsorted(rows, fold.held_out)] = inner.final.predict(fold.held_out)
        costs.append(inner.record.cost)
    before, record = OutOfFold(fitted.final, learned, rows, found), fitted.record
    labels, rater = problem.cohort.labels[learned], problem.rater(class_weight_of(protocol))
    scores = rater.rate(labels, before.predict(learned)[None], labels).of(0)
    candidates = list(record.candidates)
    candidates[record.chosen] = replace(record.winner, val=scores)
    note = (
        f"Nothing was chosen. To be compared it was fitted again on {folds.words}: {rater.metric.title} "
        f"{scores[rater.metric.name]:.3f} out of fold. What is shown for val is out of fold too."
    )
    cases = FitCases(record.cases.train, len(learned), "folds", record.cases.refit, folds=folds.folds, repeats=1)
    record = replace(
        record, candidates=tuple(candidates), cases=cases, notes=(*record.notes, note), cost=Cost.total(costs)
    )
    return replace(fitted, before_refit=before, record=record)


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
