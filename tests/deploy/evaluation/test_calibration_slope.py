"""Slope and intercept: what was done to the probabilities comes back."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from radapt.deploy.evaluation.calibration_slope import slope_and_intercepts


def drawn(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = log_softmax(rng.normal(scale=1.5, size=(n, 3)), axis=1)
    return logits, (softmax(logits, axis=1).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)


def test_right_probabilities_have_slope_one_and_no_intercept() -> None:
    logits, truths = drawn(500)
    slope, intercepts = slope_and_intercepts(softmax(logits, axis=1), truths, np.arange(500), np.random.default_rng(0))
    assert slope.low < 1 < slope.high
    assert slope.value == pytest.approx(1, abs=0.2)
    assert max(abs(each.value) for each in intercepts) < 0.4


def test_too_sure_probabilities_have_a_slope_below_one() -> None:
    logits, truths = drawn(400)
    slope, _ = slope_and_intercepts(softmax(3 * logits, axis=1), truths, np.arange(400), np.random.default_rng(0))
    assert slope.value == pytest.approx(1 / 3, abs=0.08)
    assert slope.high < 0.5


def test_a_class_given_too_little_has_a_positive_intercept() -> None:
    logits, truths = drawn(500)
    shift = np.array([-1.0, 0.5, 0.5])
    _, found = slope_and_intercepts(softmax(logits + shift, axis=1), truths, np.arange(500), np.random.default_rng(0))
    assert [each.value for each in found] == pytest.approx((-shift).tolist(), abs=0.35)
    assert found[0].low > 0.5


def test_copies_of_a_patient_change_no_value() -> None:
    logits, truths = drawn(100)
    again = np.concatenate([np.arange(100), np.repeat(3, 30)])
    p = softmax(logits, axis=1)
    once, _ = slope_and_intercepts(p, truths, np.arange(100), np.random.default_rng(0))
    often, _ = slope_and_intercepts(p[again], truths[again], again, np.random.default_rng(0))
    assert often.value == pytest.approx(once.value, rel=1e-6)


def test_one_class_alone_has_no_slope() -> None:
    logits, _ = drawn(20)
    found, intercepts = slope_and_intercepts(
        softmax(logits, axis=1), np.zeros(20, dtype=int), np.arange(20), np.random.default_rng(0)
    )
    assert np.isnan(found.value)
    assert np.isnan([each.value for each in intercepts]).all()
