"""BCa intervals of a paired difference: against SciPy, by hand, where they are undefined, and what changes nothing."""

from dataclasses import astuple, replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from radapt.errors import DataError
from radapt.metrics import multiplicities
from radapt.metrics.comparison import (
    Draws,
    Pair,
    PredictionSets,
    bca_interval,
    compare_many,
    compare_pairs,
    over_training,
    paired_means,
    paired_predictions,
)

RNG = np.random.default_rng(4)
CASES = 40
TRUTH = (RNG.random(CASES) < 0.4).astype(int)
DRAWS = Draws(seed=1, resamples=500, permutations=99, interval="bca")
BINARY = {"task": "binary", "outputs": ["no", "yes"]}


def probabilities(skill: float) -> np.ndarray:
    positive = 1 / (1 + np.exp(-(skill * TRUTH + RNG.normal(size=CASES))))
    return np.stack([1 - positive, positive], axis=1)


SETS = [probabilities(skill) for skill in (2.5, 0.3, 1.0)]


def scipys(drawn: np.ndarray, samples: tuple[np.ndarray, ...], statistic) -> tuple[float, float]:
    """SciPy's BCa interval of these replicates; its jackknife is its own."""
    found = stats.bootstrap(
        samples, statistic, paired=True, vectorized=False, n_resamples=0, method="BCa",
        bootstrap_result=SimpleNamespace(bootstrap_distribution=drawn),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def test_means_of_skewed_numbers_have_scipys_interval() -> None:
    first, second = RNG.exponential(size=CASES), RNG.exponential(0.5, size=CASES)
    found = compare_pairs([paired_means(first, second, np.arange(CASES))], DRAWS)
    times = multiplicities(np.random.default_rng(1), CASES, 500)
    oracle = scipys(times @ (first - second) / CASES, (first, second), lambda a, b: np.mean(a) - np.mean(b))
    assert (found.ci_low, found.ci_high) == pytest.approx(oracle, abs=1e-12)
    plain = compare_pairs([paired_means(first, second, np.arange(CASES))], replace(DRAWS, interval="percentile"))
    assert plain.ci_high < found.ci_high  # towards the long tail
    assert (plain.p, plain.detectable) == (found.p, found.detectable)
    assert (plain.ci_low, plain.ci_high) == pytest.approx(np.quantile(times @ (first - second) / CASES, [0.025, 0.975]))


def test_areas_under_the_curve_have_scipys_interval() -> None:
    pair = paired_predictions("auroc", TRUTH, (SETS[0], SETS[1]), np.arange(CASES), **BINARY)
    found = compare_pairs([pair], DRAWS)
    times = multiplicities(np.random.default_rng(1), CASES, 500).T.astype(float)
    nothing = np.zeros_like(times)
    drawn = pair.values(np.concatenate([times, nothing])) - pair.values(np.concatenate([nothing, times]))
    samples = (TRUTH, SETS[0][:, 1], SETS[1][:, 1])
    # Rounded, because a tie is a tie for SciPy only where both values were added up in the same order.
    oracle = scipys(np.round(drawn, 12), samples, lambda t, a, b: round(roc_auc_score(t, a) - roc_auc_score(t, b), 12))
    assert (found.ci_low, found.ci_high) == pytest.approx(oracle, abs=1e-11)


def test_an_interval_by_hand() -> None:
    """Of values 0, 0, 3 without one patient each: d = 1, 1, −2, so a = (1 + 1 − 8) / (6 · 6^1.5) = −1 / 6^1.5. Six of
    ten replicates are below the value and two are equal, so z0 = Φ⁻¹(0.7) = 0.5244."""
    drawn = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0, 1.0, 1.5, 1.6])
    # z0 − 1.96 = −1.43556, / (1 − 0.0680414 · 1.43556) = −1.59097, + z0 = −1.06657: a share of 0.143084.
    # z0 + 1.96 = 2.48436, / (1 + 0.0680414 · 2.48436) = 2.12513, + z0 = 2.64953: a share of 0.995970.
    # Of ten values the quantile is at 9 × the share: 1.28776, between 0.1 and 0.2, and 8.96373, between 1.5 and 1.6.
    assert bca_interval(1.0, drawn, np.array([0.0, 0.0, 3.0])) == pytest.approx((0.128776, 1.596373), abs=1e-6)


@pytest.mark.parametrize("metric", ["auroc", "mcc", "brier"])
def test_exchanging_the_methods_changes_signs_and_the_order_of_patients_nothing(metric: str) -> None:
    patients = np.arange(CASES) // 2
    shuffled = np.random.default_rng(0).permutation(CASES // 2)
    rows = (2 * shuffled[:, None] + [0, 1]).ravel()

    def pair(a: int, b: int, order: np.ndarray) -> Pair:
        return paired_predictions(metric, TRUTH[order], (SETS[a][order], SETS[b][order]), patients, **BINARY)

    one, turned = (compare_pairs([pair(*each, np.arange(CASES))], DRAWS) for each in ((0, 1), (1, 0)))
    assert (turned.ci_low, turned.ci_high) == pytest.approx((-one.ci_high, -one.ci_low), abs=1e-12)
    times = multiplicities(np.random.default_rng(0), CASES // 2, 300).T.astype(float)

    def interval(order: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
        asked = pair(0, 1, order)

        def difference(columns: np.ndarray) -> np.ndarray:
            nothing = np.zeros_like(columns)
            return asked.values(np.concatenate([columns, nothing])) - asked.values(np.concatenate([nothing, columns]))

        units = len(weights)
        return bca_interval(
            float(difference(np.ones((units, 1)))[0]), difference(weights), difference(1 - np.eye(units))
        )

    assert interval(rows, times[shuffled]) == pytest.approx(interval(np.arange(CASES), times), abs=1e-12)


def test_copies_of_a_patients_cases_say_no_more() -> None:
    first, second = RNG.exponential(size=(2, 12))
    once = compare_pairs([paired_means(first, second, np.arange(12))], DRAWS)
    many = compare_pairs([paired_means(*(np.repeat(each, 7) for each in (first, second, np.arange(12))))], DRAWS)
    assert (many.ci_low, many.ci_high) == pytest.approx((once.ci_low, once.ci_high))


def test_many_pairs_have_the_interval_of_each_alone() -> None:
    patients, pairs = np.arange(CASES) // 2, [((0, 1), (2, 2)), ((2,), (0,))]
    given = PredictionSets(TRUTH, SETS, patients, **BINARY, metrics=["auroc", "mcc"])
    found = compare_many(given, pairs, ["auroc", "mcc"], DRAWS)
    for metric, own in found.items():
        for (first, second), together in zip(pairs, own, strict=True):
            alone = compare_pairs(
                [
                    paired_predictions(metric, TRUTH, (SETS[a], SETS[b]), patients, **BINARY)
                    for a, b in zip(first, second, strict=True)
                ],
                DRAWS,
            )
            assert together.interval == alone.interval == "bca"
            assert astuple(together) == pytest.approx(astuple(alone), abs=1e-12)


def test_where_there_is_no_interval() -> None:
    drawn, left_out = RNG.normal(size=100), RNG.normal(size=5)

    def is_undefined(value: float, drawn: np.ndarray, left_out: np.ndarray) -> bool:
        return bool(np.isnan(bca_interval(value, drawn, left_out)).all())

    assert not is_undefined(0.0, drawn, left_out)
    assert is_undefined(0.0, drawn, left_out[:2])  # two patients
    assert is_undefined(0.0, drawn, np.zeros(5) + 1e-17 * np.arange(5))  # no acceleration
    assert is_undefined(0.0, drawn, np.array([*left_out, np.nan]))  # the only patient of a kind
    assert is_undefined(9.0, drawn, left_out)  # every replicate is below
    assert is_undefined(float("nan"), drawn, left_out)
    assert is_undefined(0.0, np.where(np.arange(100) < 51, np.nan, drawn), left_out)
    assert not is_undefined(0.0, np.where(np.arange(100) < 50, np.nan, drawn), left_out)


def test_all_patients_alike_have_an_interval_without_width() -> None:
    """Up to rounding: 0.1 + 0.2 is not 0.3."""
    assert bca_interval(0.3, np.full(9, 0.1 + 0.2), np.full(4, 0.3)) == (0.3, 0.3)
    found = compare_pairs([paired_means(np.full(9, 0.3), np.full(9, 0.1), np.arange(9))], DRAWS)
    assert (found.ci_low, found.ci_high) == pytest.approx((0.2, 0.2))
    assert found.verdict() == "better"


def test_one_ill_patient_leaves_the_comparison_undecided() -> None:
    truth = np.array([1, *[0] * 11])
    sets = SETS[0][:12], SETS[1][:12]
    found = compare_pairs([paired_predictions("auroc", truth, sets, np.arange(12), **BINARY)], DRAWS)
    assert np.isfinite(found.difference)
    assert np.isnan([found.ci_low, found.ci_high]).all()
    assert found.verdict(0.9) == "undecided"


def test_training_runs_are_added_to_the_spread_of_any_interval() -> None:
    """That of many patients is the same by all; the quantiles were expanded in one of them."""
    numbers = RNG.normal(0.1, 1, 400), np.zeros(400)
    pair = paired_means(*numbers, np.arange(400))
    found = [compare_pairs([pair], replace(DRAWS, interval=each)) for each in ("expanded", "percentile", "bca")]
    wider = [over_training(each, [0.1, 0.3], [0.0, 0.02]) for each in found]
    assert [each.ci_high for each in wider] == pytest.approx([wider[0].ci_high] * 3, abs=0.01)


def test_another_interval_is_refused() -> None:
    with pytest.raises(DataError, match=r"no interval 'bcaa'\. Did you mean 'bca'"):
        Draws(interval="bcaa")
