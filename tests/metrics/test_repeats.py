"""Means over repeats: closed-form cases, pairing, and the coverage of intervals over patients and draws."""

import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t

from radapt.errors import DataError
from radapt.metrics import compare_repeats, percentile_interval, score, score_repeats
from radapt.metrics.bootstrap import multiplicities
from radapt.metrics.repeats import mean_over_repeats

BINARY: dict[str, Any] = {"task": "binary", "outputs": ["no", "yes"]}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def answers(scores: np.ndarray) -> np.ndarray:
    """(R, N) scores of the second class -> (R, N, 2) probabilities."""
    yes = 1 / (1 + np.exp(-scores))
    return np.stack([1 - yes, yes], axis=-1)


def draws_of(
    seed: int, repeats: int = 10, patients: int = 100, between: float = 0.5, images: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, probabilities and patients: lifts differ by `between` from draw to draw, cases share a patient effect."""
    made = rng(seed)
    patient = np.repeat(np.arange(patients), images)
    truth = made.integers(0, 2, patients)[patient]
    lift = 1 + between * made.normal(size=(repeats, 1))
    noise = made.normal(size=patients)[patient] + 0.3 * made.normal(size=(repeats, len(patient)))
    return truth, answers(lift * truth + noise), patient


def of(table: pd.DataFrame, metric: str = "auroc") -> pd.Series:
    return table.set_index("metric").loc[metric]


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_the_value_is_the_mean_of_the_repeats_and_counts_are_those_of_score(task: str) -> None:
    made = rng(1)
    outputs = ["a", "b"] if task == "binary" else ["a", "b", "c"]
    p = made.dirichlet(np.ones(len(outputs)), (4, 80))
    truth: np.ndarray = made.integers(0, len(outputs), 80)
    if task == "multilabel":
        truth = made.integers(0, 2, (80, 3)).astype(float)
        truth[made.random((80, 3)) < 0.2] = np.nan
    patients = made.integers(0, 50, 80)
    options: dict[str, Any] = {"task": task, "outputs": outputs, "ordered": task == "multiclass", "resamples": 50}
    whole = score_repeats(truth, p, patients, rng=rng(), **options)
    each = [score(truth, one, patients, rng=rng(), **options) for one in p]
    assert list(whole["metric"]) == list(each[0]["metric"])
    values = np.array([one["value"] for one in each])
    np.testing.assert_allclose(whole["value"], values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(whole["sd"], values.std(axis=0, ddof=1), rtol=1e-9)
    for name in ("n_patients", "n_scored", "n_unscored", "n_undefined"):
        assert list(whole[name]) == list(each[0][name])
    assert set(whole["n_repeats"]) == {4}
    defined = whole.dropna(subset=["ci_low"])
    assert (defined["ci_low"] <= defined["ci_high"]).all()


def test_one_repeat_has_the_interval_of_its_patients_alone() -> None:
    truth, p, patients = draws_of(0, repeats=1, images=2)
    one = of(score_repeats(truth, p, patients, rng=rng(), **BINARY))
    patients_only, _ = rng().spawn(2)
    alone = of(score(truth, p[0], patients, rng=patients_only, **BINARY))
    assert (one["value"], one["ci_low"], one["ci_high"]) == (alone["value"], alone["ci_low"], alone["ci_high"])
    assert np.isnan(one["sd"])


def test_equal_repeats_add_no_width() -> None:
    truth, p, patients = draws_of(0, repeats=1)
    one = score_repeats(truth, p, patients, rng=rng(), **BINARY)
    ten = score_repeats(truth, np.repeat(p, 10, axis=0), patients, rng=rng(), **BINARY)
    np.testing.assert_allclose(ten[["ci_low", "ci_high"]], one[["ci_low", "ci_high"]], atol=1e-12)
    assert of(ten)["sd"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("repeats", [5, 10, 40])
def test_without_chance_from_patients_the_interval_is_about_students(repeats: int) -> None:
    values = rng(3).normal(0.8, 0.05, repeats)
    drawn = np.repeat(values[:, None], 20_000, axis=1)
    low, high = percentile_interval(mean_over_repeats(drawn, multiplicities(rng(), repeats, 20_000).T))
    half = t.ppf(0.975, repeats - 1) * values.std(ddof=1) / np.sqrt(repeats)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.15 * half)
    assert (high - low) / 2 == pytest.approx(half, rel=0.12)


def test_variances_of_patients_and_draws_add_up() -> None:
    # Each repeat's accuracy is a patient part shared by all repeats plus its own level: nothing else varies.
    made = rng(4)
    share = made.normal(0, 0.03, 20_000)
    level = made.normal(0.8, 0.04, 12)
    spread = mean_over_repeats(level[:, None] + share, multiplicities(made, 12, 20_000).T)
    widening = t.ppf(0.975, 11) / norm.ppf(0.975)
    expected = 0.03**2 + widening**2 * level.var(ddof=1) / 12
    assert spread.var() == pytest.approx(expected, rel=0.05)


def test_two_repeats_are_widened_by_students_t_and_by_their_own_mean() -> None:
    """Repeats of 0 and 2, each drawn twice in one replicate: 1 ± √2 · 12.706 / 1.960, and 1 where both are drawn."""
    found = mean_over_repeats(np.array([[0.0] * 3, [2.0] * 3]), np.array([[2, 1, 0], [0, 1, 2]]))
    np.testing.assert_allclose(found, [1 - 9.168, 1, 1 + 9.168], atol=1e-3)


def test_the_same_state_gives_the_same_table_whatever_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, p, patients = draws_of(5, repeats=3, images=2)
    whole = score_repeats(truth, p, patients, rng=rng(7), resamples=41, **BINARY)
    pd.testing.assert_frame_equal(whole, score_repeats(truth, p, patients, rng=rng(7), resamples=41, **BINARY))
    # By module: `radapt.metrics.score` as an attribute is the function.
    monkeypatch.setattr(sys.modules["radapt.metrics.score"], "CHUNK", 7 * len(truth))
    again = score_repeats(truth, p, patients, rng=rng(7), resamples=41, **BINARY)
    pd.testing.assert_frame_equal(whole, again, check_exact=True)
    other = score_repeats(truth, p, patients, rng=rng(8), resamples=41, **BINARY)
    assert not whole["ci_low"].equals(other["ci_low"])


def test_the_order_of_cases_changes_nothing() -> None:
    truth, p, patients = draws_of(6, repeats=4)
    order = rng(0).permutation(len(truth))
    one = score_repeats(truth, p, patients, rng=rng(), resamples=0, **BINARY)
    two = score_repeats(truth[order], p[:, order], patients[order], rng=rng(), resamples=0, **BINARY)
    np.testing.assert_allclose(one["value"], two["value"], rtol=1e-12)


def test_a_comparison_is_the_difference_of_means_and_turns_round() -> None:
    truth, first, patients = draws_of(7)
    _, second, _ = draws_of(8)
    options: dict[str, Any] = {**BINARY, "resamples": 200}
    found = compare_repeats(truth, first, second, patients, rng=rng(), **options)
    means = [score_repeats(truth, each, patients, rng=rng(), **options)["value"] for each in (first, second)]
    np.testing.assert_allclose(found["value"], means[0] - means[1], atol=1e-12)
    turned = compare_repeats(truth, second, first, patients, rng=rng(), **options)
    np.testing.assert_allclose(turned["ci_low"], -found["ci_high"], atol=1e-12)
    np.testing.assert_allclose(turned["sd"], found["sd"])
    nothing = compare_repeats(truth, first, first, patients, rng=rng(), **options)
    assert (nothing[["value", "ci_low", "ci_high"]] == 0).all(axis=None)


def test_pairing_sees_a_small_difference_that_draws_and_patients_would_hide() -> None:
    truth, first, patients = draws_of(9, between=0.6)
    logit = np.log(first[..., 1] / first[..., 0])
    second = answers(logit + 0.25 * truth)  # better on every draw and every patient
    pair = of(compare_repeats(truth, second, first, patients, rng=rng(), **BINARY))
    alone = [of(score_repeats(truth, each, patients, rng=rng(), **BINARY)) for each in (first, second)]
    assert pair["ci_low"] > 0
    assert alone[1]["ci_low"] < alone[0]["ci_high"]  # the separate intervals overlap
    assert pair["ci_high"] - pair["ci_low"] < 0.3 * (alone[0]["ci_high"] - alone[0]["ci_low"])


def test_undefined_stays_undefined_and_is_counted() -> None:
    p = answers(rng().normal(size=(3, 10)))
    found = of(score_repeats(np.ones(10, int), p, np.arange(10), rng=rng(), resamples=20, **BINARY))
    assert np.isnan(found[["value", "ci_low", "ci_high", "sd"]].astype(float)).all()
    assert (found["n_scored"], found["n_unscored"], found["n_undefined"]) == (0, 10, 1)


def test_one_patient_has_no_interval() -> None:
    truth, p, _ = draws_of(0, repeats=3, patients=20)
    found = of(score_repeats(truth, p, np.zeros(20), rng=rng(), **BINARY))
    assert np.isnan(found["ci_low"])
    assert found["sd"] > 0


@pytest.mark.parametrize("repeats", [2, 3])
def test_few_repeats_claim_little_and_stay_within_what_is_possible(repeats: int) -> None:
    truth, p, patients = draws_of(2, repeats=repeats, between=1.5)
    table = score_repeats(truth, p, patients, rng=rng(), **BINARY)
    wide = score_repeats(truth, np.repeat(p, 5, axis=0), patients, rng=rng(), **BINARY)
    assert of(table)["ci_high"] - of(table)["ci_low"] > of(wide)["ci_high"] - of(wide)["ci_low"]
    lowest = np.where(table["metric"] == "mcc", -1, 0)
    assert (table["ci_low"] >= lowest).all()
    assert (table.loc[table["metric"] != "log_loss", "ci_high"] <= 2).all()


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (np.zeros((0, 4, 2)), "no repeats"),
        (np.full((2, 3, 2), 0.5), "expected .4, 2."),
        ([np.full((4, 2), 0.5), np.full((5, 2), 0.5)], "expected .4, 2."),
        (np.full((2, 4, 2), np.nan), "NaN probability"),
    ],
)
def test_what_does_not_fit_is_refused(p: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        score_repeats(np.array([0, 1, 0, 1]), p, np.arange(4), rng=rng(), **BINARY)
    if len(p):
        with pytest.raises(DataError, match="same draws"):
            compare_repeats(np.array([0, 1, 0, 1]), p, p[:1], np.arange(4), rng=rng(), **BINARY)


def coverage(repeats: int, patients: int, between: float, cohorts: int) -> dict[str, float]:
    """Share of simulated studies whose interval holds the AUROC of the average draw in the whole population."""
    lifts = 1 + between * rng(0).normal(size=200_000)
    # score = lift · truth + normal noise of variance 1.09: AUROC of one draw is Φ(lift / sqrt(2 · 1.09)).
    aim = float(norm.cdf(lifts / np.sqrt(2 * 1.09)).mean())
    held = {"both": 0, "patients": 0}
    for seed in range(cohorts):
        truth, p, patient = draws_of(seed + 1, repeats, patients, between)
        both = of(score_repeats(truth, p, patient, rng=rng(seed), resamples=300, **BINARY))
        cells = [of(score(truth, one, patient, rng=rng(seed), resamples=100, **BINARY)) for one in p]
        ends = np.mean([[cell["ci_low"], cell["ci_high"]] for cell in cells], axis=0)
        held["both"] += both["ci_low"] <= aim <= both["ci_high"]
        held["patients"] += ends[0] <= aim <= ends[1]
    return {name: count / cohorts for name, count in held.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("repeats", "patients", "between"),
    [(10, 400, 0.8), (10, 100, 0.3), (5, 200, 0.5)],
    ids=["draws-decide", "patients-decide", "five-repeats"],
)
def test_the_interval_covers_the_truth_over_patients_and_draws(repeats: int, patients: int, between: float) -> None:
    found = coverage(repeats, patients, between, cohorts=300)
    # 300 studies: one standard error is 1.3 %.
    assert 0.91 <= found["both"] <= 0.985, found
    if between > 0.4:
        assert found["patients"] < 0.85, found
