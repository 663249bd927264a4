"""What is added to every record: a decision by the cases that were learned from, and where lesions were looked for."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from radapt.metrics.registry import METRICS
from radapt.protocols.final_decision import class_weight_of, with_decision, with_look
from radapt.protocols.fitted import Fitted, Model
from radapt.protocols.out_of_fold import OutOfFold
from radapt.training.fit_record import Candidate, Cost, Decision, FitCases, FitRecord

# Six patients of train, one of class 1; four of val, half of class 1; two of test, whose labels nothing may see.
SPLITS = np.array(["train"] * 6 + ["val"] * 4 + ["test"] * 2)
LABELS = np.array([1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1])
PROBABILITIES = np.linspace(0.05, 0.6, 12)


class Stored(Model):
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return np.stack([1 - PROBABILITIES[rows], PROBABILITIES[rows]], axis=1)


def problem(rule: str, **more: Any) -> Any:
    cohort = SimpleNamespace(labels=LABELS, outputs=("a", "b"), task="binary", splits=SPLITS)
    rules = SimpleNamespace(decision=rule, metric=lambda given: METRICS["mcc"] if given is cohort else None)

    def rows(split: str) -> np.ndarray:
        return np.flatnonzero(split == SPLITS)[::-1]  # in no order

    return SimpleNamespace(cohort=cohort, rules=rules, rows=rows, places=None, **more)


def protocol(aim: str = "classification", **settings: Any) -> Any:
    return SimpleNamespace(aim=aim, settings=settings)


def fitted(
    source: Any = "cohort", refit: int | None = None, before: Model | None = None, decision: Decision | None = None
) -> Fitted[Any]:
    record = FitRecord(
        candidates=(Candidate({}),), chosen=0, criterion="none", cases=FitCases(6, 4, source, refit),
        cost=Cost(1, 1, 1.0, 1.0), notes=("first",), decision=decision,
    )  # fmt: skip
    return Fitted(Stored(), before or Stored(), record)


def made(rule: str, given: Fitted[Any], **settings: Any) -> Decision:
    found = with_decision(given, protocol(**settings), problem(rule)).record.decision
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("source", "refit", "share"),
    [
        ("cohort", None, 1 / 6),  # val was chosen on, not learned from
        ("cohort", 10, 3 / 10),
        ("folds", 10, 3 / 10),
        ("train", 6, 1 / 6),  # a part of train was set aside, and joined again
    ],
)
def test_shares_are_those_of_the_cases_that_were_learned_from(source: Any, refit: int | None, share: float) -> None:
    decision = made("balanced", fitted(source, refit))
    np.testing.assert_allclose(decision.weights, [1 / (1 - share) / 2, 1 / share / 2])
    assert decision.rule == "balanced"


def test_a_model_that_weighed_classes_has_equal_shares() -> None:
    assert made("balanced", fitted(), class_weight="balanced").weights == (1.0, 1.0)
    assert made("auto", fitted(), class_weight="balanced").rule == "argmax"
    assert made("auto", fitted(), class_weight="none").rule == "balanced"
    assert class_weight_of(protocol(class_weight="balanced")) == "balanced"
    assert class_weight_of(protocol(class_weight="none")) == "none"
    assert class_weight_of(protocol()) == "none"


def test_masks_and_a_decision_that_is_there_are_left_alone() -> None:
    given = fitted()
    assert with_decision(given, protocol("segmentation"), problem("balanced")) is given
    own = fitted(decision=Decision("argmax", "mine", (1.0, 1.0)))
    assert with_decision(own, protocol(), problem("balanced")) is own


def test_tuned_on_val_sees_val_alone() -> None:
    decision = made("tuned", fitted("cohort"))
    assert (decision.rule, decision.why) == ("tuned", f"tuned for {METRICS['mcc'].title} on val")
    # Val: class 1 at 0.35 and 0.40, class 0 at 0.45 and 0.50; MCC is largest, 0, where all are alike, or undefined.
    assert len(decision.weights) == 2


def test_tuned_out_of_fold_sees_what_was_learned() -> None:
    learned = np.arange(10)
    right = np.where(LABELS[learned] == 1, 0.3, 0.2)
    stored = OutOfFold(Stored(), learned, learned, np.stack([1 - right, right], axis=1))
    decision = made("tuned", fitted("folds", 10, stored))
    assert decision.why == f"tuned for {METRICS['mcc'].title} on out-of-fold predictions of train and val"
    threshold = decision.weights[0]
    assert 0.2 <= threshold < 0.3  # between the classes out of fold, which the final model does not separate
    assert decision.weights[1] == pytest.approx(1 - threshold)


@pytest.mark.parametrize("source", ["train", "none"])
def test_without_a_case_that_was_not_learned_from_tuned_is_balanced(source: Any) -> None:
    decision = made("tuned", fitted(source))
    balanced = made("balanced", fitted(source))
    assert (decision.rule, decision.weights) == ("balanced", balanced.weights)
    assert decision.why == "balanced in place of tuned: no labelled case is left that was not learned from"


def test_a_note_says_where_lesions_were_looked_for() -> None:
    given = fitted()
    assert with_look(given, problem("auto")) is given
    asked = problem("auto")
    asked.places = SimpleNamespace(note=lambda splits: f"of {len(splits)} cases")
    assert with_look(given, asked).record.notes == ("first", "of 12 cases")
