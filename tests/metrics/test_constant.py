"""When a classifier is said to answer the same for everybody."""

from typing import Any

import pandas as pd
import pytest

from radapt.metrics.constant import constant_answer

PATIENTS = ["p0", "p1", "p2", "p3"]
MIXED, ALIKE = [1, 0, 1, 0], [1, 1, 1, 1]


def table(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"patient": PATIENTS, **columns})


@pytest.mark.parametrize(
    ("decision", "truth", "said"),
    [
        (["ill"] * 4, ["ill", "well", "ill", None], "answers ill for every patient"),
        (["ill"] * 4, ["ill", "ill", "ill", None], None),  # the only truth there is
        (["ill", "ill", "ill", "well"], ["ill", "well", "ill", "well"], None),
        (["ill", "ill", "ill", "well"], ["ill"] * 4, None),
    ],
)
def test_one_class_for_everybody_is_said_unless_it_may_be_right(
    decision: list[str], truth: list[str | None], said: str | None
) -> None:
    assert constant_answer(table(decision=decision, truth=truth)) == said


def test_without_truth_one_class_is_said_too() -> None:
    assert constant_answer(table(decision=["ill"] * 4)) == "answers ill for every patient"


@pytest.mark.parametrize(
    "predictions",
    [
        table(decision=["ill"] * 4).assign(patient="p0"),  # one patient
        table(decision=["ill"] * 4).drop(columns="patient"),
        table(p_ill=[0.5] * 4),  # no decisions
    ],
)
def test_nothing_is_said_without_two_patients_and_decisions(predictions: pd.DataFrame) -> None:
    assert constant_answer(predictions) is None


def test_findings_are_named_if_more_than_half_are_alike() -> None:
    columns = {"decision_mass": ALIKE, "decision_fluid": [0] * 4, "decision_nodule": MIXED}
    truths = {f"truth_{name}": MIXED for name in ("mass", "fluid", "nodule")}
    assert constant_answer(table(**columns, **truths)) == "answers mass present, fluid absent for every patient"
    assert constant_answer(table(**columns, decision_scar=MIXED, **truths)) is None  # two of four
    assert constant_answer(table(**columns, **truths | {"truth_mass": ALIKE})) is None  # mass may be right
