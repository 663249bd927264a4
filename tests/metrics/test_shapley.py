"""Shapley values: the axioms that define them, the definition itself, and numbers paired by patient."""

from itertools import permutations

import numpy as np
import pytest

from radapt.errors import DataError, UsageError
from radapt.metrics import score
from radapt.metrics.bootstrap import Range, metric_interval
from radapt.metrics.paired_scores import score_paired
from radapt.metrics.shapley import members, shapley_values

RNG = np.random.default_rng(3)


def by_definition(values: np.ndarray) -> np.ndarray:
    """The mean over all orders of arrival of what a player adds to those who came before."""
    players = len(values).bit_length() - 1
    orders = list(permutations(range(players)))
    found = np.zeros((players, *values.shape[1:]))
    for order in orders:
        subset = 0
        for player in order:
            found[player] += values[subset | 1 << player] - values[subset]
            subset |= 1 << player
    return found / len(orders)


@pytest.mark.parametrize("players", [1, 2, 3, 5])
def test_equals_the_mean_over_all_orders(players: int) -> None:
    values = RNG.normal(size=(2**players, 7))
    np.testing.assert_allclose(shapley_values(values), by_definition(values), rtol=0, atol=1e-14)


def test_a_glove_game() -> None:
    """Players 0 and 1 have a left glove, 2 a right one; a pair is worth 1: (1/6, 1/6, 4/6), known from textbooks."""
    values = [0, 0, 0, 0, 0, 1, 1, 1]  # the subsets {}, 0, 1, 01, 2, 02, 12, 012
    np.testing.assert_allclose(shapley_values(np.array(values)), [1 / 6, 1 / 6, 4 / 6], atol=1e-15)


def test_values_sum_to_what_all_have_over_none() -> None:
    values = RNG.normal(size=(2**6, 4))
    np.testing.assert_allclose(shapley_values(values).sum(axis=0), values[-1] - values[0], atol=1e-13)


def test_a_player_that_changes_nothing_has_zero() -> None:
    inside = members(4)
    values = RNG.normal(size=8)[(inside[:, [0, 1, 3]] @ [1, 2, 4])]  # player 2 is not asked
    np.testing.assert_allclose(shapley_values(values)[2], 0, atol=1e-15)


def test_players_that_do_the_same_have_the_same() -> None:
    inside = members(3).astype(int)
    values = RNG.normal(size=(3, 2))[inside[:, 0] + inside[:, 1], inside[:, 2]]
    first, second, _ = shapley_values(values)
    assert first == pytest.approx(second, abs=1e-15)


def test_renaming_the_players_renames_the_values() -> None:
    values, order = RNG.normal(size=16), [2, 0, 3, 1]
    renamed = values[members(4)[:, order] @ (1 << np.arange(4))]  # the new player order[m] does what m did
    np.testing.assert_allclose(shapley_values(renamed)[order], shapley_values(values), atol=1e-14)


def test_linear_in_the_table_and_column_by_column() -> None:
    first, second = RNG.normal(size=(2, 8, 5))
    np.testing.assert_allclose(
        shapley_values(first - 2 * second), shapley_values(first) - 2 * shapley_values(second), atol=1e-14
    )
    np.testing.assert_array_equal(shapley_values(first)[:, 3], shapley_values(first[:, 3]))


def test_an_undefined_subset_leaves_its_replicate_undefined_and_no_other() -> None:
    values = RNG.normal(size=(4, 3))
    values[2, 1] = np.nan
    assert np.isnan(shapley_values(values)).tolist() == [[False, True, False]] * 2


def test_twelve_players_are_judged_and_thirteen_are_too_many() -> None:
    assert shapley_values(RNG.normal(size=4096)).shape == (12,)
    with pytest.raises(UsageError, match="13 sequences have 8,192 subsets"):
        shapley_values(np.zeros(8192))


@pytest.mark.parametrize("values", [np.zeros(0), np.zeros(1), np.zeros(3), np.zeros((6, 2)), np.float64(1)])
def test_a_table_without_every_subset_is_refused(values: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected 2 for one player"):
        shapley_values(values)


def _answers(sets: int, cases: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    truth = RNG.integers(0, 3, cases)
    probabilities = RNG.dirichlet(np.ones(3), size=(sets, cases))
    return truth, probabilities, np.arange(cases) // 2


def test_each_table_is_that_of_score_on_the_same_patients() -> None:
    truth, probabilities, patients = _answers(3)
    given = {"task": "multiclass", "outputs": list("abc"), "resamples": 60}
    paired = score_paired(truth, probabilities, patients, rng=np.random.default_rng(5), keep=("mcc",), **given)
    seed = int(np.random.default_rng(5).integers(2**63))
    for answers, table in zip(probabilities, paired.tables, strict=True):
        expected = score(truth, answers, patients, rng=np.random.default_rng(seed), **given)
        assert table.equals(expected)
    row = paired.tables[1].set_index("metric").loc["mcc"]
    assert paired.values["mcc"][1] == row["value"]
    found = metric_interval(row["value"], paired.drawn["mcc"][1], 20, Range(-1.0))
    assert found == (row["ci_low"], row["ci_high"])


def test_equal_answers_differ_by_nothing_in_every_replicate() -> None:
    truth, probabilities, patients = _answers(2)
    same = np.stack([probabilities[0], probabilities[0]])
    paired = score_paired(
        truth, same, patients, task="multiclass", outputs="abc", rng=RNG, resamples=50, keep=("mcc", "auroc")
    )
    values, ends = paired.combined("mcc", lambda sets: sets[:1] - sets[1:])
    assert values.tolist() == [0]
    assert ends == [(0.0, 0.0)]


def test_one_patient_or_one_class_gives_no_interval() -> None:
    truth, probabilities, _ = _answers(2)
    options = {"task": "multiclass", "outputs": "abc", "rng": RNG, "resamples": 50, "keep": ("mcc",)}
    alone = score_paired(truth, probabilities, ["same"] * len(truth), **options)
    assert np.isnan(alone.combined("mcc", lambda sets: sets)[1]).all()
    one_class = score_paired(np.zeros_like(truth), probabilities, np.arange(len(truth)), **options)
    values, ends = one_class.combined("mcc", lambda sets: sets)
    assert np.isnan(values).all()
    assert np.isnan(ends).all()
    assert one_class.patients["mcc"] == 0
    with pytest.raises(DataError, match="no predictions to score"):
        score_paired(truth, [], truth, **options)
