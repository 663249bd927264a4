"""What is added to the record of any fitted model: the decision, and where lesions were looked for."""

from dataclasses import replace
from typing import Any

import numpy as np

from radapt.protocols.decisions import fixed_decision, tuned_by, tuned_decision
from radapt.protocols.fitted import Fitted
from radapt.protocols.image_problem import ImageProblem
from radapt.protocols.out_of_fold import OutOfFold
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.protocol import Protocol
from radapt.protocols.targets import ClassWeight
from radapt.training.fit_record import Decision


def with_decision(fitted: Fitted[Any], protocol: Protocol, problem: FeatureProblem | ImageProblem) -> Fitted[Any]:
    """The same with its decision in the record, by the problem's rules; unchanged for masks.

    A model that weighed classes to equal totals has equal shares to go by. `tuned` uses predictions for labelled cases
    that the model did not learn from: out of the inner folds, or for val. Without any it is `balanced`, and says so.
    """
    if protocol.aim != "classification" or fitted.record.decision is not None:
        return fitted
    class_weight = class_weight_of(protocol)
    labels, outputs = problem.cohort.labels[_learned(fitted, problem)], len(problem.cohort.outputs)
    decision = fixed_decision(problem.rules.decision, labels, outputs, class_weight)
    if problem.rules.decision == "tuned":
        decision = _tuned(fitted, problem, decision)
    return replace(fitted, record=replace(fitted.record, decision=decision))


def class_weight_of(protocol: Protocol) -> ClassWeight:
    """How its models weigh the classes."""
    return "balanced" if protocol.settings.get("class_weight") == "balanced" else "none"


def with_look(fitted: Fitted[Any], problem: FeatureProblem | ImageProblem) -> Fitted[Any]:
    """With a note in the record of where lesions were looked for; unchanged for another look."""
    if problem.places is None:
        return fitted
    note = problem.places.note(problem.cohort.splits)
    return replace(fitted, record=replace(fitted.record, notes=(*fitted.record.notes, note)))


def _learned(fitted: Fitted[Any], problem: FeatureProblem | ImageProblem) -> np.ndarray:
    """Indices of the labelled cases that the final model learned from."""
    train, cases = problem.rows("train"), fitted.record.cases
    if cases.refit is None or cases.val_source not in ("cohort", "folds"):
        return train
    return np.sort(np.concatenate([train, problem.rows("val")]))


def _tuned(fitted: Fitted[Any], problem: FeatureProblem | ImageProblem, start: Decision) -> Decision:
    before, cases = fitted.before_refit, fitted.record.cases
    if isinstance(before, OutOfFold):
        rows, where = before.learned, "out-of-fold predictions of train and val"
    elif cases.val_source == "cohort":
        rows, where = problem.rows("val"), "val"
    else:
        return replace(start, why="balanced in place of tuned: no labelled case is left that was not learned from")
    metric = tuned_by(problem.rules.metric(problem.cohort))
    why = f"tuned for {metric.title} on {where}"
    return tuned_decision(metric, problem.cohort.labels[rows], before.predict(rows), start, problem.cohort.task, why)
