"""What candidates are compared by: the metric that the study names, ties by log-loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radapt.metrics import auroc
from radapt.metrics.calibration import LEAST_PROBABILITY
from radapt.metrics.metric import Metric
from radapt.metrics.points import point_values
from radapt.metrics.registry import METRICS
from radapt.protocols.decisions import Rule, decide, fixed_decision, tuned_by, tuned_decision
from radapt.protocols.targets import ClassWeight

_TIE = 12  # decimals: values that differ less differ by rounding


@dataclass(frozen=True)
class Ratings:
    """The numbers of each candidate, (candidates,) each, NaN where undefined: those of `metric` and log-losses."""

    metric: Metric
    value: np.ndarray
    auroc: np.ndarray
    log_loss: np.ndarray

    @classmethod
    def mean(cls, several: Sequence["Ratings"]) -> "Ratings":
        """Averaged over repeats; undefined where one of them is."""
        columns = (np.mean([getattr(one, name) for one in several], axis=0) for name in ("value", "auroc", "log_loss"))
        return cls(several[0].metric, *columns)

    @classmethod
    def from_numbers(cls, metric: Metric, numbers: Sequence[Mapping[str, float]]) -> "Ratings":
        """The inverse of `of`, candidate by candidate."""
        columns = ([one.get(name, np.nan) for one in numbers] for name in (metric.name, "auroc", "log_loss"))
        return cls(metric, *(np.asarray(column, dtype=np.float64) for column in columns))

    @property
    def best(self) -> int:
        """The best value, then lowest log-loss, then first. What is undefined for all is compared by log-loss alone."""
        loss = np.asarray([self.metric.loss(value) for value in np.round(self.value, _TIE)])
        return int(np.lexsort((np.nan_to_num(self.log_loss, nan=np.inf), np.nan_to_num(loss, nan=np.inf)))[0])

    @property
    def number(self) -> float:
        """Of a single candidate: one number that orders as `best` does, larger is better."""
        surprise = float(self.log_loss[0]) / (1 + float(self.log_loss[0]))  # log-loss on a scale from 0 to 1
        value = -self.metric.loss(float(self.value[0]))
        return -surprise if np.isnan(value) else value - _LESS_THAN_A_STEP * surprise

    def of(self, candidate: int) -> dict[str, float]:
        """The numbers of one candidate, by name."""
        numbers = {"auroc": float(self.auroc[candidate]), "log_loss": float(self.log_loss[candidate])}
        return {self.metric.name: float(self.value[candidate])} | numbers


_LESS_THAN_A_STEP = 1e-9  # what the log-loss may add to a value: less than any two areas or shares of cases differ by


@dataclass(frozen=True)
class Rater:
    """Compares candidates by `metric`, under the decision `rule` that the final model will have.

    With `tuned` each candidate's decision is tuned on the same predictions that it is compared by: the numbers are
    optimistic, for all candidates alike, and tell them apart.
    """

    metric: Metric
    task: str
    rule: Rule = "argmax"
    class_weight: ClassWeight = "none"

    @classmethod
    def by_name(cls, metric: str, task: str, rule: Rule, class_weight: ClassWeight) -> "Rater":
        return cls(METRICS[metric], task, rule, class_weight)

    def __reduce__(self) -> tuple[Any, ...]:
        # For the processes of several devices: pickle cannot send the functions of most metrics, but their names.
        return Rater.by_name, (self.metric.name, self.task, self.rule, self.class_weight)

    def decisions(self, learned: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """Of candidates that learned from these labels: (G, n, outputs) -> (G, n) or (G, n, F)."""
        return decide(fixed_decision(self.rule, learned, probabilities.shape[-1], self.class_weight), probabilities)

    def rate(
        self, truth: np.ndarray, probabilities: np.ndarray, learned: np.ndarray, decisions: np.ndarray | None = None
    ) -> Ratings:
        """Of candidates (G, n, outputs) by the truth (n,) or (n, F), all of it known or at least one finding of a case.

        `decisions` are those of each fold, put together; None: of one training on the labels `learned`.
        """
        areas = score_candidates(truth, probabilities)
        if self.metric.name == "auroc":
            return Ratings(self.metric, areas.auroc, areas.auroc, areas.log_loss)
        if self.metric.name == "log_loss":
            return Ratings(self.metric, areas.log_loss, areas.auroc, areas.log_loss)
        if decisions is None and self.metric.of_decisions:
            decisions = self.decisions(learned, probabilities)
        if self.rule == "tuned" and self.metric.of_decisions:
            decisions = self._tuned(truth, probabilities, learned)
        value = point_values(self.metric, truth, probabilities, decisions, task=self.task)
        return Ratings(self.metric, value, areas.auroc, areas.log_loss)

    def _tuned(self, truth: np.ndarray, probabilities: np.ndarray, learned: np.ndarray) -> np.ndarray:
        start, by = (
            fixed_decision("balanced", learned, probabilities.shape[-1], self.class_weight),
            tuned_by(self.metric),
        )
        return np.stack([decide(tuned_decision(by, truth, one, start, self.task), one) for one in probabilities])

    def undefined_note(self, values: Sequence[float] | np.ndarray, where: str = "on val") -> str | None:
        """The note for candidates whose metric is undefined; None if it is defined for all."""
        if np.isfinite(np.asarray(values, dtype=np.float64)).all():
            return None
        return f"{self.metric.title} is undefined {where}, where no question has both answers; chosen by log-loss."


@dataclass(frozen=True)
class AreasAndLosses:
    """Macro AUROC and log-loss of each candidate, (candidates,) each; NaN where undefined."""

    auroc: np.ndarray
    log_loss: np.ndarray


def score_candidates(truth: np.ndarray, probabilities: np.ndarray) -> AreasAndLosses:
    """Score probabilities (candidates, n, outputs) by truth (n,) or (n, F): what is undefined is left out."""
    if truth.ndim == 1:
        questions = [(np.ones(len(truth), bool), truth == c, c) for c in _asked(probabilities.shape[2])]
        likelihood = probabilities[:, np.arange(len(truth)), truth]
        loss = -np.log(np.clip(likelihood, LEAST_PROBABILITY, 1)).mean(axis=1)
    else:
        known = np.isfinite(truth)
        questions = [(known[:, f], truth[:, f] == 1, f) for f in range(truth.shape[1])]
        likelihood = np.where(truth == 1, probabilities, 1 - probabilities)
        surprise = np.where(known, -np.log(np.clip(likelihood, LEAST_PROBABILITY, 1)), 0.0).sum(axis=1)
        loss = (surprise / np.maximum(known.sum(axis=0), 1))[:, known.any(axis=0)].mean(axis=1)
    areas = [
        [float(auroc(yes[known], scores[known, output])) for scores in probabilities]
        for known, yes, output in questions
        if 0 < yes[known].sum() < known.sum()
    ]
    undefined = np.full(len(probabilities), np.nan)
    return AreasAndLosses(np.mean(areas, axis=0) if areas else undefined, loss)


def _asked(classes: int) -> Sequence[int]:
    """One question per class; of two classes, one says it all."""
    return (1,) if classes == 2 else range(classes)
