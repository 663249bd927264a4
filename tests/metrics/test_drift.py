"""Drift between two groups of patients: SciPy is the oracle in one dimension, and p-values are right by chance."""

import numpy as np
import pytest
from scipy.stats import energy_distance, kstwobign

from radapt.errors import DataError
from radapt.metrics import drift
from radapt.metrics.drift import category_test, energy_test, levels, number_test


def test_the_coefficient_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=40), rng.normal(1, 2, 25)
    scale = first.std()
    between = np.abs(first[:, None] - second).mean() / scale
    found, _ = energy_test(first[:, None], second[:, None], rng, permutations=9)
    assert found == pytest.approx(energy_distance(first / scale, second / scale) ** 2 / (2 * between))


def test_equal_groups_are_found_different_as_rarely_as_stated() -> None:
    rng = np.random.default_rng(0)
    p = [energy_test(rng.normal(size=(30, 3)), rng.normal(size=(20, 3)), rng, 99)[1] for _ in range(200)]
    assert 0.01 < np.mean(np.array(p) <= 0.05) < 0.1
    assert 0.4 < np.mean(p) < 0.6


def test_a_shift_and_another_spread_are_found() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(60, 5))
    for other in (rng.normal(1, 1, (60, 5)), rng.normal(0, 3, (60, 5))):
        found, p = energy_test(base, other, rng)
        assert p == pytest.approx(1 / 1000)
        assert 0.03 < found < 1


def test_the_scale_of_a_column_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(30, 2)), rng.normal(0.5, 1, (30, 2))
    factor = np.array([1000.0, 0.001])
    one = energy_test(first, second, np.random.default_rng(1))
    two = energy_test(first * factor, second * factor, np.random.default_rng(1))
    assert one == pytest.approx(two)


def test_degenerate_groups() -> None:
    rng = np.random.default_rng(0)
    assert np.isnan(energy_test(np.zeros((1, 2)), np.zeros((5, 2)), rng)).all()
    assert energy_test(np.ones((5, 2)), np.ones((5, 2)), rng) == (0, 1)
    with pytest.raises(DataError, match="NaN"):
        energy_test(np.full((3, 2), np.nan), np.ones((3, 2)), rng)
    for first, second in (((3, 2), (3, 1)), ((3,), (3, 1)), ((3, 1), (3,))):
        with pytest.raises(DataError, match="expected"):
            energy_test(np.ones(first), np.ones(second), rng)


def test_numbers_and_categories() -> None:
    rng = np.random.default_rng(0)
    ages = rng.normal(50, 10, 100)
    known = np.quantile(ages, levels(20))
    assert number_test(known, 100, rng.normal(60, 10, 100))[1] < 0.001
    assert number_test(known, 100, np.append(rng.normal(50, 10, 100), np.nan))[1] > 0.05
    assert np.isnan(number_test(known, 100, np.array([np.nan]))).all()
    p = [number_test(np.quantile(rng.normal(size=80), levels(20)), 80, rng.normal(size=60))[1] for _ in range(200)]
    assert np.mean(np.array(p) <= 0.05) < 0.1
    assert category_test([50, 50, 0], [90, 10, 0]) == (pytest.approx(0.4), pytest.approx(0, abs=1e-6))
    assert category_test([5, 0], [9, 0]) == (0, 1)
    assert np.isnan(category_test([0, 0], [1, 2])).all()


@pytest.mark.parametrize("value", [0.0, 5.0])
def test_a_value_beyond_all_quantiles_differs_by_all_but_the_open_tail(value: float) -> None:
    found, p = number_test([1, 2, 3, 4], 50, np.array([value]))
    assert found == pytest.approx(1 - 1 / 8)
    assert p == pytest.approx(kstwobign.sf(found * np.sqrt(50 / 51)))


def test_large_groups_are_represented_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(300, 2)), rng.normal(1, 1, (300, 2))
    whole, _ = energy_test(first, second, rng, permutations=9)
    monkeypatch.setattr(drift, "MOST", 200)
    sampled, p = energy_test(first, second, rng, permutations=99)
    assert sampled != whole
    assert sampled == pytest.approx(whole, rel=0.3)
    assert p == pytest.approx(0.01)
