"""Every metric of a classification, as one function from patients' weights to values.

The point estimate is that function at weight 1, a bootstrap replicate the same function at the weights drawn;
so an interval can never be of another number than the one it stands beside.
"""

from collections.abc import Sequence

import numpy as np

from radapt.metrics.bootstrap import Numbers
from radapt.metrics.metric import ARGMAX, Metric, macro, metric_name
from radapt.metrics.registry import METRICS
from radapt.metrics.validation import Predictions
from radapt.metrics.weighted_predictions import TaskPredictions, WeightedPredictions


class SingleLabel:
    """Every number of a binary or multi-class task, whose classes exclude each other.

    `known` (N,) is where the truth is known; `defined` (C,) the classes with members and non-members in the
    truth. With `both` the metrics of decisions follow once more for the most probable class (see `ARGMAX`).
    """

    def __init__(
        self, given: Predictions, outputs: Sequence[str], metrics: Sequence[Metric], *, both: bool = False
    ) -> None:
        self.outputs, self.metrics = outputs, metrics
        self.known = given.known
        truth, unit = given.truth[self.known], given.unit[self.known]
        members = np.bincount(truth, minlength=len(outputs))
        self.defined = (members > 0) & (members < len(truth))
        probabilities = given.probabilities[self.known]
        decisions = None if given.decisions is None else given.decisions[self.known]
        self._task = TaskPredictions(truth, probabilities, unit, given.units, decisions)
        self._patients = [_patients_of_both(truth == index, unit) for index in range(len(outputs))]
        self._most_probable = TaskPredictions(truth, probabilities, unit, given.units) if both else None

    def numbers(self, weights: np.ndarray) -> Numbers:
        """Every number (R,) under each column of `weights` (U, R)."""
        return self._both([task.under(weights) for task in self.tasks], self.metrics)

    @property
    def tasks(self) -> list[TaskPredictions]:
        """The predictions, and with `both` those of the most probable class."""
        return [self._task] if self._most_probable is None else [self._task, self._most_probable]

    def numbers_of_totals(self, totals: Sequence[np.ndarray], metrics: Sequence[Metric]) -> Numbers:
        """The numbers (R,) of `metrics` that need the tally alone, from the totals (K, R) of every one of `tasks`."""
        return self._both([task.of_totals(own) for task, own in zip(self.tasks, totals, strict=True)], metrics)

    def _both(self, given: Sequence[WeightedPredictions], metrics: Sequence[Metric]) -> Numbers:
        found = self._numbers(given[0], metrics, "")
        return found if len(given) == 1 else found | self._numbers(given[1], of_decisions(metrics), ARGMAX)

    def _numbers(self, given: WeightedPredictions, metrics: Sequence[Metric], mark: str) -> Numbers:
        values = {metric: metric.compute(given) for metric in metrics}
        overall = {m.name + mark: m.of_classes(values[m], self.defined) for m in metrics if m.overall}
        return overall | named({m.name + mark: values[m] for m in metrics if m.listed}, self.outputs)

    def entered(self, name: str) -> np.ndarray:
        """(N,) bool: the cases that number `name` is computed from, if it is defined."""
        return self.known

    def fewest(self, name: str) -> int | None:
        """The patients of the rarer kind that number `name` compares, members or others; None if it compares none, or
        is a mean over several classes."""
        return _fewest(name, self.outputs, self._patients, alone=len(self.outputs) == 2)

    def left_out(self, name: str) -> int:
        """How many classes the macro number `name` could not average in, for want of truth."""
        if ":" in name or METRICS[metric_name(name)].averages_no(len(self.outputs)):
            return 0
        return int((~self.defined).sum())


class MultiLabel:
    """Every number of a task with several findings, each a yes/no question about the cases where it is known.

    `known` (N, F) is where the truth is known; `defined` (F,) the findings with present and absent cases. `both` as of
    `SingleLabel`.
    """

    def __init__(
        self, given: Predictions, outputs: Sequence[str], metrics: Sequence[Metric], *, both: bool = False
    ) -> None:
        self.outputs, self.metrics = outputs, metrics
        self.known = given.known
        self._findings, self._most_probable, self._patients = [], [], []
        for index in range(len(outputs)):
            rows = self.known[:, index]
            truth, score, unit = given.truth[rows, index], given.probabilities[rows, index], given.unit[rows]
            decisions = None if given.decisions is None else given.decisions[rows, index]
            truth = truth.astype(np.int64)
            self._patients.append(_patients_of_both(truth == 1, unit))
            self._findings.append(TaskPredictions(truth, score, unit, given.units, decisions))
            if both:
                self._most_probable.append(TaskPredictions(truth, score, unit, given.units))
        self.defined = (given.truth == 1).any(axis=0) & (given.truth == 0).any(axis=0)

    def numbers(self, weights: np.ndarray) -> Numbers:
        """Every number (R,) under each column of `weights` (U, R): means over findings, then each finding."""
        return self._both([task.under(weights) for task in self.tasks], self.metrics)

    @property
    def tasks(self) -> list[TaskPredictions]:
        """The predictions of every finding, and with `both` then those of its most probable answer."""
        return [*self._findings, *self._most_probable]

    def numbers_of_totals(self, totals: Sequence[np.ndarray], metrics: Sequence[Metric]) -> Numbers:
        """The numbers (R,) of `metrics` that need the tally alone, from the totals (K, R) of every one of `tasks`."""
        return self._both([task.of_totals(own) for task, own in zip(self.tasks, totals, strict=True)], metrics)

    def _both(self, given: Sequence[WeightedPredictions], metrics: Sequence[Metric]) -> Numbers:
        findings = len(self.outputs)
        found = self._numbers(given[:findings], metrics, "")
        if len(given) == findings:
            return found
        return found | self._numbers(given[findings:], of_decisions(metrics), ARGMAX)

    def _numbers(self, given: Sequence[WeightedPredictions], metrics: Sequence[Metric], mark: str) -> Numbers:
        each = {m.name: np.stack([m.of_finding(finding) for finding in given], axis=-1) for m in metrics}
        overall = {m.name + mark: macro(each[m.name], self._averaged(m)) for m in metrics if m.overall}
        return overall | named({m.name + mark: each[m.name] for m in metrics if m.listed}, self.outputs)

    def entered(self, name: str) -> np.ndarray:
        """(N,) bool: the cases that number `name` is computed from, if it is defined."""
        _, _, output = name.partition(":")
        if output:
            return self.known[:, list(self.outputs).index(output)]
        return np.asarray(self.known[:, self._averaged(METRICS[metric_name(name)])].any(axis=1))

    def fewest(self, name: str) -> int | None:
        """The patients of the rarer kind that number `name` compares, present or absent; None if it compares none, or
        is a mean over several findings."""
        return _fewest(name, self.outputs, self._patients, alone=len(self.outputs) == 1)

    def left_out(self, name: str) -> int:
        """How many findings the macro number `name` could not average in, for want of truth."""
        return 0 if ":" in name else int((~self._averaged(METRICS[metric_name(name)])).sum())

    def _averaged(self, metric: Metric) -> np.ndarray:
        return self.defined if metric.needs_both else np.asarray(self.known.any(axis=0))


def _patients_of_both(positive: np.ndarray, unit: np.ndarray) -> int:
    """The number of patients with a positive case, or with a negative one if these are fewer."""
    return min(len(np.unique(unit[positive])), len(np.unique(unit[~positive])))


def _fewest(name: str, outputs: Sequence[str], patients: Sequence[int], *, alone: bool) -> int | None:
    if not METRICS[metric_name(name)].needs_both:
        return None
    _, _, output = name.partition(":")
    return patients[list(outputs).index(output)] if output else patients[-1] if alone else None


def of_decisions(metrics: Sequence[Metric]) -> list[Metric]:
    """The metrics that depend on which class was decided for."""
    return [metric for metric in metrics if metric.of_decisions]


def named(each: Numbers, outputs: Sequence[str]) -> Numbers:
    """Columns (R, outputs) of each metric as single numbers `<metric>:<output>` (R,)."""
    return {f"{metric}:{name}": values[:, i] for metric, values in each.items() for i, name in enumerate(outputs)}
