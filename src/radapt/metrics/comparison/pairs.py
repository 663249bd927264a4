"""Two sets of results for the same cases, as one function from weights of patients to a metric.

A patient is there twice, once with the result of each set. Weights (w, 0) then give the metric of the first set, (0, w)
that of the second, and (1 − s, s) that of a set in which the patients with s = 1 have changed places: the bootstrap and
the permutation test ask the same function.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radapt.errors import DataError, suggest
from radapt.metrics.bootstrap import units_of
from radapt.metrics.comparison.ranks import mid_ranks
from radapt.metrics.metric import ARGMAX, macro, metric_name
from radapt.metrics.panel import MultiLabel, SingleLabel
from radapt.metrics.ranking import Ranking
from radapt.metrics.registry import METRICS
from radapt.metrics.segmentation_summary import SUMMARY, LabelMapPanel, check_cases
from radapt.metrics.validation import Predictions, checked
from radapt.metrics.weighted import Tally, ratio

Values = Callable[[np.ndarray], np.ndarray]
"""From weights (2U, R) of U patients, first those of the first set, to a metric (R,)."""

RANKED = ("auroc", "average_precision")


@dataclass(frozen=True)
class Pair:
    """Two sets of results for `cases` cases of `units` patients.

    `values` is the metric. `exchanged` is what the permutation test asks: the same, but for metrics of the ranking of
    probabilities, in which each set's are replaced by their ranks, because two methods may use different scales and
    are ranked by each alone (Venkatraman 2000).
    """

    units: int
    cases: int
    values: Values
    exchanged: Values


def paired_means(first: np.ndarray, second: np.ndarray, patients: Sequence[object] | np.ndarray) -> Pair:
    """The means over cases of two columns of numbers (N,). Raises DataError for NaN, and shapes that do not fit."""
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or len(patients) != len(first):
        raise DataError(
            f"Numbers of shapes {first.shape} and {second.shape} for {len(patients)} patients; "
            "expected one of each for every case."
        )
    if not np.isfinite(first).all() or not np.isfinite(second).all():
        raise DataError("A number is missing or not finite; leave out the cases that lack one of the two.")
    unit, units = units_of(np.asarray(patients, dtype=object))
    stacked = np.concatenate([unit, unit + units])
    slot = np.zeros(len(stacked), dtype=np.int64)
    sums = Tally(slot, np.concatenate([first, second]), stacked, slots=1, units=2 * units)
    counts = Tally(slot, 1.0, stacked, slots=1, units=2 * units)

    def values(weights: np.ndarray) -> np.ndarray:
        return ratio(sums.totals(weights)[0], counts.totals(weights)[0])

    return Pair(units, len(first), values, values)


def paired_predictions(
    metric: str,
    truth: np.ndarray,
    probabilities: tuple[np.ndarray, np.ndarray],
    patients: Sequence[object] | np.ndarray,
    *,
    task: str,
    outputs: Sequence[str],
    decisions: tuple[np.ndarray, np.ndarray] | None = None,
) -> Pair:
    """`metric`, a row of `radapt.metrics.score`, of two sets of predictions; the other arguments as there.

    Raises DataError as `score` does, and for a metric that it does not give.
    """
    outputs = [str(name) for name in outputs]
    name, output = metric_name(metric), metric.partition(":")[2]
    if name not in METRICS or (output and output not in outputs):
        given = [*METRICS, *(f"{one}:{each}" for one in METRICS for each in outputs)]
        raise DataError(f"There is no metric {metric!r} of these predictions. {suggest(metric, given)}")
    plain = ARGMAX in metric
    sets = [
        checked(truth, each, patients, task, len(outputs), None if decisions is None or plain else decisions[number])
        for number, each in enumerate(probabilities)
    ]
    units = sets[0].units
    panel = _panel(_stacked(sets), task, outputs, name)
    row = metric.replace(ARGMAX, "")

    if row not in panel.numbers(np.ones((2 * units, 1))):
        raise DataError(f"{name!r} has no value of one output. {suggest(name, METRICS)}")

    def values(weights: np.ndarray) -> np.ndarray:
        return panel.numbers(weights)[row]

    cases = int(sets[0].known.reshape(len(sets[0].truth), -1).any(axis=1).sum())
    ranked = _ranked(sets, panel, name, output, outputs) if name in RANKED else values
    return Pair(units, cases, values, ranked)


def paired_label_maps(metric: str, first: pd.DataFrame, second: pd.DataFrame, *, labels: Sequence[str]) -> Pair:
    """`metric`, a row of `radapt.metrics.summarise`, of two tables of the same cases; arguments as there.

    Raises DataError as `summarise` does, for tables of other cases, and for a metric that it does not give.
    """
    name, _, label = metric.partition(":")
    if name not in SUMMARY or (label and label not in labels):
        raise DataError(f"There is no metric {metric!r} of these label maps. {suggest(name, SUMMARY)}")
    keys = [set(zip(table["case"].astype(str), table["label"].astype(str), strict=True)) for table in (first, second)]
    if keys[0] != keys[1]:
        odd = sorted(keys[0] ^ keys[1])[0]
        raise DataError(f"Case {odd[0]!r}, label {odd[1]!r} is in one of the two tables only.")
    named = [
        table.assign(**{column: mark + table[column].astype(str) for column in ("case", "patient")})
        for table, mark in ((first, "a "), (second, "b "))
    ]
    order = [table.sort_values(["patient", "case", "label"], kind="stable") for table in named]
    stacked, names = pd.concat(order, ignore_index=True), [str(one) for one in labels]
    check_cases(stacked, names)
    panel = LabelMapPanel.of(stacked, names)

    def values(weights: np.ndarray) -> np.ndarray:
        return panel.numbers(weights)[metric]

    entered = panel.entered(metric)
    return Pair(panel.units // 2, len(np.unique(panel.case[entered])) // 2, values, values)


def _stacked(sets: Sequence[Predictions]) -> Predictions:
    """Both sets as one, each patient twice."""
    first, units = sets[0], sets[0].units
    unit = np.concatenate([first.unit, np.where(first.unit < 0, -1, first.unit + units)])
    decided = None
    if first.decisions is not None:
        decided = np.concatenate([one.decisions for one in sets if one.decisions is not None])
    return Predictions(
        np.concatenate([one.truth for one in sets]),
        np.concatenate([one.probabilities for one in sets]),
        unit, 2 * units, decided,
    )  # fmt: skip


def _panel(given: Predictions, task: str, outputs: Sequence[str], name: str) -> SingleLabel | MultiLabel:
    kind = MultiLabel if task == "multilabel" else SingleLabel
    return kind(given, outputs, [METRICS[name]], both=False)


def _ranked(
    sets: Sequence[Predictions], panel: SingleLabel | MultiLabel, name: str, output: str, outputs: Sequence[str]
) -> Values:
    """A metric of the ranking, with each set's probabilities replaced by their ranks among its own cases."""
    units, findings = sets[0].units, sets[0].truth.ndim == 2
    rankings: list[Ranking] = []
    for index in range(len(outputs)):
        known = sets[0].known[:, index] if findings else sets[0].known
        truth = sets[0].truth[known, index] == 1 if findings else sets[0].truth[known] == index
        ranks = [np.unique(one.probabilities[known, index], return_inverse=True)[1] for one in sets]
        averaged = [mid_ranks(each) for each in ranks]
        unit = sets[0].unit[known]
        rankings.append(
            Ranking(np.tile(truth, 2), np.concatenate(averaged), np.concatenate([unit, unit + units]), 2 * units)
        )
    chosen = [list(outputs).index(output)] if output else list(range(len(outputs)))
    if not output and not findings and len(outputs) == 2:
        chosen = [1]

    def values(weights: np.ndarray) -> np.ndarray:
        each = np.array([rankings[index].numbers(weights)[RANKED.index(name)] for index in chosen]).T
        return macro(each, panel.defined[chosen] if len(chosen) > 1 else np.ones(1, dtype=bool))

    return values
