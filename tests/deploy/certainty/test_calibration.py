"""Calibration maps: the parameters that made the outcomes come back, and are chosen only where they help."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from radapt.deploy.certainty.calibration import Calibration, as_columns, log_probabilities
from radapt.deploy.certainty.choose_calibration import calibrate, folds_by_patient
from radapt.deploy.certainty.fit_calibration import Candidate, Outcomes, fit_map, inverse_temperature


def drawn(n: int, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated logits (n, C), and class indices drawn from them."""
    rng = np.random.default_rng(seed)
    logits = log_softmax(rng.normal(scale=1.5, size=(n, classes)), axis=1)
    return logits, (softmax(logits, axis=1).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)


def outcomes_of(logits: np.ndarray, truths: np.ndarray) -> Outcomes:
    return Outcomes(log_probabilities(softmax(logits, axis=1)), truths, np.ones(len(truths)))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_applied_comes_back(temperature: float) -> None:
    logits, truths = drawn(4000)
    assert 1 / inverse_temperature(outcomes_of(logits * temperature, truths)) == pytest.approx(temperature, rel=0.06)


@pytest.mark.parametrize("cases", [6, 300])  # the prior weighs much in the former
def test_temperature_agrees_with_a_grid(cases: int) -> None:
    logits, truths = drawn(cases)
    outcomes = outcomes_of(logits * 2, truths)
    factors = np.linspace(0.2, 2, 1801)
    scaled = log_softmax(factors[:, None, None] * outcomes.logs, axis=2)
    loss = -scaled[:, np.arange(cases), truths].sum(axis=1) + np.log(factors) ** 2 / 2
    assert inverse_temperature(outcomes) == pytest.approx(factors[loss.argmin()], abs=1e-3)


def test_predictions_that_are_all_right_keep_a_finite_temperature() -> None:
    truths = np.arange(60) % 3
    logits = 2.0 * np.eye(3)[truths]
    assert 1 / 10 < 1 / inverse_temperature(outcomes_of(logits, truths)) < 1


def test_platt_scaling_agrees_with_scikit_learn() -> None:
    logits, truths = drawn(500, classes=2)
    probabilities = softmax(logits * 2 + np.array([0.0, 1.0]), axis=1)
    outcomes = Outcomes(log_probabilities(probabilities), truths, np.ones(500))
    matrix, bias = fit_map(Candidate("bias", 1e-9), outcomes, inverse_temperature(outcomes))
    log_odds = np.log(probabilities[:, 1] / probabilities[:, 0])
    oracle = LogisticRegression(C=np.inf, tol=1e-10).fit(log_odds[:, None], truths)
    assert matrix[0, 0] == pytest.approx(oracle.coef_[0, 0], rel=1e-3)
    assert bias[1] - bias[0] == pytest.approx(oracle.intercept_[0], rel=1e-3)
    assert np.array_equal(matrix, matrix[0, 0] * np.eye(2))


def test_dirichlet_agrees_with_scikit_learn() -> None:
    logits, truths = drawn(400)
    outcomes = outcomes_of(logits * np.array([1.0, 2.0, 0.5]) + np.array([0.0, 1.0, -1.0]), truths)
    matrix, bias = fit_map(Candidate("dirichlet", 1e-9), outcomes, 1.0)
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(outcomes.logs, truths)
    ours = softmax(outcomes.logs @ matrix.T + bias, axis=1)
    assert np.allclose(ours, oracle.predict_proba(outcomes.logs), atol=1e-3)


@pytest.mark.parametrize("kind", ["bias", "vector", "dirichlet"])
def test_the_gradient_is_that_of_the_loss(kind: str) -> None:
    """A wrong gradient stops L-BFGS early: no small change of the parameters may lower the loss."""
    logits, truths = drawn(200)
    outcomes = outcomes_of(logits * 2, truths)
    inverse, ridge = inverse_temperature(outcomes), 0.1
    matrix, bias = fit_map(Candidate(kind, ridge), outcomes, inverse)  # type: ignore[arg-type]

    def objective(matrix: np.ndarray, bias: np.ndarray) -> float:
        found = log_softmax(outcomes.logs @ matrix.T + bias, axis=1)[np.arange(200), truths]
        added = matrix - inverse * np.eye(3)
        values = np.diag(added)[:1] if kind == "bias" else added
        return -found.mean() + ridge / 2 * ((values**2).sum() + (bias**2).sum())

    least = objective(matrix, bias)
    for place in range(3):
        step = np.zeros(3)
        step[place] = 0.01
        assert min(objective(matrix, bias + step), objective(matrix, bias - step)) > least
    step = 0.01 * np.eye(3)
    assert min(objective(matrix + step, bias), objective(matrix - step, bias)) > least


def test_a_temperature_is_enough_where_it_is_the_truth() -> None:
    logits, truths = drawn(400, seed=1)
    found = calibrate(softmax(logits * 2, axis=1), truths, np.arange(400), np.random.default_rng(0)).calibration
    assert found.kind == "temperature"
    assert found.temperature == pytest.approx(2, rel=0.2)
    assert found.loss_after < found.loss_before


def test_more_is_taken_where_it_helps() -> None:
    logits, truths = drawn(600)
    shifted = softmax(logits + np.array([0.0, 2.0, -2.0]), axis=1)
    found = calibrate(shifted, truths, np.arange(600), np.random.default_rng(0)).calibration
    assert found.kind in ("bias", "vector", "dirichlet")
    assert np.abs(found.apply(shifted) - softmax(logits, axis=1)).mean() < 0.03


def test_out_of_fold_probabilities_do_not_know_their_patient() -> None:
    """Changing the truth of one patient changes the map, and not what it is said to be calibrated to."""
    logits, truths = drawn(100, classes=2)
    units, given = np.arange(100) // 2, softmax(logits * 3, axis=1)
    truths = truths[units * 2]
    other = np.where(units == 7, 1 - truths, truths)
    folds = folds_by_patient(units, truths, 5, np.random.default_rng(0))
    assert all(len(set(folds[units == unit])) == 1 for unit in range(50))
    one = calibrate(given, truths, units, np.random.default_rng(0))
    two = calibrate(given, other, units, np.random.default_rng(0))
    assert one.calibration.temperature != two.calibration.temperature
    if (folds_by_patient(units, other, 5, np.random.default_rng(0)) == folds).all():
        assert np.array_equal(one.out_of_fold[units == 7], two.out_of_fold[units == 7])


def test_cases_of_a_patient_count_once() -> None:
    logits, truths = drawn(80)
    given = softmax(logits * 2, axis=1)
    again = np.concatenate([np.arange(80), np.repeat(3, 40)])
    once = calibrate(given, truths, np.arange(80), np.random.default_rng(0)).calibration
    often = calibrate(given[again], truths[again], again, np.random.default_rng(0)).calibration
    assert often.matrix[0, 0] == pytest.approx(once.matrix[0, 0], rel=1e-6)
    assert often.patients == 80


def test_too_few_patients_or_one_class_change_nothing() -> None:
    given = softmax(drawn(30)[0], axis=1)
    few = calibrate(given[:19], np.arange(19) % 3, np.arange(19), np.random.default_rng(0))
    assert few.calibration.kind == "identity"
    assert "19 patients" in few.calibration.why
    same = calibrate(given, np.zeros(30, dtype=int), np.arange(30), np.random.default_rng(0))
    assert same.calibration.kind == "identity"
    assert "the same class" in same.calibration.why
    assert np.array_equal(same.calibration.apply(given), given)
    none = calibrate(given[:0], np.zeros(0, dtype=int), np.zeros(0), np.random.default_rng(0))
    assert none.calibration.kind == "identity"
    assert np.isnan(none.calibration.loss_before)


def test_a_rare_class_allows_a_temperature_only() -> None:
    logits, truths = drawn(100)
    truths = np.where(truths == 2, 0, truths)
    truths[:4] = 2
    found = calibrate(softmax(logits, axis=1), truths, np.arange(100), np.random.default_rng(0)).calibration
    assert found.kind == "temperature"
    assert "4 patients, 5 are needed" in found.why


def test_certain_probabilities_stay_finite() -> None:
    given = as_columns(np.array([0.0, 1.0, 0.5]))
    applied = Calibration("temperature", 2 * np.eye(2), np.zeros(2), "").apply(given)
    assert np.isfinite(applied).all()
    assert applied[:, 1] == pytest.approx([0, 1, 0.5], abs=1e-6)


def test_json_brings_back_an_equal_map() -> None:
    logits, truths = drawn(100)
    given = softmax(logits * 2, axis=1)
    found = calibrate(given, truths, np.arange(100), np.random.default_rng(0)).calibration
    assert np.array_equal(Calibration.from_json(found.to_json()).apply(given), found.apply(given))
    with pytest.raises(ValueError, match="shape"):
        Calibration.from_json({**found.to_json(), "matrix": [[1.0]]})
