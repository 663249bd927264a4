"""The bootstrap: the unit, the draw, independence of chunking, and the coverage of the intervals."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from scipy.stats import t
from sklearn.metrics import average_precision_score, roc_auc_score

from radapt.errors import DataError
from radapt.metrics import auroc, multiplicities, percentile_interval, score, units_of
from radapt.metrics.bootstrap import Range, expanded_interval, metric_interval, replicates
from radapt.metrics.score import panel_of
from radapt.metrics.validation import checked


def _binary(rng: np.random.Generator, cases: int, lift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    truth = rng.integers(0, 2, cases)
    p = 1 / (1 + np.exp(-rng.normal(lift * truth)))
    return truth, np.column_stack([1 - p, p])


def _row(table: pd.DataFrame, metric: str) -> pd.Series:
    return table.set_index("metric").loc[metric]


def test_the_unit_is_the_patient() -> None:
    unit, units = units_of(np.array(["b", "a", "b", "c"], dtype=object))
    assert unit.tolist() == [0, 1, 0, 2]
    assert units == 3


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_case_without_a_patient_is_refused(missing: object) -> None:
    with pytest.raises(DataError, match=r"Case 1 .* has no patient"):
        units_of(np.array(["a", missing], dtype=object))


def test_every_replicate_draws_as_many_patients_as_there_are() -> None:
    drawn = multiplicities(np.random.default_rng(0), 7, 5000)
    assert drawn.shape == (5000, 7)
    assert (drawn.sum(axis=1) == 7).all()
    # Multinomial: mean 1, variance 1 - 1/7, covariance -1/7.
    np.testing.assert_allclose(np.cov(drawn.T), np.eye(7) - 1 / 7, atol=0.05)
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.05)


@pytest.mark.parametrize("units", [1, 2, 3, 7, 256, 1001])
def test_one_draw_equals_two_shorter_ones(units: int) -> None:
    whole = multiplicities(np.random.default_rng(5), units, 11)
    rng = np.random.default_rng(5)
    parts = [multiplicities(rng, units, size) for size in (1, 3, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_same_seed_same_replicates_whatever_the_chunk(task: str) -> None:
    rng = np.random.default_rng(1)
    outputs = ["a", "b"] if task == "binary" else ["a", "b", "c"]
    p = rng.dirichlet(np.ones(len(outputs)), 90)
    truth = rng.integers(0, 2, p.shape) if task == "multilabel" else rng.integers(0, len(outputs), 90)
    given = checked(truth, p, rng.integers(0, 40, 90), task, len(outputs))
    panel = panel_of(given, task, outputs, ordered=True)
    whole = replicates(panel.numbers, given.units, np.random.default_rng(3), 41, 1000)
    for chunk in (1, 2, 7, 20, 41):
        parts = replicates(panel.numbers, given.units, np.random.default_rng(3), 41, chunk)
        for name, values in whole.items():
            np.testing.assert_array_equal(parts[name], values, err_msg=f"{name}, chunk {chunk}")


def test_replicates_equal_scikit_learn_on_repeated_cases() -> None:
    rng = np.random.default_rng(2)
    truth, p = _binary(rng, 60)
    p = np.round(p, 1)
    patients = rng.integers(0, 25, 60)
    unit, units = units_of(patients)
    drawn = multiplicities(np.random.default_rng(9), units, 30)
    cases = [np.repeat(np.arange(60), times[unit]) for times in drawn]
    expected = {
        "auroc": [roc_auc_score(truth[rows], p[rows, 1]) for rows in cases],
        "average_precision": [average_precision_score(truth[rows], p[rows, 1]) for rows in cases],
        "accuracy": [np.mean(truth[rows] == p[rows].argmax(axis=1)) for rows in cases],
    }
    made = np.random.default_rng(9)
    table = score(truth, p, patients, task="binary", outputs=["no", "yes"], rng=made, resamples=30)
    for name, values in expected.items():
        row = _row(table, name)
        fewest = None if name == "accuracy" else min(len(np.unique(unit[truth == kind])) for kind in (0, 1))
        expected_ends = metric_interval(row["value"], np.array(values), units, Range(), fewest)
        np.testing.assert_allclose([row["ci_low"], row["ci_high"]], expected_ends, rtol=1e-12)


def test_no_resamples_no_replicates() -> None:
    assert replicates(lambda weights: {"n": weights.sum(axis=0)}, 3, np.random.default_rng(0), 0, 5) == {}


def test_percentile_interval_leaves_out_undefined_replicates() -> None:
    values = np.arange(101.0)
    assert percentile_interval(values) == pytest.approx((2.5, 97.5))
    assert percentile_interval(np.append(values, np.full(101, np.nan))) == pytest.approx((2.5, 97.5))
    assert np.isnan(percentile_interval(np.append(values, np.full(102, np.nan)))).all()
    assert np.isnan(percentile_interval(np.zeros(0))).all()


def test_the_interval_is_students_on_a_scale_without_ends() -> None:
    drawn = np.random.default_rng(0).normal(0.8, 0.05, 4000)
    half = t.ppf(0.975, 14.5) * drawn.std() * np.sqrt(30 / 29)
    low, high = metric_interval(0.8, drawn, 30, Range(-np.inf, np.inf))
    assert (low, high) == pytest.approx((0.8 - half, 0.8 + half), rel=1e-12)
    low, high = metric_interval(0.8, drawn, 30)
    assert logit([low, high]) == pytest.approx(logit(0.8) + np.array([-1, 1]) * half / (0.8 * 0.2), rel=1e-12)
    low, high = metric_interval(0.8, drawn, 30, Range(high=np.inf))
    assert np.log([low, high]) == pytest.approx(np.log(0.8) + np.array([-1, 1]) * half / 0.8, rel=1e-12)
    low, high = metric_interval(0.8, drawn, 30, Range(-1.0))  # Fisher's z of a correlation
    assert np.arctanh([low, high]) == pytest.approx(np.arctanh(0.8) + np.array([-1, 1]) * half / 0.36, rel=1e-12)


@pytest.mark.parametrize("interval", [metric_interval, expanded_interval])
def test_half_of_the_replicates_must_be_defined(interval: Callable[..., tuple[float, float]]) -> None:
    drawn = np.random.default_rng(0).normal(0.8, 0.05, 40)
    assert interval(0.8, np.append(drawn, np.full(40, np.nan)), 30) == interval(0.8, drawn, 30)
    assert np.isnan(interval(0.8, np.append(drawn, np.full(41, np.nan)), 30)).all()
    assert np.isnan(interval(np.nan, drawn, 30)).all()
    assert np.isnan(interval(0.8, np.full(4, np.nan), 30)).all()


def test_few_patients_of_a_kind_widen_the_interval() -> None:
    drawn = np.random.default_rng(0).normal(0.8, 0.05, 400)
    widths = [np.ptp(metric_interval(0.8, drawn, 100, Range(), fewest)) for fewest in (None, 80, 10, 3)]
    assert widths[0] == widths[1] < widths[2] < widths[3]
    assert np.isnan(metric_interval(0.8, drawn, 100, Range(), 1)).all()
    assert np.isnan(metric_interval(1.0, np.ones(50), 100, Range(), 1)).all()
    low, high = metric_interval(0.8, drawn, 100, Range(-np.inf, np.inf), 10)
    assert high - low == pytest.approx(2 * t.ppf(0.975, 9) * drawn.std() * np.sqrt(100 / 99), rel=1e-12)


def test_a_value_at_the_end_of_its_range_is_a_share_of_patients() -> None:
    always = np.ones(50)
    # scipy.stats.binomtest(20, 20).proportion_ci() gives 0.8315665.
    assert metric_interval(1.0, always, 20) == pytest.approx((0.8315665, 1.0), abs=1e-6)
    assert metric_interval(0.0, 0 * always, 20) == pytest.approx((0.0, 1 - 0.8315665), abs=1e-6)
    assert metric_interval(1.0, always, 500, Range(-1.0), 20) == pytest.approx((2 * 0.8315665 - 1, 1.0), abs=1e-6)
    assert metric_interval(0.0, 0 * always, 20, Range(high=np.inf)) == (0, 0)  # no share
    assert metric_interval(0.5, 0.5 * always, 20) == (0.5, 0.5)  # of a constant answer


@pytest.mark.parametrize("range_", [Range(), Range(-1.0), Range(high=np.inf), Range(-np.inf, np.inf)])
@pytest.mark.parametrize("value", [1e-9, 0.3, 1 - 1e-9])
def test_the_interval_holds_the_value_within_the_range(range_: Range, value: float) -> None:
    drawn = np.random.default_rng(0).normal(value, 0.3, 100)
    for units in (2, 3, 10):
        low, high = metric_interval(value, drawn, units, range_)
        assert range_.low <= low <= value <= high <= range_.high


def test_clustered_patients_have_wider_intervals_than_their_cases_would_claim() -> None:
    rng = np.random.default_rng(4)
    truth, p = _binary(rng, 60)
    patients = np.arange(60)
    once = score(truth, p, patients, task="binary", outputs=["0", "1"], rng=np.random.default_rng(0), resamples=500)
    # Nine images of each patient, all alike: nine times the cases, not one bit more of knowledge.
    often = (truth.repeat(9), p.repeat(9, axis=0))
    by_patient, by_case = (
        score(*often, unit, task="binary", outputs=["0", "1"], rng=np.random.default_rng(0), resamples=500)
        for unit in (patients.repeat(9), np.arange(540))
    )
    width = {
        name: _row(table, "auroc")["ci_high"] - _row(table, "auroc")["ci_low"]
        for name, table in {"once": once, "patient": by_patient, "case": by_case}.items()
    }
    assert width["patient"] == pytest.approx(width["once"])
    assert width["case"] < 0.5 * width["patient"]


@pytest.mark.slow
def test_the_interval_covers_the_truth_in_about_95_percent_of_cohorts() -> None:
    # 150 patients with 1 to 4 images that share a patient effect: score = truth + patient + noise.
    def cohort(rng: np.random.Generator, patients: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        patient = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
        truth = rng.integers(0, 2, patients)[patient]
        value = 1.2 * truth + rng.normal(size=patients)[patient] + 0.5 * rng.normal(size=len(patient))
        p = 1 / (1 + np.exp(-value))
        return truth, np.column_stack([1 - p, p]), patient

    def table(seed: int, by: str) -> pd.DataFrame:
        truth, p, patient = cohort(np.random.default_rng(seed), 150)
        unit = patient if by == "patient" else np.arange(len(truth))
        return score(truth, p, unit, task="binary", outputs=["0", "1"], rng=np.random.default_rng(seed), resamples=300)

    truth, p, _ = cohort(np.random.default_rng(0), 100_000)
    aim = {"auroc": float(auroc(truth, p[:, 1])), "accuracy": float(np.mean(truth == p.argmax(axis=1)))}
    covered = {(by, name): 0 for by in ("patient", "case") for name in aim}
    for seed in range(300):
        for by in ("patient", "case"):
            drawn = table(seed, by)
            for name, value in aim.items():
                row = _row(drawn, name)
                covered[by, name] += row["ci_low"] <= value <= row["ci_high"]
    share = {key: count / 300 for key, count in covered.items()}
    # 300 cohorts: one standard error is 1.4 %.
    assert 0.90 <= share["patient", "auroc"] <= 0.98, share
    assert 0.90 <= share["patient", "accuracy"] <= 0.98, share
    assert share["case", "auroc"] < 0.88, share


def test_memory_does_not_grow_with_the_number_of_resamples() -> None:
    rng = np.random.default_rng(0)
    truth, p = _binary(rng, 20_000)
    patients = rng.integers(0, 300, 20_000)  # few patients, many cases: the wide side is the cases

    def peak(resamples: int) -> int:
        made = np.random.default_rng(0)
        tracemalloc.start()
        score(truth, p, patients, task="binary", outputs=["0", "1"], rng=made, resamples=resamples)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(420) < 1.15 * peak(105)
