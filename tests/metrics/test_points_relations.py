"""What must hold for any cohort: relations between a number and the number of a changed cohort; and bad input."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from radapt import metrics
from radapt.errors import DataError

BY_SCORE = (metrics.auroc, metrics.average_precision)
BY_DECISION = (
    metrics.accuracy,
    metrics.balanced_accuracy,
    metrics.mcc,
    metrics.f1,
    metrics.quadratic_kappa,
)
BY_PROBABILITY = (metrics.log_loss, metrics.brier, metrics.ece)
relations = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def questions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Truth and a score on a coarse grid, so that ties are common."""
    cases = draw(st.integers(1, 25))
    truth = draw(st.lists(st.integers(0, 1), min_size=cases, max_size=cases))
    score = draw(st.lists(st.integers(0, 8), min_size=cases, max_size=cases))
    return np.array(truth), np.array(score) / 8


@st.composite
def decisions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    cases = draw(st.integers(1, 25))
    pick = st.lists(st.integers(0, 3), min_size=cases, max_size=cases)
    return np.array(draw(pick)), np.array(draw(pick))


def _same(one: np.ndarray, other: np.ndarray) -> None:
    np.testing.assert_allclose(one, other, atol=1e-12)


@relations
@given(questions(), st.randoms(use_true_random=False))
def test_the_order_of_cases_changes_nothing(question: tuple, random: object) -> None:
    truth, score = question
    order = np.random.default_rng(random.randrange(2**32)).permutation(len(truth))  # type: ignore[attr-defined]
    for metric in BY_SCORE + BY_PROBABILITY:
        _same(metric(truth[order], score[order]), metric(truth, score))


@relations
@given(questions())
def test_a_monotone_transform_keeps_what_is_said_by_order(question: tuple) -> None:
    truth, score = question
    for metric in BY_SCORE:
        _same(metric(truth, np.exp(5 * score) - 7), metric(truth, score))


@relations
@given(questions())
def test_flipping_the_score_gives_one_minus_auroc(question: tuple) -> None:
    truth, score = question
    _same(metrics.auroc(truth, -score), 1 - metrics.auroc(truth, score))
    _same(metrics.auroc(1 - truth, score), 1 - metrics.auroc(truth, score))


@relations
@given(questions())
def test_auroc_is_the_share_of_pairs_in_order(question: tuple) -> None:
    truth, score = question
    assume(0 < truth.sum() < len(truth))
    gap = score[truth == 1][:, None] - score[truth == 0][None, :]
    _same(metrics.auroc(truth, score), np.mean((gap > 0) + 0.5 * (gap == 0)))


@relations
@given(questions(), st.data())
def test_a_weight_is_a_repetition(question: tuple, data: st.DataObject) -> None:
    truth, score = question
    times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(truth), max_size=len(truth))))
    for metric in BY_SCORE + BY_PROBABILITY:
        _same(metric(truth, score, times), metric(truth.repeat(times), score.repeat(times)))


@relations
@given(decisions(), st.data())
def test_a_weight_is_a_repetition_of_a_decision(decided: tuple, data: st.DataObject) -> None:
    truth, called = decided
    times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(truth), max_size=len(truth))))
    for metric in BY_DECISION:
        _same(metric(truth, called, times), metric(truth.repeat(times), called.repeat(times)))
        _same(metric(truth, called, np.full(len(truth), 0.3)), metric(truth, called))


@relations
@given(decisions(), st.permutations(range(4)))
def test_renaming_the_classes_changes_nothing(decided: tuple, names: list[int]) -> None:
    truth, called = decided
    new = np.array(names)
    for metric in BY_DECISION[:-1]:
        _same(metric(new[truth], new[called]), metric(truth, called))
    _same(metrics.quadratic_kappa(3 - truth, 3 - called), metrics.quadratic_kappa(truth, called))


@relations
@given(decisions())
def test_ranges_and_perfection(decided: tuple) -> None:
    truth, called = decided
    for metric in BY_DECISION:
        assert not metric(truth, called) > 1
        assert np.isnan(metric(truth, truth)) or metric(truth, truth) == pytest.approx(1)
        # Undefined is decided by the truth alone.
        assert np.isnan(metric(truth, called)) == np.isnan(metric(truth, truth))


def test_auroc_and_average_precision_one_can_draw() -> None:
    #        score   .9 .8 .8 .3 .1
    truth = np.array([1, 1, 0, 0, 1])
    score = np.array([0.9, 0.8, 0.8, 0.3, 0.1])
    # Pairs: .9 beats both; .8 ties one and beats one; .1 beats none: 3.5 of 6.
    assert metrics.auroc(truth, score) == pytest.approx(3.5 / 6)
    # Precision at .9, .8, .1: 1/1, 2/3, 3/5.
    assert metrics.average_precision(truth, score) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)


def test_brier_definitions() -> None:
    assert metrics.brier(np.array([1]), np.array([0.7])) == pytest.approx(0.09)
    assert metrics.brier(np.array([1]), np.array([[0.3, 0.7]])) == pytest.approx(0.09)
    assert metrics.brier(np.array([1]), np.array([[0.2, 0.7, 0.1]])) == pytest.approx(0.04 + 0.09 + 0.01)


def test_a_probability_on_an_edge_belongs_to_the_bin_above() -> None:
    """0.2 = 3/15 and 0.23 share the bin [3/15, 4/15): their errors, -0.8 and 0.23, cancel before the absolute value."""
    truth, p = np.array([1, 0]), np.array([0.2, 0.23])
    assert metrics.reliability_bins(truth, p)["cases"].tolist() == [0, 0, 0, 2, *[0] * 11]
    assert float(metrics.ece(truth, p)) == pytest.approx((0.8 - 0.23) / 2)


def test_reliability_bins_add_up_to_the_calibration_error() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), 300)
    truth = np.array([rng.choice(4, p=row) for row in p])
    bins = metrics.reliability_bins(truth, p)
    assert len(bins) == 15
    assert bins["cases"].sum() == 300
    assert bins["stated"].isna().equals(bins["cases"] == 0)
    inside = bins.dropna()
    assert ((inside["low"] <= inside["stated"]) & (inside["stated"] <= inside["high"])).all()
    gap = (inside["stated"] - inside["observed"]).abs()
    assert (gap * inside["cases"]).sum() / 300 == pytest.approx(float(metrics.ece(truth, p)))


def test_probability_one_falls_into_the_last_bin() -> None:
    assert metrics.reliability_bins(np.array([1, 0]), np.array([1.0, 0.0]))["cases"].tolist() == [1, *[0] * 13, 1]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: metrics.auroc(np.array([0, 1]), np.array([0.1])), "equal length"),
        (lambda: metrics.auroc(np.array([0, 2]), np.array([0.1, 0.2])), "0 or 1"),
        (lambda: metrics.auroc(np.array([0.0, np.nan]), np.array([0.1, 0.2])), "0 or 1"),
        (lambda: metrics.auroc(np.array([0, 1]), np.array([0.1, np.nan])), "NaN for 1 of 2"),
        (lambda: metrics.auroc(np.array([0, 1]), np.array([0.1, 0.2]), np.ones(3)), "do not fit 2 cases"),
        (lambda: metrics.auroc(np.array([0, 1]), np.array([0.1, 0.2]), np.array([1, -1])), "not negative"),
        (lambda: metrics.mcc(np.array([0, -1]), np.array([0, 1])), "leave out unlabelled"),
        (lambda: metrics.mcc(np.array([0, 1, 1]), np.array([0, 1])), "equal length"),
        (lambda: metrics.confusion_matrix(np.array([0, 3]), np.array([0, 1]), 3), r"0 … 2"),
        (lambda: metrics.brier(np.array([0, 1]), np.array([0.1, 1.2])), r"\[0, 1\]"),
        (lambda: metrics.ece(np.array([0, 1]), np.array([0.1, np.nan])), "NaN"),
        (lambda: metrics.log_loss(np.array([0, 2]), np.array([[0.5, 0.5], [0.5, 0.5]])), "0 … 1"),
        (lambda: metrics.log_loss(np.array([0]), np.array([[0.5, 0.5], [0.5, 0.5]])), r"\(N, C\)"),
    ],
)
def test_bad_input_is_refused(call: object, says: str) -> None:
    with pytest.raises(DataError, match=says):
        call()  # type: ignore[operator]
