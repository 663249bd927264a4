"""One metric of several sets of predictions for the same cases, without intervals: what candidates are compared by."""

from collections.abc import Sequence

import numpy as np

from radapt.metrics.metric import Metric
from radapt.metrics.panel import MultiLabel, SingleLabel
from radapt.metrics.validation import Predictions, checked


def point_values(
    metric: Metric,
    truth: np.ndarray,
    probabilities: np.ndarray,
    decisions: np.ndarray | None = None,
    *,
    task: str,
) -> np.ndarray:
    """(G,) `metric` of the task for each of G sets of `probabilities` (G, N, outputs); NaN where it is undefined.

    `truth` (N,) or (N, F) as in `radapt.metrics.score`, `decisions` (G, N) or (G, N, F) as there, None for the most
    probable class. Every case weighs the same. Raises DataError as `score` does.
    """
    cases = np.arange(len(truth))
    outputs = [str(number) for number in range(probabilities.shape[2])]
    found = np.empty(len(probabilities))
    for number, each in enumerate(probabilities):
        decided = None if decisions is None else decisions[number]
        given = checked(truth, each, cases, task, len(outputs), decided)
        found[number] = _value(metric, given, task, outputs)
    return found


def _value(metric: Metric, given: Predictions, task: str, outputs: Sequence[str]) -> float:
    panel = (MultiLabel if task == "multilabel" else SingleLabel)(given, outputs, [metric])
    return float(panel.numbers(np.ones((given.units, 1)))[metric.name][0])
