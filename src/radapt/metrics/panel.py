"""Every metric of a classification, as one function from patients' weights to values.

The point estimate is that function at weight 1, a bootstrap replicate the same function at the weights drawn;
so an interval can never be of another number than the one it stands beside.
"""

from collections.abc import Sequence

import numpy as np

from radapt.metrics.bootstrap import Numbers
from radapt.metrics.metric import Metric, macro
from radapt.metrics.registry import METRICS, in_order
from radapt.metrics.validation import Predictions
from radapt.metrics.weighted_predictions import TaskPredictions


class SingleLabel:
    """Every number of a binary or multi-class task, whose classes exclude each other.

    `known` (N,) is where the truth is known; `defined` (C,) the classes with members and non-members in the
    truth.
    """

    def __init__(self, given: Predictions, outputs: Sequence[str], ordered: bool) -> None:
        self.outputs = outputs
        self.metrics = [metric for metric in in_order() if ordered or not metric.ordered_only]
        self.known = given.known
        truth, unit = given.truth[self.known], given.unit[self.known]
        members = np.bincount(truth, minlength=len(outputs))
        self.defined = (members > 0) & (members < len(truth))
        self._task = TaskPredictions(truth, given.probabilities[self.known], unit, given.units)

    def numbers(self, weights: np.ndarray) -> Numbers:
        """Every number (R,) under each column of `weights` (U, R)."""
        given = self._task.under(weights)
        values = {metric: metric.compute(given) for metric in self.metrics}
        overall = {m.name: m.of_classes(values[m], self.defined) for m in self.metrics if m.overall}
        return overall | named({m.name: values[m] for m in self.metrics if m.listed}, self.outputs)

    def entered(self, name: str) -> np.ndarray:
        """(N,) bool: the cases that number `name` is computed from, if it is defined."""
        return self.known

    def left_out(self, name: str) -> int:
        """How many classes the macro number `name` could not average in, for want of truth."""
        if ":" in name or METRICS[name].averages_no(len(self.outputs)):
            return 0
        return int((~self.defined).sum())


class MultiLabel:
    """Every number of a task with several findings, each a yes/no question about the cases where it is known.

    `known` (N, F) is where the truth is known; `defined` (F,) the findings with present and absent cases.
    """

    def __init__(self, given: Predictions, outputs: Sequence[str]) -> None:
        self.outputs = outputs
        self.metrics = [metric for metric in in_order() if not metric.ordered_only]
        self.known = given.known
        self._findings = []
        for index in range(len(outputs)):
            rows = self.known[:, index]
            truth, score, unit = given.truth[rows, index], given.probabilities[rows, index], given.unit[rows]
            self._findings.append(TaskPredictions(truth.astype(np.int64), score, unit, given.units))
        self.defined = (given.truth == 1).any(axis=0) & (given.truth == 0).any(axis=0)

    def numbers(self, weights: np.ndarray) -> Numbers:
        """Every number (R,) under each column of `weights` (U, R): means over findings, then each finding."""
        given = [finding.under(weights) for finding in self._findings]
        each = {m.name: np.stack([m.of_finding(finding) for finding in given], axis=-1) for m in self.metrics}
        overall = {m.name: macro(each[m.name], self._averaged(m)) for m in self.metrics if m.overall}
        return overall | named({m.name: each[m.name] for m in self.metrics if m.listed}, self.outputs)

    def entered(self, name: str) -> np.ndarray:
        """(N,) bool: the cases that number `name` is computed from, if it is defined."""
        metric, _, output = name.partition(":")
        if output:
            return self.known[:, list(self.outputs).index(output)]
        return np.asarray(self.known[:, self._averaged(METRICS[metric])].any(axis=1))

    def left_out(self, name: str) -> int:
        """How many findings the macro number `name` could not average in, for want of truth."""
        return 0 if ":" in name else int((~self._averaged(METRICS[name])).sum())

    def _averaged(self, metric: Metric) -> np.ndarray:
        return self.defined if metric.needs_both else np.asarray(self.known.any(axis=0))


def named(each: Numbers, outputs: Sequence[str]) -> Numbers:
    """Columns (R, outputs) of each metric as single numbers `<metric>:<output>` (R,)."""
    return {f"{metric}:{name}": values[:, i] for metric, values in each.items() for i, name in enumerate(outputs)}
