"""Repeated training: the mean of a metric over draws of training patients, with its confidence interval.

Such a mean varies with the test patients (the same in every repeat) and with the training patients drawn; the interval
carries both. Patients and repeats are resampled independently, each replicate with one set of patients for all repeats
(the pigeonhole bootstrap of crossed factors: Owen, Annals of Applied Statistics 2007). In replicate b, with θ_r the
metric of repeat r for the patients drawn and m_r how often repeat r is drawn (Σ m_r = R), the mean becomes

    θ̄ + c · Σ_r (m_r / R - 1 / R) θ_r,   θ̄ = Σ_r θ_r / R.

With c = 1 this is the plain bootstrap, whose spread over a few repeats is too small: by sqrt((R - 1) / R), and by the
normal quantile in place of Student's. c corrects both: without variation between patients the interval is about
Student's over R repeats.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtrit  # scipy.stats takes seconds to import

from radapt.errors import DataError
from radapt.metrics.bootstrap import LEVEL, Numbers, Range, multiplicities
from radapt.metrics.score import COLUMNS, RESAMPLES, Panel, decides_otherwise, panel_of, replicates_of, row_of
from radapt.metrics.validation import Predictions, checked

REPEAT_COLUMNS = (*COLUMNS, "n_repeats", "sd")


def score_repeats(
    truth: np.ndarray,
    probabilities: np.ndarray | Sequence[np.ndarray],
    patients: Sequence[object] | np.ndarray,
    *,
    task: str,
    outputs: Sequence[str],
    ordered: bool = False,
    decisions: Sequence[np.ndarray] | None = None,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Every metric of `score`, averaged over R repeats that predict the same cases.

    `probabilities` is (R, N, C): one set per repeat, for the cases of `truth` (N,) and `patients` (N,) in their order;
    `decisions` are as many sets; the rest as `score`. Columns: those of `score` with `value` the mean over repeats,
    then n_repeats (R) and sd, the standard deviation (R - 1) over repeats, NaN for one repeat. The 95 % interval
    carries the variation between test patients and between training draws; with one repeat it carries that of the
    patients alone. It holds for other draws of the same size from the same pool of training patients, not for another
    pool. Undefined metrics and intervals as in `score`. Two calls with equal `rng` states, patients and R resample the
    same patients and repeats.

    Raises DataError as `score` does, and without repeats.
    """
    given, panels = _panels(truth, probabilities, patients, task, outputs, ordered, decisions)
    return _table(given, panels, None, rng, resamples)


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
    """`first` minus `second` (R, N, C), averaged over repeats: two protocols or backbones on the same draws.

    Repeat r of both is trained on the same patients, and every replicate tests both on the same patients and repeats.
    What they share cancels, so the interval is much narrower than two separate ones suggest. Arguments, columns and
    errors as `score_repeats`; `value`, `ci_low`, `ci_high` and `sd` are of the differences. Raises DataError too if the
    numbers of repeats differ.
    """
    if len(first) != len(second):
        raise DataError(f"Got {len(first)} and {len(second)} repeats to compare; expected both on the same draws.")
    given, panels = _panels(truth, [*first, *second], patients, task, outputs, ordered)
    half = len(first)
    return _table(given, panels[:half], panels[half:], rng, resamples)


def mean_over_repeats(drawn: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Replicates (B,) of the mean over repeats, for `metric_interval`, from those of each repeat, `drawn` (R, B).

    Column b of `drawn` must be the same patients in every repeat; `times` (R, B) is how often each repeat is drawn in
    it, R times in all (`multiplicities`). A single repeat gives its own replicates.
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


def _panels(
    truth: np.ndarray,
    probabilities: np.ndarray | Sequence[np.ndarray],
    patients: Sequence[object] | np.ndarray,
    task: str,
    outputs: Sequence[str],
    ordered: bool,
    decisions: Sequence[np.ndarray] | None = None,
) -> tuple[Predictions, list[Panel]]:
    if not len(probabilities):
        raise DataError("There are no repeats; expected the probabilities of at least one, (repeats, cases, outputs).")
    decided = [None] * len(probabilities) if decisions is None else decisions
    given = [
        checked(truth, repeat, patients, task, len(outputs), own)
        for repeat, own in zip(probabilities, decided, strict=True)
    ]
    both = any(map(decides_otherwise, given))
    return given[0], [panel_of(repeat, task, outputs, ordered, both=both) for repeat in given]


def _table(
    given: Predictions,
    panels: Sequence[Panel],
    others: Sequence[Panel] | None,
    rng: np.random.Generator,
    resamples: int,
) -> pd.DataFrame:
    patients, draws = rng.spawn(2)
    repeats = len(panels)

    def numbers(weights: np.ndarray) -> Numbers:
        """(R, B) of each metric, or of each difference, for the same patients."""
        first = _stacked(panels, weights)
        if others is None:
            return first
        second = _stacked(others, weights)
        return {name: first[name] - second[name] for name in first}

    values = numbers(np.ones((given.units, 1)))
    drawn = replicates_of(
        lambda weights: {name: by_repeat.T for name, by_repeat in numbers(weights).items()},
        given, patients, resamples,
    )  # fmt: skip
    times = multiplicities(draws, repeats, resamples).T
    rows = []
    for name, value in values.items():
        means = mean_over_repeats(drawn[name].T, times) if name in drawn else None
        unlimited = None if others is None else Range(-np.inf, np.inf)
        row = row_of(name, float(value.mean()), means, given, panels[0], unlimited)
        deviation = float(value.std(ddof=1)) if repeats > 1 else np.nan
        rows.append((*row, repeats, deviation))
    return pd.DataFrame(rows, columns=list(REPEAT_COLUMNS))


def _stacked(panels: Sequence[Panel], weights: np.ndarray) -> Numbers:
    repeats = [panel.numbers(weights) for panel in panels]
    return {name: np.stack([numbers[name].ravel() for numbers in repeats]) for name in repeats[0]}
