"""Pairs of similar hashes among many, block by block, so that memory does not grow with their square."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from radapt.images.duplicates.hashes import HARMONICS, RINGS, turn_signs

_LIKE = 0.78
"""Least cosine of two hashes whose planes are compared; chosen on films, and kept on MRI and small pictures."""

_LIKE_PER_RING = 0.024  # less for each ring that a small picture does not resolve
_LEAST_RINGS = 4
_BLOCK, _STRIPE = 512, 2048  # their product stays in the processor's cache
_DIRECTIONS = 64  # principal directions that large sets are compared in
_LARGE, _SAMPLED = 5_000, 20_000  # hashes above which this pays, and that the directions are taken from
_PRIOR = 20  # imagined hashes of zero in the mean, which matter to small cohorts
_PER_HASH = 8
_HELD = 1_000_000  # candidates held before the best of each hash are chosen


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs of hashes by position, with the cosine of each and its class of `TURNS`: four arrays (n,)."""

    first: np.ndarray
    second: np.ndarray
    turn: np.ndarray
    likeness: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


def similar(hashes: np.ndarray, apart: np.ndarray, places: np.ndarray | None = None) -> Candidates:
    """Candidates among int8 (n, SIZE) `hashes` that differ in `apart`, and in `places` if given, both (n,) integers.

    The pairs are unordered, most similar first. Of one hash only the few most similar are kept; hashes of planes
    without structure are in no pair. Memory is some hundred bytes per hash, and time grows with n².
    """
    held = [np.zeros((0, 4))]
    for rings in np.unique(hashes[:, 0]):
        if rings < _LEAST_RINGS:
            continue
        for found in _found(hashes, int(rings)):
            pairs = found[:, :2].astype(np.int64)
            keep = apart[pairs[:, 0]] != apart[pairs[:, 1]]
            if places is not None:
                keep &= places[pairs[:, 0]] != places[pairs[:, 1]]
            held.append(found[keep])
            if sum(map(len, held)) > _HELD:
                held = [_best(np.concatenate(held))]
    best = _best(np.concatenate(held))
    first, second, turn = best[:, :3].T.astype(np.int64)
    return Candidates(first, second, turn, best[:, 3].astype(np.float32))


def _found(hashes: np.ndarray, rings: int) -> Iterator[np.ndarray]:
    """(k, 4) first, second, turn, cosine: pairs of planes that resolve `rings` with those that resolve as many."""
    own, finer = np.flatnonzero(hashes[:, 0] == rings), np.flatnonzero(hashes[:, 0] > rings)
    pool = np.concatenate([own, finer])
    values = hashes[pool, 1 : 1 + 2 * HARMONICS * rings]
    space = _Space(values)
    units = np.concatenate([space.units(values[at : at + _STRIPE]) for at in range(0, len(values), _STRIPE)])
    signs = turn_signs()[:, : values.shape[1]].astype(np.int8)
    least = _LIKE - _LIKE_PER_RING * (len(RINGS) - rings)
    buffer = np.empty(_BLOCK * _STRIPE, np.float32)
    for start in range(0, len(own), _BLOCK):
        block = values[start : min(start + _BLOCK, len(own))]
        for turn, sign in enumerate(signs):
            query = space.units(block * sign)
            for left in range(start, len(pool), _STRIPE):
                stripe = units[left : left + _STRIPE]
                likeness = buffer[: len(query) * len(stripe)].reshape(len(query), len(stripe))
                np.matmul(query, stripe.T, out=likeness)
                if likeness.max() < least:
                    continue
                row, column = np.nonzero(likeness >= least)
                once = left + column > start + row
                row, column = row[once], column[once]
                pairs = pool[start + row], pool[left + column]
                yield np.stack([*pairs, np.full(len(row), turn), likeness[row, column]], axis=1)


class _Space:
    """Where hashes are compared: their mean is taken off, and large sets are projected on their main directions."""

    def __init__(self, values: np.ndarray) -> None:
        self.mean = (values.sum(axis=0, dtype=np.float64) / (len(values) + _PRIOR)).astype(np.float32)
        self.directions: np.ndarray | None = None
        if len(values) > _LARGE and values.shape[1] > _DIRECTIONS:
            sample = self.units(values[:: max(1, len(values) // _SAMPLED)])
            _, directions = np.linalg.eigh(sample.T @ sample)
            self.directions = np.ascontiguousarray(directions[:, -_DIRECTIONS:])

    def units(self, values: np.ndarray) -> np.ndarray:
        """float32 (n, d) of length 1."""
        shifted = values - self.mean
        if self.directions is not None:
            shifted = shifted @ self.directions
        shifted /= np.maximum(np.linalg.norm(shifted, axis=1, keepdims=True), 1e-6)
        return shifted


def _best(found: np.ndarray) -> np.ndarray:
    """Each pair once, most similar first, and at most `_PER_HASH` pairs of a first hash."""
    found = found[np.argsort(-found[:, 3], kind="stable")]
    _, once = np.unique(found[:, :2], axis=0, return_index=True)
    found = found[np.sort(once)]
    order = np.argsort(found[:, 0], kind="stable")
    firsts = found[order, 0]
    rank = np.arange(len(order)) - np.searchsorted(firsts, firsts)
    return found[np.sort(order[rank < _PER_HASH])]
