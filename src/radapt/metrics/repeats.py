"""Repeated training: the mean of a number over draws of training patients, and how sure it is.

Two chances decide such a mean, and the interval carries both: which patients were tested (the same ones in every
repeat) and which were drawn to learn from. Patients and repeats are therefore resampled independently, each replicate
with one set of patients for all repeats (the pigeonhole bootstrap of crossed factors: Owen, Annals of Applied
Statistics 2007). In replicate b, with θ_r the number of repeat r under the patients drawn and m_r how often repeat r
was drawn (Σ m_r = R), the mean becomes

    θ̄ + c · Σ_r (m_r / R - 1 / R) θ_r,   θ̄ = Σ_r θ_r / R.

With c = 1 this is the plain bootstrap, whose spread over a handful of repeats is too small: by sqrt((R - 1) / R), and
by the normal quantile standing in for Student's. c undoes both, so that without any chance from patients the interval
is about Student's over R repeats.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtrit  # scipy.stats takes seconds to import

from radapt.errors import DataError
from radapt.metrics.bootstrap import CHUNK, LEVEL, Numbers, multiplicities, replicates
from radapt.metrics.score import COLUMNS, RESAMPLES, Panel, order_of, panel_of, row_of
from radapt.metrics.validation import Predictions, checked

REPEAT_COLUMNS = (*COLUMNS, "n_repeats", "sd")

RANGES: Mapping[str, tuple[float, float]] = {
    "mcc": (-1, 1),
    "quadratic_kappa": (-1, 1),
    "brier": (0, 2),
    "log_loss": (0, np.inf),
}
"""Where a number can lie; every other one in 0–1. Two or three repeats may widen an interval beyond."""


def score_repeats(
    truth: np.ndarray,
    probabilities: np.ndarray | Sequence[np.ndarray],
    patients: Sequence[object] | np.ndarray,
    *,
    task: str,
    outputs: Sequence[str],
    ordered: bool = False,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Every number of `score`, as its mean over R repeats that answered the same cases.

    `probabilities` is (R, N, C): each repeat's, for the cases of `truth` (N,) and `patients` (N,) in their order; the
    rest as `score`. Columns: those of `score` with `value` the mean over repeats, then n_repeats (R) and sd, the
    standard deviation (R - 1) of the repeats' values, NaN for one repeat. The 95 % interval carries the chance of the
    patients and of the draws; of one repeat it is that of the patients alone, as nothing says how far another draw
    would lie. It speaks of other draws of the same size from the same pool of training patients, not of another pool.
    Undefined numbers and intervals as in `score`. Two calls with equal `rng` states, patients and R resample the same
    patients and repeats.

    Raises DataError as `score` does, and unless there is a repeat.
    """
    given = _checked(truth, probabilities, patients, task, outputs)
    panels = [panel_of(each, task, outputs, ordered) for each in given]
    return _table(given[0], panels, None, rng, resamples, len(outputs))


def compare_repeats(
    truth: np.ndarray,
    first: np.ndarray | Sequence[np.ndarray],
    second: np.ndarray | Sequence[np.ndarray],
    patients: Sequence[object] | np.ndarray,
    *,
    task: str,
    outputs: Sequence[str],
    ordered: bool = False,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """`first` minus `second` (R, N, C) each, as the mean over repeats: two protocols or backbones on the same draws.

    Repeat r of both learned from the same patients, and every replicate tests both on the same patients and repeats:
    what patients and draws have in common cancels, so that the interval is much narrower than two separate ones would
    suggest. Arguments, columns and errors as `score_repeats`; `value`, `ci_low`, `ci_high` and `sd` are of the
    differences. Raises DataError too if the two have different numbers of repeats.
    """
    if len(first) != len(second):
        raise DataError(f"Compared were {len(first)} repeats with {len(second)}; give both on the same draws.")
    given = _checked(truth, [*first, *second], patients, task, outputs)
    panels = [panel_of(each, task, outputs, ordered) for each in given]
    half = len(first)
    return _table(given[0], panels[:half], panels[half:], rng, resamples, len(outputs))


def mean_over_repeats(drawn: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Replicates (B,) of the mean over repeats from each repeat's own replicates `drawn` (R, B), to be read by
    `percentile_interval`.

    Column b of `drawn` must be of the same patients in every repeat; `times` (R, B) says how often each repeat is
    drawn in it, R times in all (`multiplicities`). One repeat gives its own replicates.
    """
    repeats = len(drawn)
    mean = drawn.mean(axis=0)
    if repeats < 2:
        return np.asarray(mean)
    return np.asarray(mean + _widening(repeats) * ((times - 1) / repeats * drawn).sum(axis=0))


def _widening(repeats: int) -> float:
    """c of the module's formula: 1.22 for ten repeats, 1.05 for forty."""
    upper = (1 + LEVEL) / 2
    return float(np.sqrt(repeats / (repeats - 1)) * stdtrit(repeats - 1, upper) / ndtri(upper))


def _checked(
    truth: np.ndarray,
    probabilities: np.ndarray | Sequence[np.ndarray],
    patients: Sequence[object] | np.ndarray,
    task: str,
    outputs: Sequence[str],
) -> list[Predictions]:
    if not len(probabilities):
        raise DataError("There are no repeats; expected the probabilities of at least one, (repeats, cases, outputs).")
    return [checked(truth, each, patients, task, len(outputs)) for each in probabilities]


def _table(
    given: Predictions,
    panels: Sequence[Panel],
    others: Sequence[Panel] | None,
    rng: np.random.Generator,
    resamples: int,
    outputs: int,
) -> pd.DataFrame:
    patients, draws = rng.spawn(2)
    repeats = len(panels)

    def numbers(weights: np.ndarray) -> Numbers:
        """(R, B) of each number, or of each difference: all under the same patients."""
        found = _stacked(panels, weights)
        if others is None:
            return found
        beside = _stacked(others, weights)
        return {name: found[name] - beside[name] for name in found}

    values = numbers(np.ones((given.units, 1)))
    chunk = max(1, CHUNK // max(len(given.truth), outputs**2))
    drawn = replicates(
        lambda weights: {name: each.T for name, each in numbers(weights).items()},
        given.units, patients, resamples if given.units > 1 else 0, chunk,
    )  # fmt: skip
    times = multiplicities(draws, repeats, resamples).T
    rows = []
    for name, value in values.items():
        spread = mean_over_repeats(drawn[name].T, times) if name in drawn else None
        row = row_of(name, float(value.mean()), spread, given, panels[0])
        low, high = _limits(name, others is not None)
        ends = [float(np.clip(end, low, high)) for end in row[2:4]]
        deviation = float(value.std(ddof=1)) if repeats > 1 else np.nan
        rows.append((*row[:2], *ends, *row[4:], repeats, deviation))
    table = pd.DataFrame(rows, columns=list(REPEAT_COLUMNS))
    return table.iloc[order_of(table["metric"])].reset_index(drop=True)


def _stacked(panels: Sequence[Panel], weights: np.ndarray) -> Numbers:
    found = [panel.numbers(weights) for panel in panels]
    return {name: np.stack([each[name].ravel() for each in found]) for name in found[0]}


def _limits(name: str, difference: bool) -> tuple[float, float]:
    low, high = RANGES.get(name, (0.0, 1.0))
    return (low - high, high - low) if difference else (low, high)
