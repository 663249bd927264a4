"""Logistic regression against scikit-learn's optimum, on the same standardised features."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from array_matrix import ArrayMatrix
from radapt.probes import logistic_grid
from radapt.probes.logistic import DINOV2_C
from radapt.probes.logistic_grid import COMPARED, fit_logistic
from radapt.protocols.targets import Targets

GRID = (1e-4, 1e-2, 1.0, 10.0)


def _table(n: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Correlated columns of very different sizes with a large offset, as a CNN's are, and one constant."""
    mixed = rng.normal(size=(n, columns)) @ rng.normal(size=(columns, columns)) * rng.uniform(0.01, 10, columns) + 3
    mixed[:, 0] = 0.1
    return mixed.astype(np.float32)


def _oracle(x: np.ndarray, y: np.ndarray, test: np.ndarray, c: float, weight: str | None = None) -> np.ndarray:
    scaler = StandardScaler().fit(x.astype(np.float64))
    model = LogisticRegression(C=c, tol=1e-12, max_iter=1000, class_weight=weight, solver="newton-cholesky")
    model.fit(scaler.transform(x.astype(np.float64)), y)
    return model.predict_proba(scaler.transform(test.astype(np.float64)))


@pytest.mark.parametrize(("n", "columns"), [(300, 12), (40, 90)], ids=["long", "wide"])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("weight", ["none", "balanced"])
def test_classes_equal_scikit_learn(n: int, columns: int, classes: int, weight: str) -> None:
    rng = np.random.default_rng(0)
    x = _table(n + 50, columns, rng)
    y = np.minimum(rng.integers(0, classes, n) * rng.integers(0, 2, n), classes - 1)  # unequal classes
    y[:classes] = np.arange(classes)
    models = fit_logistic(ArrayMatrix(x), np.arange(n), Targets.of(y, classes, weight), GRID)
    found = models.predict(ArrayMatrix(x), np.arange(n, n + 50))
    assert models.converged.all()
    for c, probabilities in zip(GRID, found, strict=True):
        expected = _oracle(x[:n], y, x[n:], c, None if weight == "none" else weight)
        np.testing.assert_allclose(probabilities, expected, atol=1e-6)


@pytest.mark.parametrize("weight", ["none", "balanced"])
def test_each_finding_equals_scikit_learn_on_its_known_cases(weight: str) -> None:
    rng = np.random.default_rng(1)
    x = _table(250, 10, rng)
    y = (x[:200, 1:4] + rng.normal(size=(200, 3)) > np.array([3, 5, 8])).astype(float)
    y[rng.random((200, 3)) < 0.3] = np.nan
    source = ArrayMatrix(x)
    found = fit_logistic(source, np.arange(200), Targets.of(y, 3, weight), GRID).predict(source, np.arange(200, 250))
    scaler = StandardScaler().fit(x[:200].astype(np.float64))
    z = scaler.transform(x.astype(np.float64))
    for finding in range(3):
        known = np.flatnonzero(np.isfinite(y[:, finding]))
        for c, probabilities in zip(GRID, found, strict=True):
            oracle = LogisticRegression(
                C=c, tol=1e-12, max_iter=100_000, class_weight=None if weight == "none" else weight
            ).fit(z[known], y[known, finding])
            np.testing.assert_allclose(probabilities[:, finding], oracle.predict_proba(z[200:])[:, 1], atol=1e-6)


def test_the_whole_dinov2_grid_converges_on_separable_classes() -> None:
    rng = np.random.default_rng(2)
    x = _table(120, 200, rng)
    y = rng.integers(0, 3, 120)
    models = fit_logistic(ArrayMatrix(x), np.arange(120), Targets.of(y, 3), DINOV2_C)
    assert models.converged.all()
    right = models.predict(ArrayMatrix(x), np.arange(120)).argmax(-1) == y
    assert right[-1].all()


def test_a_problem_does_not_depend_on_the_others_in_its_batch() -> None:
    rng = np.random.default_rng(3)
    x, y = _table(100, 8, rng), rng.integers(0, 2, 100)
    source, rows = ArrayMatrix(x), np.arange(100)
    together = fit_logistic(source, rows, Targets.of(y, 2), GRID).predict(source, rows)
    alone = [fit_logistic(source, rows, Targets.of(y, 2), (c,)).predict(source, rows)[0] for c in GRID]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-8)


def test_no_answer_depends_on_the_size_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from radapt.protocols import feature_matrix as source

    rng = np.random.default_rng(4)
    x, rows = _table(90, 6, rng), np.arange(90)
    y = (rng.random((90, 5)) < 0.5).astype(float)
    targets = Targets.of(y, 5)
    whole = fit_logistic(ArrayMatrix(x), rows, targets, GRID).predict(ArrayMatrix(x), rows)
    monkeypatch.setattr(source, "BLOCK_VALUES", 7 * 6)
    monkeypatch.setattr(logistic_grid, "_BATCH_VALUES", 90 * 4 * 2)
    monkeypatch.setattr(logistic_grid, "_DOUBLE_BYTES", 0)  # the table in float32
    monkeypatch.setattr(logistic_grid, "_LARGEST_ROTATION", 3)  # and not turned to its axes
    parts = fit_logistic(ArrayMatrix(x), rows, targets, GRID).predict(ArrayMatrix(x), rows)
    np.testing.assert_allclose(whole, parts, atol=1e-6)


def test_what_cannot_be_learned_is_answered_with_what_is_known() -> None:
    x = np.random.default_rng(5).normal(size=(10, 3)).astype(np.float32)
    y = np.array([[0, 1, np.nan]] * 5 + [[0, 0, np.nan]] * 5)
    targets = Targets.of(y, 3)
    found = fit_logistic(ArrayMatrix(x), np.arange(10), targets, GRID).predict(ArrayMatrix(x), np.arange(4))
    assert (found[..., 0] == 1 / 12).all()
    assert (found[..., 2] == 1 / 2).all()
    assert len(np.unique(found[..., 1])) > 4
    assert len(targets.notes(("a", "b", "c"))) == 2
    classes = Targets.of(np.array([0, 3, 3, 0, 3]), 5)
    found = fit_logistic(ArrayMatrix(x), np.arange(5), classes, GRID).predict(ArrayMatrix(x), np.arange(4))
    np.testing.assert_allclose(found.sum(-1), 1)
    assert (found[..., [1, 2, 4]] == 0).all()


def test_candidates_are_compared_near_the_optimum_and_the_choice_is_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    x, y, rows = _table(60, 200, rng), rng.integers(0, 3, 60), np.arange(60)
    source, targets = ArrayMatrix(x), Targets.of(y, 3)
    solved = fit_logistic(source, rows, targets, GRID)
    compared = fit_logistic(source, rows, targets, GRID, tolerance=COMPARED)
    np.testing.assert_allclose(compared.predict(source, rows), solved.predict(source, rows), atol=1e-5)
    monkeypatch.setattr(logistic_grid, "_LARGEST_ROTATION", 3)  # the 200 columns themselves, not the span of 60 rows
    direct = fit_logistic(source, rows, targets, GRID)
    np.testing.assert_allclose(direct.weights, solved.weights, atol=1e-6)
    np.testing.assert_allclose(direct.predict(source, rows), solved.predict(source, rows), atol=1e-6)
