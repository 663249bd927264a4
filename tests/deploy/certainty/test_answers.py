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
