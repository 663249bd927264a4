"""The record of an adaptation: what was chosen for its classifier, on which cases, and what training cost."""

from collections.abc import Sequence

from radapt.mmdino.regression import ClassifierChoice
from radapt.training import TrainResult
from radapt.training.fit_record import Candidate, Cost, FitCases, FitRecord


def adaptation_record(
    choice: ClassifierChoice | None, classifier: str | None, train: int, val: int, trained: TrainResult,
    notes: Sequence[str],
) -> FitRecord:  # fmt: skip
    """`choice` is that of a logistic regression; None where nothing was to be chosen for the `classifier`, or where
    there is none. Learned from `train` cases; `val` cases were held out for the choice."""
    candidates: tuple[Candidate, ...] = (Candidate({"classifier": classifier}),)
    chosen = 0
    criterion = "there was nothing to choose: the classifier is the head that was trained"
    if classifier is None:
        criterion = "there was nothing to choose: there is no classifier"
    if choice is not None:
        candidates, chosen = choice.candidates, choice.chosen
        criterion = "log-loss on val" if val else "no case to choose on, so the default strength was taken"
    return FitRecord(
        candidates=candidates,
        chosen=chosen,
        criterion=criterion,
        cases=FitCases(train, val, "cohort" if val else "none"),
        cost=_cost(trained),
        history=tuple(trained.history),
        notes=tuple(notes),
    )


def _cost(trained: TrainResult) -> Cost:
    """Of the student, with its heads: the teacher is a copy of what is trained, and not part of what answers."""
    live = max(trained.parameters - trained.trained_parameters, trained.trained_parameters)
    return Cost(trained.trained_parameters, live, trained.peak_memory_mb, trained.seconds)
