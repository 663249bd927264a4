"""From probabilities to a decision: which class, or whether a finding is present. Fixed inside training.

With imbalanced classes the largest probability is often that of the common class for every patient, which is of
no clinical use. `balanced` decides for the class whose probability is largest in proportion to its
share of training, which maximises the expected balanced accuracy if the probabilities are right.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from radapt.metrics.constant import DECISION
from radapt.metrics.metric import Metric
from radapt.metrics.points import point_values
from radapt.metrics.registry import METRICS
from radapt.protocols.targets import ClassWeight
from radapt.training.fit_record import Decision

Rule = Literal["auto", "balanced", "argmax", "tuned"]

IMBALANCED = 0.8
"""`auto` balances where the rarest answer has less than this part of an equal share of training: of two classes, less
than 40 % of the cases. From there on most probable and balanced decisions differ in more than borderline cases."""

_TIE = 12  # decimals: weighted probabilities that differ less differ by rounding, as those of the prior do
_THRESHOLDS = 99
_FACTORS = np.exp(np.linspace(-2, 2, 17))
_ROUNDS = 2


def decide(decision: Decision, probabilities: np.ndarray) -> np.ndarray:
    """Decisions int64: (..., C) -> (...) class indices, the first of equals; findings (..., F) -> (..., F) of 0 and
    1."""
    if decision.thresholds:
        excess = np.round(probabilities - np.asarray(decision.thresholds), _TIE)
        return (excess > 0).astype(np.int64)
    if len(set(decision.weights)) == 1:
        return np.asarray(probabilities.argmax(axis=-1), dtype=np.int64)
    weighted = np.round(probabilities * np.asarray(decision.weights), _TIE)
    return np.asarray(weighted.argmax(axis=-1), dtype=np.int64)


def decision_columns(decisions: np.ndarray, classes: Sequence[str], findings: Sequence[str]) -> dict[str, Any]:
    """The columns of a predictions table: `decision` (class name), or `decision_<finding>` of 1 and 0."""
    if findings:
        return {f"{DECISION}_{name}": decisions[:, number] for number, name in enumerate(findings)}
    return {DECISION: [classes[index] for index in decisions]}


def shares(labels: np.ndarray, outputs: int, class_weight: ClassWeight = "none") -> np.ndarray:
    """(C,) share of each class of the labelled cases, or (F,) of the cases with each finding, as training weighed them.

    Labels (n,) with -1, or (n, F) with NaN, are unknown. A finding whose answer is unknown in every case has 0.5.
    """
    if labels.ndim == 1:
        counts = np.bincount(labels[labels >= 0], minlength=outputs).astype(np.float64)
        counts = (counts > 0).astype(np.float64) if class_weight == "balanced" else counts
        return counts / max(counts.sum(), 1)
    known, positive = np.isfinite(labels).sum(axis=0), (labels == 1).sum(axis=0)
    if class_weight == "balanced":
        return np.full(outputs, 0.5)
    return np.where(known > 0, positive / np.maximum(known, 1), 0.5)


def fixed_decision(
    rule: Rule, labels: np.ndarray, outputs: int, class_weight: ClassWeight = "none", why: str = ""
) -> Decision:
    """The decision by `rule`, for a model that learned from `labels`; `tuned`, which needs predictions, is
    `balanced`."""
    own = shares(labels, outputs, class_weight)
    if labels.ndim == 2:
        balanced = _balances(rule, np.minimum(own, 1 - own) * 2)
        thresholds = np.where(balanced & (own > 0) & (own < 1), own, 0.5)
        text = why or _why(rule, bool(balanced.any()), "a finding is present above its share of the training cases")
        return Decision("balanced" if balanced.any() else "argmax", text, thresholds=tuple(thresholds.tolist()))
    present = own > 0
    balanced = _balances(rule, own[present].min(initial=1) * present.sum())
    if not balanced:
        return Decision("argmax", why or _why(rule, False, ""), weights=(1.0,) * outputs)
    weights = np.where(present, 1 / np.where(present, own, 1) / present.sum(), 0.0)
    text = why or _why(rule, True, "the class whose probability is largest in proportion to its share of training")
    return Decision("balanced", text, weights=tuple(weights.tolist()))


def _balances(rule: Rule, rarest: np.ndarray | float) -> np.ndarray:
    """Whether decisions are balanced; `rarest` is what part of an equal share the rarest answer has."""
    by_rule = {"argmax": False, "balanced": True, "tuned": True}
    return np.asarray(rarest) < IMBALANCED if rule == "auto" else np.full(np.shape(rarest), by_rule[rule])


def _why(rule: Rule, balanced: bool, meaning: str) -> str:
    equal = f"less than {IMBALANCED:.0%} of an equal share of training"
    if not balanced:
        about = f"no answer has {equal}" if rule == "auto" else "as asked"
        return f"the most probable class, a finding above 0.5: {about}"
    return f"{meaning}: {f'the rarest has {equal}' if rule == 'auto' else 'as asked'}"


def tuned_by(metric: Metric) -> Metric:
    """The metric that `tuned` maximises: `metric`, or MCC where it does not depend on decisions."""
    return metric if metric.of_decisions else METRICS["mcc"]


def tuned_decision(
    metric: Metric, truth: np.ndarray, probabilities: np.ndarray, start: Decision, task: str, why: str = ""
) -> Decision:
    """Weights or thresholds that maximise `metric` on cases that the model did not learn from; `start` where undefined.

    Two classes, and each finding, get a threshold: the middle of the best of those between the probabilities, averaged
    with their neighbours, since a single case may move the value at one. Of several classes one weight after the other
    is multiplied by what is best, twice, from `start`.
    """
    if task == "multilabel":
        found = [_finding(metric, truth[:, f], probabilities[:, f], start.thresholds[f]) for f in range(truth.shape[1])]
        return Decision("tuned", why, thresholds=tuple(found))
    known = truth >= 0
    truth, probabilities = truth[known], probabilities[known]

    def value(sets: np.ndarray) -> np.ndarray:
        """(G, C) weights -> (G,)"""
        decided = np.stack([decide(Decision("tuned", "", weights=tuple(one)), probabilities) for one in sets])
        return _gain(metric, truth, np.broadcast_to(probabilities, (len(sets), *probabilities.shape)), decided, task)

    if probabilities.shape[1] == 2:
        threshold = _threshold(lambda at: value(np.stack([at, 1 - at], axis=1)), probabilities[:, 1])
        return start if threshold is None else Decision("tuned", why, weights=(threshold, 1 - threshold))
    weights = np.maximum(np.asarray(start.weights), 1e-6)
    for _ in range(_ROUNDS):
        for c in range(len(weights)):
            sets = np.repeat(weights[None], len(_FACTORS), axis=0)
            sets[:, c] *= _FACTORS
            values = smoothed(value(sets))
            if np.isnan(values).all():
                return start
            weights = sets[int(np.nanargmax(values))]
    weights = weights / weights.mean()
    return Decision("tuned", why, weights=tuple(weights.tolist()))


def smoothed(values: np.ndarray) -> np.ndarray:
    """Each value (n,) averaged with its neighbours, of which the first and last have one; undefined ones left out."""
    padded = np.concatenate([[np.nan], values, [np.nan]])
    windows = np.stack([padded[:-2], padded[1:-1], padded[2:]])
    known = np.isfinite(windows)
    counts = np.where(known[1], known.sum(axis=0), 0)
    return np.where(counts > 0, np.where(known, windows, 0).sum(axis=0) / np.maximum(counts, 1), np.nan)


def _finding(metric: Metric, truth: np.ndarray, probabilities: np.ndarray, start: float) -> float:
    known = np.isfinite(truth)
    truth, given = truth[known, None], probabilities[known, None]
    if not len(truth):
        return start

    def value(at: np.ndarray) -> np.ndarray:
        decided = (given[None] > at[:, None, None]).astype(np.int64)
        return _gain(metric, truth, np.broadcast_to(given, (len(at), *given.shape)), decided, "multilabel")

    found = _threshold(value, given[:, 0])
    return start if found is None else found


def _threshold(value: Callable[[np.ndarray], np.ndarray], probabilities: np.ndarray) -> float | None:
    """The best threshold between the probabilities (n,), at most `_THRESHOLDS` of them; None if all are undefined."""
    distinct = np.unique(probabilities)
    between = (distinct[1:] + distinct[:-1]) / 2 if len(distinct) > 1 else distinct
    if len(between) > _THRESHOLDS:
        between = np.quantile(between, np.linspace(0, 1, _THRESHOLDS))
    values = smoothed(value(between))
    if np.isnan(values).all():
        return None
    best = np.flatnonzero(np.nan_to_num(values, nan=-np.inf) >= np.nanmax(values) - 10.0**-_TIE)
    return float(between[best[len(best) // 2]])


def _gain(metric: Metric, truth: np.ndarray, probabilities: np.ndarray, decided: np.ndarray, task: str) -> np.ndarray:
    """(G,) larger is better."""
    return -np.asarray([metric.loss(v) for v in point_values(metric, truth, probabilities, decided, task=task)])
