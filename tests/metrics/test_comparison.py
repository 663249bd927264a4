"""The paired comparison: against SciPy, DeLong's own formula, and what must hold whoever is compared."""

from dataclasses import astuple, replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from radapt.errors import DataError
from radapt.metrics import auroc, score, score_paired
from radapt.metrics.bootstrap import expanded_interval
from radapt.metrics.comparison import (
    Difference,
    Draws,
    Pair,
    compare_pairs,
    delong,
    holm,
    paired_label_maps,
    paired_means,
    paired_predictions,
)
from radapt.metrics.comparison.difference import counts_every_exchange, every_exchange
from radapt.metrics.segmentation import NUMBERS

RNG = np.random.default_rng(0)
TRUTH = (RNG.random(80) < 0.4).astype(int)
PATIENTS = np.arange(80) // 2


def probabilities(skill: float, seed: int) -> np.ndarray:
    logit = skill * TRUTH + np.random.default_rng(seed).normal(size=len(TRUTH))
    positive = 1 / (1 + np.exp(-logit))
    return np.stack([1 - positive, positive], axis=1)


GOOD, POOR = probabilities(1.5, 1), probabilities(0.3, 2)


def classified(metric: str, first: np.ndarray = GOOD, second: np.ndarray = POOR) -> Pair:
    return paired_predictions(metric, TRUTH, (first, second), PATIENTS, task="binary", outputs=["no", "yes"])


def test_the_exact_test_is_that_of_scipy() -> None:
    first, second = RNG.normal(0.05, 0.1, 9), RNG.normal(0, 0.1, 9)
    found = compare_pairs([paired_means(first, second, np.arange(9))])
    oracle = stats.permutation_test(
        (first, second), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    )
    assert found.exact
    assert found.p == pytest.approx(oracle.pvalue)
    assert found.difference == pytest.approx(first.mean() - second.mean())


def test_the_interval_of_many_patients_is_scipys_percentile_interval() -> None:
    values = RNG.exponential(size=800)
    oracle = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1))
    found = compare_pairs([paired_means(values, np.zeros(800), np.arange(800))], Draws(resamples=4000, permutations=9))
    low, high = oracle.confidence_interval
    assert (found.ci_low, found.ci_high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))


def test_few_patients_widen_the_interval_as_students_quantile_does() -> None:
    drawn = stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    reach = np.sqrt(10 / 9) * stats.t.ppf(0.975, 9)
    assert expanded_interval(0.0, drawn, 10) == (
        pytest.approx(-reach, abs=1e-3),
        pytest.approx(reach, abs=1e-3),
    )


@pytest.mark.parametrize("metric", ["auroc", "mcc", "brier", "average_precision", "sensitivity:yes", "mcc (argmax)"])
def test_values_are_those_of_the_leaderboard(metric: str) -> None:
    found = compare_pairs([classified(metric)], Draws(resamples=10, permutations=10))
    tables = [
        score(TRUTH, each, PATIENTS, task="binary", outputs=["no", "yes"], rng=np.random.default_rng(0), resamples=0)
        for each in (GOOD, POOR)
    ]
    values = [table.set_index("metric").loc[metric.replace(" (argmax)", ""), "value"] for table in tables]
    assert (found.first, found.second) == (pytest.approx(values[0]), pytest.approx(values[1]))
    assert (found.n_patients, found.n_cases) == (40, 80)


@pytest.mark.parametrize("metric", ["auroc", "mcc", "brier", "average_precision"])
def test_exchanging_the_methods_changes_signs_only(metric: str) -> None:
    draws = Draws(resamples=200, permutations=200)
    one, other = (compare_pairs([pair], draws) for pair in (classified(metric), classified(metric, POOR, GOOD)))
    assert other.difference == pytest.approx(-one.difference)
    assert other.p == pytest.approx(one.p)
    assert (other.ci_low, other.ci_high) == (pytest.approx(-one.ci_high), pytest.approx(-one.ci_low))


def test_a_change_of_scale_changes_nothing_of_a_ranking() -> None:
    squeezed = GOOD**0.2 / (GOOD**0.2).sum(axis=1, keepdims=True)
    draws = Draws(resamples=100, permutations=300)
    plain, changed = (compare_pairs([classified("auroc", each)], draws) for each in (GOOD, squeezed))
    assert changed == plain


def test_replicates_are_those_of_the_paired_bootstrap() -> None:
    pair = paired_predictions("mcc", TRUTH, (GOOD, POOR), PATIENTS, task="binary", outputs=["no", "yes"])
    paired = score_paired(
        TRUTH, [GOOD, POOR], PATIENTS, task="binary", outputs=["no", "yes"], rng=np.random.default_rng(0), resamples=5,
        keep=["mcc"],
    )  # fmt: skip
    weights = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40), size=5).T.astype(float)
    nothing = np.zeros_like(weights)
    first = pair.values(np.concatenate([weights, nothing]))
    assert first.shape == (5,)
    assert paired.values["mcc"][0] == pytest.approx(pair.values(np.repeat([[1.0], [0.0]], 40, axis=0))[0])


def test_the_same_method_is_no_different_from_itself() -> None:
    found = compare_pairs([classified("mcc", GOOD, GOOD)], Draws(resamples=50, permutations=50))
    assert (found.difference, found.ci_low, found.ci_high, found.p) == (0, 0, 0, 1)
    assert found.verdict(0.01) == "equivalent"


def test_cases_of_a_patient_change_places_together() -> None:
    """Ten copies of each case say no more than one; taken as independent they would."""
    first, second = RNG.normal(0.3, 1, 12), RNG.normal(0, 1, 12)
    once = compare_pairs([paired_means(first, second, np.arange(12))])
    many = compare_pairs([paired_means(np.repeat(first, 10), np.repeat(second, 10), np.repeat(np.arange(12), 10))])
    assert (many.p, many.n_patients, many.n_cases) == (pytest.approx(once.p), 12, 120)
    assert (many.ci_low, many.ci_high) == (pytest.approx(once.ci_low), pytest.approx(once.ci_high))


def test_seeds_are_averaged() -> None:
    first, second = RNG.normal(size=(2, 10)), RNG.normal(size=(2, 10))
    pairs = [paired_means(a, b, np.arange(10)) for a, b in zip(first, second, strict=True)]
    mean = compare_pairs([paired_means(first.mean(axis=0), second.mean(axis=0), np.arange(10))])
    found = compare_pairs(pairs)
    assert found.difference == pytest.approx(mean.difference)
    assert found.p == pytest.approx(mean.p)


def test_one_patient_has_neither_interval_nor_evidence() -> None:
    found = compare_pairs([paired_means(np.ones(3), np.zeros(3), ["p"] * 3)])
    assert (found.difference, found.p) == (1, 1)
    assert np.isnan(found.ci_low)


@pytest.mark.parametrize(
    ("low", "high", "margin", "verdict"),
    [
        (0.01, 0.2, None, "better"),
        (-0.2, -0.01, 0.5, "worse"),
        (-0.01, 0.2, 0.05, "non-inferior"),
        (-0.01, 0.02, 0.05, "equivalent"),
        (-0.1, 0.02, 0.05, "undecided"),
        (-0.01, 0.02, None, "undecided"),
    ],
)
def test_the_verdict(low: float, high: float, margin: float | None, verdict: str) -> None:
    found = Difference(0, 0, (low + high) / 2, low, high, 0.01, 10, 10, 0.1, True)
    assert found.verdict(margin) == verdict
    smaller = replace(found, ci_low=-high, ci_high=-low, smaller_is_better=True)
    assert smaller.verdict(margin) == verdict
    assert replace(found, n_patients=5).verdict(margin) == "undecided"
    untested = replace(found, p=float("nan"))  # as the average precision in a report
    assert untested.verdict(margin) == verdict
    assert replace(found, p=0.06).verdict() == "undecided"


def test_better_needs_the_test_too_and_is_still_not_inferior() -> None:
    found = Difference(0, 0, 0.1, 0.01, 0.2, 0.06, 10, 10, 0.1, True)
    assert found.verdict() == "undecided"
    assert found.verdict(0.05) == "non-inferior"
    assert found.turned.verdict(0.3) == "equivalent"


@pytest.mark.parametrize("patients", [2, 5, 6])
def test_few_patients_whose_differences_all_have_one_sign(patients: int) -> None:
    """Their bootstrap interval never holds 0, but chance alone gives one sign to five patients in 1 of 16 studies."""
    pair = paired_means(np.linspace(0.5, 0.6, patients), np.full(patients, 0.4), np.arange(patients))
    found = compare_pairs([pair])
    assert found.ci_low > 0
    assert found.p == 2 / 2**patients
    assert found.verdict(0.01) == ("better" if patients == 6 else "undecided")


@pytest.mark.parametrize("interval", ["expanded", "percentile", "bca"])
def test_units_change_nothing(interval: str) -> None:
    """In kilometres p, verdict and what the interval says are those in micrometres."""
    first, second = RNG.normal(0.4, 1, 20), RNG.normal(0, 1, 20)
    draws = Draws(permutations=999, resamples=500, interval=interval)
    found = [compare_pairs([paired_means(size * first, size * second, np.arange(20))], draws) for size in (1, 1e-12)]
    assert found[1].p == found[0].p < 1
    assert found[1].verdict() == found[0].verdict()
    scaled = found[1].ci_low / 1e-12, found[1].ci_high / 1e-12
    assert scaled == pytest.approx((found[0].ci_low, found[0].ci_high))


def test_turned_is_the_difference_of_the_exchanged_methods() -> None:
    draws = Draws(permutations=99, resamples=100)
    first, second = RNG.normal(0.4, 1, 12), RNG.normal(0, 1, 12)
    pairs = [paired_means(*sides, np.arange(12)) for sides in ((first, second), (second, first))]
    turned, other = compare_pairs(pairs[:1], draws).turned, compare_pairs(pairs[1:], draws)
    assert astuple(turned)[:5] == pytest.approx(astuple(other)[:5])
    assert astuple(turned)[5:] == pytest.approx(astuple(other)[5:])


def test_every_exchange_is_counted_where_there_are_no_more_than_permutations() -> None:
    assert [counts_every_exchange(3, asked) for asked in (6, 7, 8)] == [False, True, True]
    assert [every.tolist() for every in every_exchange(2).T] == [[0, 0], [1, 0], [0, 1], [1, 1]]


def test_an_undefined_finding_does_not_enter_the_mean_over_findings() -> None:
    truth = np.stack([TRUTH, np.zeros(80, int)], axis=1)
    sets = [np.stack([each[:, 1], each[:, 0]], axis=1) for each in (GOOD, POOR)]
    mean, alone = (
        compare_pairs(
            [paired_predictions(metric, truth, sets, PATIENTS, task="multilabel", outputs=["a", "b"])],
            Draws(resamples=50, permutations=99),
        )
        for metric in ("auroc", "auroc:a")
    )
    assert mean == alone
    assert 0 < mean.p < 1


@pytest.mark.parametrize("margin", [-0.1, float("inf"), float("nan")])
def test_a_margin_is_a_finite_number(margin: float) -> None:
    with pytest.raises(DataError, match="expected a finite number, 0 or more"):
        Draws(margin=margin)


def test_label_maps_are_compared_by_what_the_leaderboard_shows() -> None:
    def table(shift: float) -> pd.DataFrame:
        rows = []
        for case, label in product(range(8), ("a", "b")):
            numbers = dict.fromkeys(NUMBERS, 1.0) | {"dice": 0.5 + shift + 0.02 * case}
            rows.append({"case": str(case), "patient": f"p{case // 2}", "label": label, "outcome": "both"} | numbers)
        return pd.DataFrame(rows)

    shuffled = table(0.1).sample(frac=1, random_state=0)
    found = compare_pairs([paired_label_maps("dice:b", shuffled, table(0.0), labels=["a", "b"])])
    assert found.difference == pytest.approx(0.1)
    assert (found.n_patients, found.n_cases, found.exact) == (4, 8, True)
    assert found.p == 2 / 16
    with pytest.raises(DataError, match="one of the two tables only"):
        paired_label_maps("dice", table(0), table(0)[2:], labels=["a", "b"])
    for unknown in ("dicee", "dice:c"):
        with pytest.raises(DataError, match=f"no metric '{unknown}'"):
            paired_label_maps(unknown, table(0), table(0), labels=["a", "b"])


def test_delong_is_its_own_formula_where_each_case_is_a_patient() -> None:
    """The covariance of structural components, over pairs by hand."""
    positive, negative = TRUTH == 1, TRUTH == 0
    tens, ones = [], []
    for each in (GOOD[:, 1], POOR[:, 1]):
        above = each[positive][:, None] - each[negative][None]
        wins = (above > 0) + 0.5 * (above == 0)
        tens.append(wins.mean(axis=1))
        ones.append(wins.mean(axis=0))
    contrast = np.array([1, -1])
    variance = contrast @ (np.cov(tens) / positive.sum() + np.cov(ones) / negative.sum()) @ contrast
    found = delong(TRUTH, GOOD[:, 1], POOR[:, 1])
    assert found.error == pytest.approx(np.sqrt(variance))
    assert found.first == pytest.approx(auroc(TRUTH, GOOD[:, 1]))
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.first - found.second) / np.sqrt(variance)))


def test_delong_carries_the_covariance_of_patients_with_both_kinds() -> None:
    """Obuchowski's formula where every patient has cases of both kinds."""
    rng, count = np.random.default_rng(5), 25
    patients = np.concatenate([np.arange(count), np.arange(count), rng.integers(0, count, 10)])
    truth = np.repeat([1, 0, 0], [count, count, 10])
    scores = rng.normal(size=(2, len(truth))) + rng.normal(size=(2, count))[:, patients] + truth
    sums = np.zeros((2, count))  # of the placements of positive and of negative cases, by patient, first less second
    for sign, score_ in zip((1, -1), scores, strict=True):
        wins = (score_[truth == 1][:, None] > score_[truth == 0][None]).astype(float) - auroc(truth, score_)
        np.add.at(sums[0], patients[truth == 1], sign * wins.mean(axis=1))
        np.add.at(sums[1], patients[truth == 0], sign * wins.mean(axis=0))
    parts = sums / [[count], [count + 10]]
    variance = count / (count - 1) * (parts.sum(axis=0) ** 2).sum()
    assert abs((parts[0] * parts[1]).sum()) > 0.02 * (parts**2).sum()
    assert delong(truth, *scores, patients).error == pytest.approx(np.sqrt(variance))


def test_two_patients_of_each_kind_are_enough_for_delong_and_one_is_not() -> None:
    truth, first, second = np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.4, 0.9]), np.array([0.5, 0.1, 0.4, 0.2])
    assert np.isfinite(delong(truth, first, second).error)
    for one_of_a_kind in ([0, 0, 1, 2], [0, 1, 2, 2]):
        assert np.isnan(delong(truth, first, second, one_of_a_kind).error)


def test_delong_by_patient_does_not_count_copies() -> None:
    once = delong(TRUTH, GOOD[:, 1], POOR[:, 1], np.arange(80))
    copied = [np.repeat(each, 5) for each in (TRUTH, GOOD[:, 1], POOR[:, 1], np.arange(80))]
    assert delong(*copied).error == pytest.approx(once.error)
    assert delong(*copied[:3]).error < 0.6 * once.error
    assert delong(TRUTH, GOOD[:, 1], GOOD[:, 1]).p == 1
    assert np.isnan(delong(np.ones(4, int), np.ones(4), np.ones(4)).p)


def test_delong_says_nothing_of_chance_where_no_patient_differs() -> None:
    perfect = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    truth = perfect.astype(int)
    found = delong(truth, perfect, 1 - perfect)
    assert (found.first, found.second, found.error) == (1, 0, 0)
    assert np.isnan(found.p)
    one_ill = delong(truth[:4], perfect[:4], np.array([0.2, 0.9, 0.1, 0.5]))
    assert one_ill.first == 1
    assert np.isnan([one_ill.error, one_ill.p]).all()
    one_ill_twice = delong(truth[:5], perfect[:5], np.arange(5.0), ["a", "b", "c", "d", "d"])
    assert np.isnan(one_ill_twice.p)


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, np.nan]), [0.03, 0.06, 0.06, np.nan])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])


@pytest.mark.parametrize(
    ("first", "patients", "words"),
    [
        ([1.0], ["a", "b"], "patients"),
        ([1.0, np.nan], ["a", "b"], "missing"),
        ([[1.0, 2.0]], ["a", "b"], "one of each"),
    ],
)
def test_columns_that_do_not_fit_are_refused(first: list[float], patients: list[str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        paired_means(np.array(first), np.zeros_like(first), patients)


def test_unknown_metrics_are_refused() -> None:
    with pytest.raises(DataError, match=r"no metric 'aurok'.*Did you mean 'auroc'"):
        classified("aurok")
    with pytest.raises(DataError, match="no value of one output"):
        classified("mcc:yes")
