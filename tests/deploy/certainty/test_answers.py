"""The set of findings, and how a page shows it."""

import numpy as np
import pytest

from radapt.deploy.certainty.answers import Abstention
from radapt.reports import shown_rows


@pytest.mark.parametrize(
    ("absent", "present", "members", "shown"),
    [
        (False, True, ("effusion",), "yes"),
        (True, False, (), "no"),
        (True, True, ("effusion?",), "open"),
        (False, False, ("effusion?",), "open"),  # neither fits: as open as where both do
    ],
)
def test_a_finding_is_present_absent_or_open(absent: bool, present: bool, members: tuple[str, ...], shown: str) -> None:
    abstention = Abstention(("effusion",), True, 0.9, 0.05)
    assert abstention.members(np.array([[absent, present]])) == members
    (row,) = shown_rows(["effusion"], {"effusion": 0.4}, None, set(), set(members))
    assert row.inside == shown


def test_without_a_set_nothing_is_said_of_it() -> None:
    (row,) = shown_rows(["effusion"], {"effusion": 0.4}, None, {"effusion"}, None)
    assert (row.inside, row.predicted) == (None, True)


ONE, TWO = Abstention(("benign", "malignant"), False, 0.9, 0.05), Abstention(("effusion", "nodule"), True, 0.9, 0.05)
SURE = 1.0
"""A p-value at which nothing is refused."""


@pytest.mark.parametrize(
    ("inside", "decided", "abstains", "reason"),
    [
        ([True, False], 0, False, ""),
        ([True, False], 1, True, "The decision is malignant, but only benign remains possible at 90 % coverage."),
        ([True, True], 1, True, "benign and malignant remain possible at 90 % coverage."),
    ],
)
def test_the_model_abstains_unless_the_set_is_the_decided_class(
    inside: list[bool], decided: int, abstains: bool, reason: str
) -> None:
    """A decision that weighs classes can be for one that the set leaves out."""
    assert ONE.judge(np.array(inside), np.int64(decided), SURE, True, ["t1"]) == (abstains, reason)


def test_a_finding_decided_against_its_set_is_open() -> None:
    absent, present = [True, False], [False, True]
    assert TWO.judge(np.array([absent, present]), np.array([0, 1]), SURE, True, []) == (False, "")
    one = TWO.judge(np.array([absent, present]), np.array([1, 1]), SURE, True, [])
    assert one == (False, "Decided, but excluded at 90 % coverage: effusion (present).")
    both = TWO.judge(np.array([absent, [True, True]]), np.array([1, 1]), SURE, True, [])
    assert both == (True, "Open at 90 % coverage: nodule. Decided, but excluded at 90 % coverage: effusion (present).")
