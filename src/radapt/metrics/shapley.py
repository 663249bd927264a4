"""Shapley values: the contribution of each of M players to a metric that is known for every subset (Shapley 1953).

The players are the sequences of an examination, and v(S) is a metric of the predictions from the sequences S alone. The
Shapley value of player m is the mean of v(S ∪ m) - v(S) over all orders in which the players may arrive, S being those
before m. As |S|! (M - 1 - |S|)! of the M! orders give the same S,

    φ_m = Σ_{S without m} w(|S|) (v(S ∪ m) - v(S)),   w(k) = k! (M - 1 - k)! / M!,

which is linear in v: one fixed matrix (M, 2^M) times the table of values, for all bootstrap replicates at once. This is
exact, not sampled. The values of all players sum to v(all) - v(none).
"""

from functools import cache
from math import factorial

import numpy as np

from radapt.errors import DataError, UsageError

MOST_PLAYERS = 12
"""Twelve players have 4,096 subsets; each further one doubles the predictions to compute."""


def shapley_values(values: np.ndarray) -> np.ndarray:
    """(M, ...) the exact Shapley value of every player from `values` (2^M, ...), one row per subset.

    Bit m of the row index says whether player m is in the subset: row 0 is no player, the last row all. Further axes,
    such as bootstrap replicates, are computed separately. In the unit of the values and of either sign; 0 for a player
    that changes nothing. NaN wherever the value of any subset is NaN.

    Raises UsageError for more than 12 players, DataError unless there is a row for each subset of at least one player.
    """
    values = np.asarray(values, dtype=np.float64)
    subsets = values.shape[0] if values.ndim else 0
    players = subsets.bit_length() - 1
    if players < 1 or subsets != 2**players:
        raise DataError(f"Got the values of {subsets} subsets; expected 2 for one player, 4 for two, 8 for three, ….")
    check_players(players)
    # Not with BLAS, whose rounding depends on the number of threads.
    return np.einsum("ms,s...->m...", _coefficients(players), values, optimize=False)


def members(players: int) -> np.ndarray:
    """(2^M, M) bool: the players in each subset, in the order of `shapley_values`."""
    return (np.arange(2**players)[:, None] >> np.arange(players)) % 2 == 1


def check_players(players: int) -> None:
    """Raise UsageError for more players than `MOST_PLAYERS`."""
    if players > MOST_PLAYERS:
        raise UsageError(
            f"{players} sequences have {2**players:,} subsets, too many to evaluate; expected at most {MOST_PLAYERS} "
            "sequences. Leave out those that matter least."
        )


@cache
def _coefficients(players: int) -> np.ndarray:
    """(M, 2^M): w(|S| - 1) for the subsets with the player, -w(|S|) for those without."""
    inside = members(players)  # (2^M, M)
    size = inside.sum(axis=1)
    weight = np.array([factorial(k) * factorial(players - 1 - k) for k in range(players)]) / factorial(players)
    weight = np.append(weight, 0.0)  # read for |S| = M (and -1), where the other branch holds
    return np.where(inside, weight[size - 1][:, None], -weight[size][:, None]).T
