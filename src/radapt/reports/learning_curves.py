"""Learning curves: scores against the number of training labels.

A point is the mean over the draws of one size (repeats and seeds). Its interval covers the test patients and the draws
of training patients, resampled together (`radapt.metrics.score_repeats`). If the draws' predictions are missing, or too
many to resample within the time budget of a report, the interval instead adds the cells' own intervals and the spread
of the draws as independent errors, which makes it slightly too wide.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import stdtrit

from radapt.metrics import score_repeats
from radapt.reports.cell_scores import CellScore, Scores, scores_of, spread_of
from radapt.reports.draw_predictions import DrawPredictions, draw_predictions
from radapt.reports.formatting import defined, interval, shown
from radapt.reports.leaderboard import SELECTION_SPLITS, is_part, split_order
from radapt.reports.methods import Method
from radapt.reports.metric_info import metric_of
from radapt.reports.run_folder import Run

WORK = 250_000_000
"""Cases × outputs × draws × resamples that are scored for one cohort at most: about ten seconds on one core."""
LEAST_RESAMPLES, MOST_RESAMPLES = 200, 1000

Estimate = tuple[float, float, float]
"""A value with the lower and upper end of its interval."""


@dataclass(frozen=True)
class CurvePoint:
    """One training size: the estimate of every metric, and the scores of its draws."""

    method: Method
    scores: Mapping[str, Sequence[CellScore]]
    numbers: Mapping[str, Estimate]
    resampled: bool

    @property
    def x(self) -> float:
        """Shots, or percent of the labels."""
        return float(self.method.shots if self.method.shots is not None else 100 * (self.method.fraction or 0))

    @property
    def draws(self) -> int:
        return max(map(len, self.scores.values()))

    @property
    def patients(self) -> str:
        """The number of training patients, or its range over the draws; empty if it is not recorded."""
        counts = sorted(set(self._drawn))
        return f"{counts[0]:,}" + (f"–{counts[-1]:,}" if len(counts) > 1 else "") if counts else ""

    @property
    def labelled(self) -> float:
        """The mean number of training patients over the draws; NaN if it is not recorded."""
        return float(np.mean(self._drawn)) if self._drawn else math.nan

    @cached_property
    def _drawn(self) -> list[int]:
        fits = [fit for cell in self.method.cells for fit in _fits(cell.facts)]
        draws = [fit.get("draw") or {} for fit in fits]
        return [int(draw["patients"]) for draw in draws if draw.get("patients") is not None]

    def spread(self, metric: str) -> tuple[float, float, float] | None:
        """Minimum, maximum and standard deviation (n - 1) over the draws."""
        return spread_of(self.scores.get(metric, ()))


def _fits(facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The records of the fits of a cell: one, or one per fold."""
    return [fit for fit in (facts.get("fit"), *(facts.get("folds") or {}).values()) if fit]


@dataclass(frozen=True)
class LearningCurve:
    """One backbone and protocol, smallest size first. `whole` holds the estimates with every label, if any."""

    backbone: str
    protocol: str
    points: tuple[CurvePoint, ...]
    whole: Mapping[str, Estimate]

    @property
    def name(self) -> str:
        return f"{self.backbone} · {self.protocol}"


@dataclass(frozen=True)
class LearningCurveSet:
    """The learning curves of one test set; `kind` is "shots" or "fraction"."""

    split: str
    kind: str
    curves: tuple[LearningCurve, ...]
    primary: str

    @cached_property
    def resampled(self) -> bool:
        return all(point.resampled for curve in self.curves for point in curve.points)

    @property
    def sentence(self) -> str:
        """The leading method with the fewest and with the most labels drawn."""
        sizes = sorted({point.x for curve in self.curves for point in curve.points})
        leaders = [leader for x in dict.fromkeys((sizes[0], sizes[-1])) if (leader := self._leader(x))]
        return f"{metric_of(self.primary).title} on {self.split}: {'; '.join(leaders)}." if leaders else ""

    def _leader(self, x: float) -> str:
        metric = metric_of(self.primary)
        points = [point for curve in self.curves for point in curve.points if point.x == x]
        ranked = [point for point in points if defined(point.numbers.get(self.primary, (math.nan,))[0])]
        if not ranked:
            return ""
        best = min(ranked, key=lambda point: metric.loss(point.numbers[self.primary][0]))
        value, low, high = best.numbers[self.primary]
        leads = "leads with" if len(ranked) > 1 else "reaches"
        return (
            f"at {best.method.size}, {best.method.phrase_without_size} {leads} {shown(value)} ({interval(low, high)})"
        )


def learning_curve_sets(run: Run, methods: Iterable[Method], primary: str | None) -> tuple[LearningCurveSet, ...]:
    """The learning curves of the methods of one cohort and aim: one set per test set and kind of size."""
    methods = list(methods)
    few = [method for method in methods if method.few_labels and method.count("done")]
    if not few or primary is None:
        return ()
    scores = scores_of(run.results)
    all_labels = [method for method in methods if not method.few_labels]
    tested = {split for split, _, _ in scores if split not in SELECTION_SPLITS and not is_part(split)}
    splits = sorted(tested, key=split_order)
    facts = run.cohorts.get(few[0].cohort) or {}
    predictions = {(method.key, split): draw_predictions(method, split, facts) for method in few for split in splits}
    resamples = _resamples(few, [draws for draws in predictions.values() if draws])
    sets = []
    for split in splits:
        points = [_point(method, split, scores, predictions[method.key, split], resamples) for method in few]
        for kind in ("shots", "fraction"):
            of_kind = [point for point in points if point and getattr(point.method, kind) is not None]
            if of_kind:
                sets.append(LearningCurveSet(split, kind, _curves(of_kind, all_labels, split, scores), primary))
    return tuple(sets)


def _curves(
    points: list[CurvePoint], all_labels: list[Method], split: str, scores: Scores
) -> tuple[LearningCurve, ...]:
    groups: dict[str, list[CurvePoint]] = {}
    for point in points:
        groups.setdefault(point.method.curve_key, []).append(point)
    curves = []
    for group in groups.values():
        first = group[0].method
        whole = next((method for method in all_labels if method.base_key == first.base_key), None)
        numbers = {name: _means(own) for name, own in _method_scores(whole, split, scores).items()} if whole else {}
        ordered = tuple(sorted(group, key=lambda point: point.x))
        curves.append(LearningCurve(first.backbone, first.protocol, ordered, numbers))
    return tuple(sorted(curves, key=lambda curve: curve.name))


def _point(
    method: Method, split: str, scores: Scores, draws: DrawPredictions | None, resamples: int
) -> CurvePoint | None:
    own = _method_scores(method, split, scores)
    if not own:
        return None
    numbers = {metric: independent_estimate(metric, of_metric) for metric, of_metric in own.items()}
    resampled = draws is not None and resamples > 0
    if draws is not None and resampled:
        table = score_repeats(
            draws.truth, draws.probabilities, draws.patients,
            task=draws.task, outputs=draws.outputs, ordered=draws.ordered,
            decisions=None if draws.decisions is None else list(draws.decisions),
            rng=np.random.default_rng(0), resamples=resamples,
        )  # fmt: skip
        rows = zip(table["metric"], table["value"], table["ci_low"], table["ci_high"], strict=True)
        numbers |= {name: (value, low, high) for name, value, low, high in rows if name in own}
    return CurvePoint(method, own, numbers, resampled)


def _method_scores(method: Method, split: str, scores: Scores) -> dict[str, list[CellScore]]:
    """The scores of every metric over all classes, one per done cell."""
    ids = [cell.id for cell in method.cells]
    metrics = sorted({metric for scored, metric, cell in scores if scored == split and cell in set(ids)})
    return {
        metric: [score for id_ in ids if (score := scores.get((split, metric, id_)))]
        for metric in metrics
        if ":" not in metric
    }


def independent_estimate(metric: str, scores: Sequence[CellScore]) -> Estimate:
    """The mean over draws, with an interval that adds the draws' error (Student's, of their mean) to the patients'.

    Both errors are taken as independent. NaN if any draw is undefined.
    """
    value, low, high = _means(scores)
    draws = len(scores)
    margin = 0.0
    if draws > 1:
        deviation = np.std([score.value for score in scores], ddof=1)
        margin = float(stdtrit(draws - 1, 0.975) * deviation / math.sqrt(draws))
    facts = metric_of(metric)
    low, high = value - math.hypot(value - low, margin), value + math.hypot(high - value, margin)
    return value, max(low, facts.low), high if facts.high is None else min(high, facts.high)


def _means(scores: Sequence[CellScore]) -> Estimate:
    names = ("value", "ci_low", "ci_high")
    value, low, high = (float(np.mean([getattr(score, name) for score in scores])) for name in names)
    return value, low, high


def _resamples(few: Sequence[Method], draws: Sequence[DrawPredictions]) -> int:
    """The number of resamples, 0 if even `LEAST_RESAMPLES` would take too long."""
    requested = min(int(method.cells[0].facts.get("resamples") or MOST_RESAMPLES) for method in few)
    work = sum(predictions.probabilities.size for predictions in draws)
    possible = min(requested, MOST_RESAMPLES, WORK // max(work, 1))
    return possible if possible >= min(requested, LEAST_RESAMPLES) else 0
