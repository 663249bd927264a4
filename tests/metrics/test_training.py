"""Training runs beside patients: the parts of the variance, and a difference over other runs."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t, ttest_ind

from radapt.errors import DataError
from radapt.metrics.comparison import Difference, over_training, variance_parts


def simulated(rng: np.random.Generator, runs: int, *, patients: int, sd_run: float, sd_cross: float) -> tuple:
    """Means over patients of run + patient + run × patient, and their replicates."""
    table = (
        sd_run * rng.normal(size=(runs, 1)) + rng.normal(size=patients) + sd_cross * rng.normal(size=(runs, patients))
    )
    times = rng.multinomial(patients, np.full(patients, 1 / patients), size=400)
    return table.mean(axis=1), table @ times.T / patients


def test_the_parts_of_a_mean_are_found_again() -> None:
    rng = np.random.default_rng(0)
    given = [simulated(rng, 4, patients=50, sd_run=0.2, sd_cross=0.7) for _ in range(300)]
    parts = [variance_parts(values, drawn, 50) for values, drawn in given]
    assert np.mean([one.patients**2 for one in parts]) == pytest.approx((1 + 0.7**2) / 50, rel=0.05)
    assert np.mean([one.runs**2 for one in parts]) == pytest.approx(0.2**2, rel=0.12)


def test_another_run_is_where_it_is_said_to_be() -> None:
    rng, held = np.random.default_rng(1), []
    for _ in range(600):
        values, drawn = simulated(rng, 4, patients=20, sd_run=0.3, sd_cross=0.2)
        one = variance_parts(values[:3], drawn[:3], 20)
        held.append(one.next_low <= values[3] <= one.next_high)
    assert 0.93 <= np.mean(held) <= 0.97


def test_runs_that_differ_by_chance_alone_have_no_part() -> None:
    rng = np.random.default_rng(2)
    parts = [variance_parts(*simulated(rng, 3, patients=40, sd_run=0, sd_cross=1), 40).runs for _ in range(100)]
    assert 0.3 <= np.mean(np.array(parts) == 0) <= 0.8


def test_degenerate_outcomes() -> None:
    drawn = np.random.default_rng(0).normal(0.8, 0.1, (1, 50))
    alone = variance_parts(np.array([0.8]), drawn, 10)
    assert alone.patients > 0
    assert np.isnan([alone.runs, alone.next_low, alone.next_high]).all()
    equal = variance_parts(np.array([0.8, 0.8]), np.repeat(drawn, 2, axis=0), 10)
    assert (equal.runs, equal.next_low, equal.next_high) == (0, 0.8, 0.8)
    assert np.isnan(variance_parts(np.array([np.nan, 0.8]), np.repeat(drawn, 2, axis=0), 10).patients)
    assert np.isnan(variance_parts(np.array([0.8]), drawn, 1).patients)
    with pytest.raises(DataError, match=r"expected \(runs,\) and \(runs, draws\)"):
        variance_parts(np.zeros(3), np.zeros((2, 9)), 5)


def difference(value: float, half: float, patients: int = 50) -> Difference:
    return Difference(value, 0.0, value, value - half, value + half, 0.5, patients, patients, 0.1, False)


def test_without_chance_from_patients_it_is_students_test() -> None:
    first, second = [0.80, 0.83, 0.79, 0.84], [0.75, 0.70, 0.78, 0.74]
    found = over_training(difference(np.mean(first) - np.mean(second), 1e-12), first, second)
    assert found is not None
    expected = ttest_ind(first, second)
    ends = expected.confidence_interval()
    assert (found.p, found.ci_low, found.ci_high) == pytest.approx((expected.pvalue, ends.low, ends.high), rel=1e-6)
    assert found.excludes_zero == (expected.pvalue < 0.05)


def test_variances_of_patients_and_runs_add_up() -> None:
    half = t.ppf(0.975, 49) * 0.02
    found = over_training(difference(0.05, half), [0.80, 0.84], [0.77, 0.77])
    variances = np.array([0.02**2, np.var([0.80, 0.84], ddof=1) / 2])
    freedom = variances.sum() ** 2 / (variances**2 / [49, 2]).sum()
    assert found is not None
    assert found.ci_high == pytest.approx(0.05 + t.ppf(0.975, freedom) * np.sqrt(variances.sum()))


@pytest.mark.parametrize(
    ("first", "second"), [([0.8], [0.7, 0.8]), ([0.8, 0.8], [0.7, 0.7]), ([0.8, np.nan], [0.7, 0.8])]
)
def test_there_is_none_without_two_runs_that_differ(first: list[float], second: list[float]) -> None:
    assert over_training(difference(0.1, 0.05), first, second) is None
    assert over_training(difference(0.1, float("nan")), [0.8, 0.9], [0.7, 0.8]) is None


def test_the_error_of_quantiles_that_are_not_expanded_is_the_normal_one_expanded() -> None:
    values = [0.80, 0.80 + 1e-9], [0.75, 0.75]
    error = 0.03 * np.sqrt(10 / 9)  # of ten patients
    quantiles = replace(difference(0.05, 1.959964 * 0.03, 10), interval="percentile")
    expanded = difference(0.05, t.ppf(0.975, 9) * error, 10)
    found, same = over_training(quantiles, *values), over_training(expanded, *values)
    assert found is not None
    assert same is not None
    assert (found.ci_low, found.ci_high, found.p) == pytest.approx((same.ci_low, same.ci_high, same.p), rel=1e-6)


def test_a_replicate_that_is_undefined_in_one_run_is_left_out_of_all() -> None:
    values, drawn = simulated(np.random.default_rng(3), 3, patients=20, sd_run=0.3, sd_cross=0.5)
    holed = drawn.copy()
    holed[1, :40] = np.nan
    assert variance_parts(values, holed, 20) == variance_parts(values, drawn[:, 40:], 20)
