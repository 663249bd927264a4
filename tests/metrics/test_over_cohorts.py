"""Methods over several cohorts, against SciPy and by hand."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.stats import PermutationMethod, rankdata, wilcoxon

from radapt.errors import DataError
from radapt.metrics.comparison import compare_over_cohorts, signed_rank_p
from radapt.metrics.comparison.ranks import mean_ranks


@pytest.mark.parametrize("count", [1, 2, 5, 6, 9, 14, 30, 50])
def test_as_scipy_counts_it(count: int) -> None:
    moved = np.random.default_rng(count).normal(0.4, 1, size=count)
    assert signed_rank_p(moved) == pytest.approx(wilcoxon(moved, method="exact").pvalue, rel=1e-9)


def test_with_ties_and_zeros_as_scipy_counts_every_sign() -> None:
    moved = np.array([0.1, 0.1, -0.1, 0.2, 0.0, 0.3, 0.3, -0.2])
    kept = moved[moved != 0]
    every = wilcoxon(kept, method=PermutationMethod(n_resamples=np.inf))
    assert signed_rank_p(moved) == pytest.approx(every.pvalue, rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_ties_of_three_and_more_are_counted_over_every_sign(seed: int) -> None:
    moved = np.random.default_rng(seed).integers(1, 4, size=7) * np.array([1, 1, 1, 1, -1, 1, -1])
    ranks = rankdata(np.abs(moved))
    sums = np.array(list(product((-1, 1), repeat=7))) @ ranks
    expected = (np.abs(sums) >= abs((ranks * np.sign(moved)).sum())).mean()
    assert signed_rank_p(moved) == pytest.approx(expected, rel=1e-9)


def test_equal_values_are_no_difference() -> None:
    assert signed_rank_p([0.0, 0.0, 0.0]) == 1.0
    assert signed_rank_p([1e-15, -1e-15]) == 1.0


@pytest.mark.parametrize(("count", "smallest"), [(2, 0.5), (5, 0.0625), (6, 0.03125)])
def test_fewer_than_six_cohorts_reach_no_05(count: int, smallest: float) -> None:
    assert signed_rank_p(np.arange(1.0, count + 1)) == smallest


def test_ranks_as_scipy_has_them() -> None:
    values = np.round(np.random.default_rng(0).normal(size=60), 1)
    np.testing.assert_array_equal(mean_ranks(values), rankdata(values))


def stairs(cohorts: int, methods: int) -> np.ndarray:
    """Each method is better than the next on every cohort, by other steps."""
    steps = np.random.default_rng(0).uniform(0.01, 0.02, size=(cohorts, methods))
    return 1 - np.cumsum(steps, axis=1)


def test_two_methods_on_six_cohorts() -> None:
    found = compare_over_cohorts(stairs(6, 2))
    (pair,) = found.pairs
    assert (pair.verdict, pair.p, pair.holm) == ("better", 0.03125, 0.03125)
    assert (pair.n_first_better, pair.n_second_better, found.cliques) == (6, 0, ())
    assert (found.ranks, found.cohorts_needed, found.smallest_p) == ((1.0, 2.0), 6, 0.03125)


def test_losses_turn_the_order_but_not_the_verdict() -> None:
    values, losses = stairs(6, 2), 1 - stairs(6, 2)
    (pair,) = compare_over_cohorts(losses, smaller_is_better=True).pairs
    (plain,) = compare_over_cohorts(values).pairs
    assert pair.difference == pytest.approx(-plain.difference)
    assert replace(pair, difference=plain.difference) == plain
    (turned,) = compare_over_cohorts(losses).pairs
    assert (turned.first, turned.second, turned.verdict) == (1, 0, "better")


def test_two_methods_on_five_cohorts_stay_undecided() -> None:
    found = compare_over_cohorts(stairs(5, 2))
    assert found.pairs[0].verdict == "undecided"
    assert found.cliques == ((0, 1),)


def test_more_methods_need_more_cohorts() -> None:
    few, enough = compare_over_cohorts(stairs(7, 3)), compare_over_cohorts(stairs(8, 3))
    assert few.cohorts_needed == enough.cohorts_needed == 7
    assert {pair.holm for pair in few.pairs} == {3 * 2**-6}
    assert enough.cliques == ()
    assert compare_over_cohorts(stairs(6, 3)).cliques == ((0, 1, 2),)


def test_holm_by_hand() -> None:
    values = np.zeros((8, 3))
    values[:, 0] = 0.9
    values[:, 1] = 0.5 + 0.01 * np.array([1, -2, 3, -4, 5, -6, 7, -8])
    values[:, 2] = 0.5
    found = compare_over_cohorts(values)
    assert found.order[0] == 0
    near = next(pair for pair in found.pairs if 0 not in (pair.first, pair.second))
    far = [pair for pair in found.pairs if pair is not near]
    assert [pair.holm for pair in far] == [3 * 2**-7, 3 * 2**-7]
    assert near.holm == near.p == pytest.approx(wilcoxon(values[:, 1] - 0.5, method="exact").pvalue)
    assert found.cliques == ((near.first, near.second),)


def test_ranks_share_ties_and_turn_where_smaller_is_better() -> None:
    values = np.array([[1.0, 1.0, 3.0], [1.0, 2.0, 3.0]])
    assert compare_over_cohorts(values).ranks == (2.75, 2.25, 1.0)
    turned = compare_over_cohorts(values, smaller_is_better=True)
    assert turned.ranks == (1.25, 1.75, 3.0)
    assert (turned.pairs[0].n_first_better, turned.pairs[0].difference) == (1, -0.5)


def test_a_bar_never_spans_a_clear_difference() -> None:
    values = np.random.default_rng(3).normal(size=(12, 5)) + np.array([1.5, 1.2, 0.6, 0.2, -1.5])
    found = compare_over_cohorts(values)
    clear = {frozenset((pair.first, pair.second)) for pair in found.pairs if pair.verdict != "undecided"}
    assert clear
    assert found.cliques
    for clique in found.cliques:
        assert not any(frozenset((a, b)) in clear for a in clique for b in clique if a != b)


@pytest.mark.parametrize("values", [np.zeros((1, 2)), np.zeros((2, 1)), np.zeros(4), [[0.1, 0.2], [0.3, np.nan]]])
def test_refused(values: object) -> None:
    with pytest.raises(DataError, match="expected"):
        compare_over_cohorts(np.asarray(values))
