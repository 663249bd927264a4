"""Random numbers by counter: even, independent, and the same wherever they are asked for."""

import numpy as np
from scipy import stats

from radapt.training.seeds import derived, mixed, sample_seeds, uniform


def test_seeds_of_samples_do_not_depend_on_how_they_are_asked_for() -> None:
    whole = sample_seeds(7, 2, np.arange(100))
    assert whole.dtype == np.uint64
    assert np.array_equal(whole[40:60], sample_seeds(7, 2, np.arange(40, 60)))


def test_seeds_differ_between_samples_epochs_and_trainings() -> None:
    every = [sample_seeds(seed, epoch, np.arange(500)) for seed in range(4) for epoch in range(5)]
    assert len(np.unique(np.concatenate(every))) == 4 * 5 * 500


def test_uniform_numbers_are_even_and_their_slots_independent() -> None:
    seeds = sample_seeds(0, 0, np.arange(20_000))
    first, second = uniform(seeds, 0), uniform(seeds, 1)
    assert stats.kstest(first, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.03


def test_streams_of_neighbouring_seeds_do_not_overlap() -> None:
    seeds = np.arange(50, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    numbers = np.concatenate([mixed(seeds, np.int64(slot)) for slot in range(50)])
    assert len(np.unique(numbers)) == 2500


GOLDEN, WHOLE = 0x9E3779B97F4A7C15, 2**64 - 1


def splitmix64(state: int) -> int:
    """The output for a state, in Python's whole numbers (Steele, Lea and Flood 2014)."""
    z = state & WHOLE
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & WHOLE
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & WHOLE
    return z ^ (z >> 31)


def test_numbers_are_those_of_splitmix64() -> None:
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]  # of seed 1234567, Rosetta Code
    assert [splitmix64(1234567 + n * GOLDEN) for n in (1, 2, 3)] == published
    seeds = np.array([0, 5, 2**64 - 3], np.uint64)
    expected = [splitmix64(int(seed) + splitmix64(8 * GOLDEN)) for seed in seeds]
    assert mixed(seeds, np.int64(7)).tolist() == expected
    assert uniform(seeds, 7).tolist() == [number // 2**11 / 2**53 for number in expected]


def test_derived_seeds_depend_on_every_part_and_fit_a_signed_number() -> None:
    seeds = {derived(*parts) for parts in [(0, "a"), (0, "b"), (1, "a"), (1, "a", 0), (11, "a"), (1, "1a")]}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)
