"""The optimism of the best of several candidates, from their predictions, by repeating the choice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radapt.errors import DataError
from radapt.metrics.bootstrap import multiplicities, percentile_interval, units_of
from radapt.metrics.ranking import Ranking, checked_binary

HELD_OUT = 1 / 3
"""Of the patients of each kind, in every split. Fewer make the estimate noisier, more make the choice worse."""

_CHUNK = 128


@dataclass(frozen=True)
class PredictionOptimism:
    """The AUROC of each candidate (K,), the best one's index, and how much of its AUROC is due to the choice.

    `again` is the share of splits in which it is chosen again. `ci_low` and `ci_high` bound its AUROC without the
    optimism: its 95 % bootstrap interval by patient, moved down by `optimism`.
    """

    scores: np.ndarray
    winner: int
    optimism: float
    again: float
    ci_low: float
    ci_high: float
    n_patients: int


def optimism_of_predictions(
    truth: np.ndarray,
    scores: np.ndarray,
    patients: Sequence[object] | np.ndarray,
    *,
    seed: int = 0,
    splits: int = 500,
    resamples: int = 2000,
) -> PredictionOptimism:
    """Choose the best candidate again without a third of the patients, and compare on this third.

    `truth` (N,) of 0 and 1, `scores` (K, N) of K candidates, `patients` (N,). The optimism is the mean over splits of
    the AUROC of the overall winner minus that of the candidate chosen without the third, both on the third: the winner
    has seen these patients when it was chosen, the other has not. 0 for a single candidate, and where the same one wins
    in every split. Raises DataError for other shapes or values, without candidates, and with fewer than two patients
    with a positive or with a negative case.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or not len(scores):
        raise DataError(f"Scores have shape {scores.shape}; expected one row per candidate and one column per case.")
    truth = np.asarray(truth)
    for row in scores:
        checked_binary(truth, row)
    unit, units = units_of(np.asarray(patients, dtype=object))
    kind = _kinds(truth, unit, units)
    rankings = [Ranking(truth, row, unit, units) for row in scores]
    areas = _areas(rankings, np.ones((units, 1)))[:, 0]
    winner = int(np.argmax(areas))
    rng = np.random.default_rng(seed)
    optimism, again = (0.0, 1.0) if len(scores) == 1 else _choose_again(rankings, winner, kind, splits, rng)
    drawn = [
        rankings[winner].numbers(multiplicities(rng, units, min(_CHUNK, resamples - start)).T.astype(float))[0]
        for start in range(0, resamples, _CHUNK)
    ]
    low, high = percentile_interval(np.concatenate(drawn))
    return PredictionOptimism(areas, winner, optimism, again, low - optimism, high - optimism, units)


def _kinds(truth: np.ndarray, unit: np.ndarray, units: int) -> np.ndarray:
    """(U,) 1 for patients with negative cases only, 2 with positive ones only, 3 with both."""
    kind = np.zeros(units, dtype=np.int64)
    for value, name in ((0, "negative"), (1, "positive")):
        members = np.unique(unit[truth == value])
        if len(members) < 2:
            raise DataError(f"Patients with a {name} case: {len(members)}; expected at least 2, to repeat the choice.")
        kind[members] += 1 + value
    return kind


def _choose_again(
    rankings: list[Ranking], winner: int, kind: np.ndarray, splits: int, rng: np.random.Generator
) -> tuple[float, float]:
    gains, same = [], []
    for start in range(0, splits, _CHUNK):
        held_out = _held_out(kind, min(_CHUNK, splits - start), rng)
        inside, outside = _areas(rankings, 1 - held_out), _areas(rankings, held_out)
        defined = np.isfinite(inside[0]) & np.isfinite(outside[0])
        inside, outside = inside[:, defined], outside[:, defined]
        chosen = inside.argmax(axis=0)
        gains.append(outside[winner] - outside[chosen, np.arange(len(chosen))])
        same.append(chosen == winner)
    gained = np.concatenate(gains)
    if not len(gained):
        raise DataError("No split of the patients has positive and negative cases on both sides.")
    return max(float(gained.mean()), 0.0), float(np.concatenate(same).mean())


def _held_out(kind: np.ndarray, splits: int, rng: np.random.Generator) -> np.ndarray:
    """(U, R) 1 where a patient is held out: a third of each kind, at least one."""
    held_out = np.zeros((len(kind), splits))
    for value in np.unique(kind):
        members = np.flatnonzero(kind == value)
        order = rng.random((len(members), splits)).argsort(axis=0)
        held_out[members] = order < max(1, round(HELD_OUT * len(members)))
    return held_out


def _areas(rankings: list[Ranking], weights: np.ndarray) -> np.ndarray:
    return np.stack([ranking.numbers(weights)[0] for ranking in rankings])
