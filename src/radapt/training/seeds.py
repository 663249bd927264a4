"""Counter-based random numbers: what is drawn for a sample depends on its seed alone, not on other draws."""

import hashlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def derived(*parts: int | str) -> int:
    """One seed in [0, 2⁶³) from integers and strings; different parts give different seeds."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def sample_seeds(seed: int, epoch: int, positions: np.ndarray) -> np.ndarray:
    """uint64 (b,): a seed for the sample at each of `positions` (b,) in the order of an epoch.

    A sample's seed does not depend on how the epoch is split into batches, which process loads it, or where an
    interrupted run resumed.
    """
    return mixed(np.uint64(derived(seed, "samples", epoch)), np.asarray(positions))


def uniform(seeds: np.ndarray, slot: int) -> np.ndarray:
    """float64 (b,) in [0, 1): number `slot` of the stream of each of `seeds` uint64 (b,)."""
    return (mixed(np.asarray(seeds, np.uint64), np.int64(slot)) >> np.uint64(11)) * 2.0**-53


def mixed(seeds: np.ndarray | np.uint64, counters: np.ndarray | np.int64) -> np.ndarray:
    """uint64: SplitMix64 (Steele, Lea and Flood 2014), with the counter mixed on its own first.

    Without that, the streams of two seeds that differ by a multiple of the golden number would overlap.
    """
    # As arrays, which wrap around without a warning; the overflow is intended.
    counted = _finalised(np.atleast_1d(counters).astype(np.uint64) * _GOLDEN + _GOLDEN)
    return _finalised(np.asarray(seeds, np.uint64) + counted)


def _finalised(value: np.ndarray) -> np.ndarray:
    value = (value ^ (value >> np.uint64(30))) * _MIX_1
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return value ^ (value >> np.uint64(31))
