"""Accuracy against refusal: cases that can be drawn, an oracle, and ties."""

import numpy as np
import pytest

from radapt.errors import DataError
from radapt.metrics.refusal import gain_share, refusal_curve


def test_a_curve_that_can_be_drawn() -> None:
    """Four cases, one error, which is the second most uncertain."""
    curve = refusal_curve(np.array([1, 0, 1, 1]), np.array([0.9, 0.8, 0.2, 0.1]), np.arange(4))
    assert curve["refused"].tolist() == [0, 0.25, 0.5, 0.75]
    assert curve["accuracy"].to_numpy() == pytest.approx([3 / 4, 2 / 3, 1, 1])
    assert curve["oracle"].to_numpy() == pytest.approx([3 / 4, 1, 1, 1])
    assert (curve["random"] == 0.75).all()


def test_refusing_errors_first_is_the_whole_gain() -> None:
    correct = np.arange(100) >= 30
    assert gain_share(correct, 1.0 - correct, np.arange(100)) == pytest.approx(1)
    assert gain_share(correct, 1.0 * correct, np.arange(100)) < -0.2
    assert gain_share(correct, np.zeros(100), np.arange(100)) == pytest.approx(0, abs=1e-12)


def test_an_oracle_gains_nothing_without_errors() -> None:
    assert np.isnan(gain_share(np.ones(10), np.arange(10), np.arange(10)))


def test_ties_do_not_depend_on_the_order_of_cases() -> None:
    rng = np.random.default_rng(0)
    correct, uncertainty = rng.integers(0, 2, 60), rng.integers(0, 4, 60)
    order = rng.permutation(60)
    one = gain_share(correct, uncertainty, np.arange(60), 0.33)
    two = gain_share(correct[order], uncertainty[order], np.arange(60), 0.33)
    assert one == pytest.approx(two, abs=1e-12)


def test_cases_of_a_patient_share_the_weight_of_one() -> None:
    curve = refusal_curve(np.array([0, 0, 1]), np.array([0.9, 0.8, 0.1]), np.array(["a", "a", "b"]))
    assert curve["refused"].tolist() == [0, 0.25, 0.5]
    assert curve["accuracy"].to_numpy() == pytest.approx([0.5, 0.5 / 0.75, 1])


@pytest.mark.parametrize(
    ("correct", "uncertainty", "patients"),
    [([], [], []), ([1, 2], [0, 0], [0, 1]), ([1, 0], [0, np.nan], [0, 1]), ([1, 0], [0], [0, 1])],
)
def test_what_is_no_curve_is_refused(correct: list, uncertainty: list, patients: list) -> None:
    with pytest.raises(DataError):
        refusal_curve(np.array(correct), np.array(uncertainty, dtype=float), np.array(patients))
    for refused in (0, 1):
        with pytest.raises(DataError, match="between 0 and 1"):
            gain_share(np.ones(2), np.zeros(2), np.arange(2), refused)
