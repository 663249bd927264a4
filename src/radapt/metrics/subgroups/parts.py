"""One metric of any part of the cases, as a function of the weights of all patients.

Every part is a function of the same weights, so that a draw of the patients is the same for all parts, and a patient
may have cases in several: those of a chest film from the front and of one lying in bed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import pandas as pd

from radapt.errors import DataError, suggest
from radapt.metrics.calibration import confidence
from radapt.metrics.metric import ARGMAX, macro, metric_name
from radapt.metrics.panel import MultiLabel, SingleLabel
from radapt.metrics.registry import METRICS
from radapt.metrics.segmentation_summary import SUMMARY, LabelMapPanel, check_cases
from radapt.metrics.validation import Predictions, checked
from radapt.metrics.weighted import Tally, ratio

Values = Callable[[np.ndarray], np.ndarray]
"""From weights (U, R) of the patients to a number (R,)."""

LEAST_OF_KIND = 5
"""Patients with, and without, a finding or class that a part needs for a score over it."""


class ScoredParts(Protocol):
    """Results for N rows of `units` patients. Every `rows` is (N,) bool, every `outputs` a bool for each output."""

    units: int

    def outputs_in(self, rows: np.ndarray) -> np.ndarray:
        """The outputs (classes, findings, structures) that the rows have enough patients of each kind for."""

    def metric(self, rows: np.ndarray, outputs: np.ndarray) -> Values:
        """The metric of the rows over the outputs; NaN where it is undefined."""

    def calibration(self, rows: np.ndarray, outputs: np.ndarray) -> Values | None:
        """The mean of predicted minus observed in the rows; None for what predicts no probabilities."""

    def counts(self, rows: np.ndarray) -> tuple[int, int]:
        """Patients and cases of the rows that are scored."""


class PredictionParts:
    """`metric`, a row of `radapt.metrics.score` of the task as a whole, of classes or findings; arguments as there.

    Of a metric that `score` gives for each class, the value of several classes is the mean over those asked for, so
    that two groups are compared in the same classes. Calibration is the probability of the second of two classes, of
    the most probable of several, or of each finding, minus how often it came true; of findings the mean.
    """

    def __init__(
        self,
        metric: str,
        truth: np.ndarray,
        probabilities: np.ndarray,
        patients: Sequence[object] | np.ndarray,
        *,
        task: str,
        outputs: Sequence[str],
        decisions: np.ndarray | None = None,
    ) -> None:
        name = metric_name(metric)
        if name not in METRICS or ":" in metric:
            raise DataError(f"There is no metric {metric!r} of a whole task. {suggest(metric, METRICS)}")
        decided = None if ARGMAX in metric else decisions
        self.given = checked(truth, probabilities, patients, task, len(outputs), decided)
        self.units = self.given.units
        self._metric, self._outputs = METRICS[name], [str(output) for output in outputs]
        self._findings = task == "multilabel"

    def outputs_in(self, rows: np.ndarray) -> np.ndarray:
        truth, unit = self.given.truth[rows], self.given.unit[rows]
        columns = truth.T if self._findings else [truth == index for index in range(len(self._outputs))]
        known = ~np.isnan(truth).T if self._findings else [truth >= 0] * len(self._outputs)
        return np.array([_both_kinds(column, own, unit) for column, own in zip(columns, known, strict=True)])

    def metric(self, rows: np.ndarray, outputs: np.ndarray) -> Values:
        if not outputs.any():
            return _undefined
        given = self._part(rows, outputs)
        if self._findings:
            panel = MultiLabel(given, self._named(outputs), [self._metric])
            return lambda weights: panel.numbers(weights)[self._metric.name]
        single = SingleLabel(given, self._outputs, [self._metric])
        if not self._metric.listed or len(self._outputs) == 2:
            return lambda weights: single.numbers(weights)[self._metric.name]
        rows_of = [f"{self._metric.name}:{name}" for name in self._named(outputs)]

        def mean(weights: np.ndarray) -> np.ndarray:
            numbers = single.numbers(weights)
            return macro(np.stack([numbers[row] for row in rows_of], axis=-1), np.ones(len(rows_of), dtype=bool))

        return mean

    def calibration(self, rows: np.ndarray, outputs: np.ndarray) -> Values | None:
        if not outputs.any():
            return _undefined
        given = self._part(rows, outputs)
        if self._findings:
            away = given.probabilities - given.truth
            case, slot = np.nonzero(~np.isnan(away))
            return _mean_of(away[case, slot], slot, given.unit[case], self.units, away.shape[1])
        known = given.known
        truth, probabilities = given.truth[known], given.probabilities[known]
        if len(self._outputs) == 2:
            truth, probabilities = truth == 1, probabilities[:, 1]
        stated, came_true = confidence(truth, probabilities)
        return _mean_of(stated - came_true, np.zeros(len(stated), dtype=np.int64), given.unit[known], self.units, 1)

    def counts(self, rows: np.ndarray) -> tuple[int, int]:
        scored = rows & (self.given.unit >= 0)
        return len(np.unique(self.given.unit[scored])), int(scored.sum())

    def _part(self, rows: np.ndarray, outputs: np.ndarray) -> Predictions:
        given = self.given
        taken = np.ix_(rows, outputs) if self._findings else (rows,)
        decisions = None if given.decisions is None else given.decisions[taken]
        return Predictions(given.truth[taken], given.probabilities[taken], given.unit[rows], self.units, decisions)

    def _named(self, outputs: np.ndarray) -> list[str]:
        return [name for name, wanted in zip(self._outputs, outputs, strict=True) if wanted]


class LabelMapParts:
    """`metric`, a row of `radapt.metrics.summarise` over all labels, of a table of cases and labels; as there."""

    def __init__(self, metric: str, cases: pd.DataFrame, *, labels: Sequence[str]) -> None:
        if metric not in SUMMARY:
            raise DataError(f"There is no metric {metric!r} of these label maps. {suggest(metric, SUMMARY)}")
        check_cases(cases, labels)
        self._metric, self._panel = metric, LabelMapPanel.of(cases, labels)
        self.units = self._panel.units

    def outputs_in(self, rows: np.ndarray) -> np.ndarray:
        return self._part(rows).defined(self._metric)

    def metric(self, rows: np.ndarray, outputs: np.ndarray) -> Values:
        panel = self._part(rows & outputs[self._panel.label])
        return lambda weights: panel.numbers(weights)[self._metric]

    def calibration(self, rows: np.ndarray, outputs: np.ndarray) -> Values | None:
        return None

    def counts(self, rows: np.ndarray) -> tuple[int, int]:
        scored = rows & self._panel.entered(self._metric)
        return len(np.unique(self._panel.unit[scored])), len(np.unique(self._panel.case[scored]))

    def _part(self, rows: np.ndarray) -> LabelMapPanel:
        whole = self._panel
        return replace(
            whole, numerator=whole.numerator[:, rows], denominator=whole.denominator[:, rows],
            label=whole.label[rows], case=whole.case[rows], unit=whole.unit[rows],
        )  # fmt: skip


def _both_kinds(positive: np.ndarray, known: np.ndarray, unit: np.ndarray) -> bool:
    kinds = (known & (positive == 1), known & (positive == 0))
    return all(len(np.unique(unit[kind])) >= LEAST_OF_KIND for kind in kinds)


def _undefined(weights: np.ndarray) -> np.ndarray:
    return np.full(weights.shape[1], np.nan)


def _mean_of(amount: np.ndarray, slot: np.ndarray, unit: np.ndarray, units: int, slots: int) -> Values:
    """The mean over slots of the mean amount in each."""
    sums = Tally(slot, amount, unit, slots=slots, units=units)
    counts = Tally(slot, 1.0, unit, slots=slots, units=units)
    every = np.ones(slots, dtype=bool)
    return lambda weights: macro(ratio(sums.totals(weights), counts.totals(weights)).T, every)
