"""Learning curves: how a number grows with the labels, with an interval for both chances behind it.

A point is the mean over the draws of one size (repeats, and seeds, which draw anew). Its interval carries the test
patients and the draws of training patients: both are resampled together (`radapt.metrics.score_repeats`). Where the
draws' predictions are not there, or too many to resample in the time a report may take, the two are added up as
independent chances from the cells' own intervals and the spread of the draws, which makes it a little too wide.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from radapt.metrics import score_repeats
from radapt.reports.draws import Draws, draws_of
from radapt.reports.leaderboard import CHOOSING, Row, Rows, rows_of, split_order
from radapt.reports.methods import Method
from radapt.reports.numbers import defined, interval, metric_of, shown
from radapt.reports.run_folder import Run

WORK = 250_000_000
"""Cases × outputs × draws × resamples that may be scored for one cohort: about ten seconds of one core."""
LEAST_RESAMPLES, MOST_RESAMPLES = 200, 1000

Number = tuple[float, float, float]
"""A value with the lower and upper end of its interval."""


@dataclass(frozen=True)
class Point:
    """One size: every number with its interval, and the rows of its draws."""

    contestant: Method
    rows: Mapping[str, Sequence[Row]]
    numbers: Mapping[str, Number]
    resampled: bool

    @property
    def x(self) -> float:
        one = self.contestant
        return float(one.shots if one.shots is not None else 100 * (one.fraction or 0))

    @property
    def draws(self) -> int:
        return max(map(len, self.rows.values()))

    @property
    def patients(self) -> str:
        """How many patients were learned from: one number, or the range over the draws; empty if not written down."""
        chosen = [cell.facts.get("chosen") or {} for cell in self.contestant.cells]
        found = sorted({int(one["patients"]) for one in chosen if one.get("patients") is not None})
        return f"{found[0]:,}" + (f"–{found[-1]:,}" if len(found) > 1 else "") if found else ""

    def spread(self, metric: str) -> tuple[float, float, float] | None:
        """Smallest, largest and standard deviation (n - 1) of the draws."""
        values = [row.value for row in self.rows.get(metric, ()) if defined(row.value)]
        return None if len(values) < 2 else (min(values), max(values), float(np.std(values, ddof=1)))


@dataclass(frozen=True)
class Curve:
    """One backbone and protocol over its sizes, smallest first. `whole` are the numbers with every label, if any."""

    backbone: str
    protocol: str
    points: tuple[Point, ...]
    whole: Mapping[str, Number]

    @property
    def name(self) -> str:
        return f"{self.backbone} · {self.protocol}"


@dataclass(frozen=True)
class CurveSet:
    """The learning curves of one test set, over shots or over shares of the labels."""

    split: str
    kind: str
    curves: tuple[Curve, ...]
    primary: str

    @cached_property
    def resampled(self) -> bool:
        return all(point.resampled for curve in self.curves for point in curve.points)

    @property
    def sentence(self) -> str:
        """Who leads with the fewest labels, and who with the most of those drawn."""
        sizes = sorted({point.x for curve in self.curves for point in curve.points})
        said = [words for x in dict.fromkeys((sizes[0], sizes[-1])) if (words := self._leader(x))]
        return f"{metric_of(self.primary).title} on {self.split}: {'; '.join(said)}." if said else ""

    def _leader(self, x: float) -> str:
        metric = metric_of(self.primary)
        there = [point for curve in self.curves for point in curve.points if point.x == x]
        ranked = [point for point in there if defined(point.numbers.get(self.primary, (math.nan,))[0])]
        if not ranked:
            return ""
        best = min(ranked, key=lambda point: metric.loss(point.numbers[self.primary][0]))
        value, low, high = best.numbers[self.primary]
        leads = "leads with" if len(ranked) > 1 else "reaches"
        return f"at {best.contestant.size}, {best.contestant.sizeless} {leads} {shown(value)} ({interval(low, high)})"


def curve_sets(run: Run, known: Iterable[Method], primary: str | None) -> tuple[CurveSet, ...]:
    """The learning curves of contestants of one cohort and aim, one set per test set and kind of size."""
    known = list(known)
    few = [one for one in known if one.few and one.count("done")]
    if not few or primary is None:
        return ()
    rows = rows_of(run.results)
    whole = [one for one in known if not one.few]
    splits = sorted({split for split, _, _ in rows if split not in CHOOSING}, key=split_order)
    facts = run.cohorts.get(few[0].cohort) or {}
    drawn = {(one.key, split): draws_of(one, split, facts) for one in few for split in splits}
    resamples = _resamples(few, [draws for draws in drawn.values() if draws])
    found = []
    for split in splits:
        points = [_point(one, split, rows, drawn[one.key, split], resamples) for one in few]
        for kind in ("shots", "fraction"):
            own = [point for point in points if point and getattr(point.contestant, kind) is not None]
            if own:
                found.append(CurveSet(split, kind, _curves(own, whole, split, rows), primary))
    return tuple(found)


def curve_charts(sets: Iterable[CurveSet]) -> list[dict[str, Any]]:
    """What the page's script draws."""
    return [
        {"split": one.split, "kind": one.kind, "curves": [_curve_chart(curve) for curve in one.curves]} for one in sets
    ]


def _curve_chart(curve: Curve) -> dict[str, Any]:
    metrics = dict.fromkeys(metric for point in curve.points for metric in point.numbers)
    nothing = (math.nan,) * 3
    return {
        "backbone": curve.backbone,
        "name": curve.name,
        "x": [point.x for point in curve.points],
        "size": [point.contestant.size for point in curve.points],
        "draws": [point.draws for point in curve.points],
        "patients": [point.patients for point in curve.points],
        "numbers": {name: [_short(point.numbers.get(name, nothing)) for point in curve.points] for name in metrics},
        "whole": {name: _short(number) for name, number in curve.whole.items()},
    }


def _curves(points: list[Point], whole: list[Method], split: str, rows: Rows) -> tuple[Curve, ...]:
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(point.contestant.curve, []).append(point)
    found = []
    for own in groups.values():
        first = own[0].contestant
        alike = next((one for one in whole if one.learner == first.learner), None)
        numbers = {name: _means(its) for name, its in _rows(alike, split, rows).items()} if alike else {}
        found.append(Curve(first.backbone, first.protocol, tuple(sorted(own, key=lambda p: p.x)), numbers))
    return tuple(sorted(found, key=lambda curve: curve.name))


def _point(one: Method, split: str, rows: Rows, draws: Draws | None, resamples: int) -> Point | None:
    own = _rows(one, split, rows)
    if not own:
        return None
    numbers = {metric: summed(metric, its) for metric, its in own.items()}
    exact = draws is not None and resamples > 0
    if draws is not None and exact:
        table = score_repeats(
            draws.truth, draws.probabilities, draws.patients,
            task=draws.task, outputs=draws.outputs, ordered=draws.ordered,
            rng=np.random.default_rng(0), resamples=resamples,
        )  # fmt: skip
        found = zip(table["metric"], table["value"], table["ci_low"], table["ci_high"], strict=True)
        numbers |= {name: (value, low, high) for name, value, low, high in found if name in own}
    return Point(one, own, numbers, exact)


def _rows(one: Method, split: str, rows: Rows) -> dict[str, list[Row]]:
    """The rows of every whole-cohort metric, one per done cell."""
    ids = [cell.id for cell in one.cells]
    metrics = sorted({metric for place, metric, cell in rows if place == split and cell in set(ids)})
    return {
        metric: [row for id_ in ids if (row := rows.get((split, metric, id_)))]
        for metric in metrics
        if ":" not in metric
    }


def summed(metric: str, rows: Sequence[Row]) -> Number:
    """Mean over draws, and an interval that adds the chance of the draws (Student's, of their mean) to the patients'.

    Both are taken as independent. NaN if any draw is undefined.
    """
    from scipy.stats import t

    value, low, high = _means(rows)
    draws = len(rows)
    chance = 0.0
    if draws > 1:
        chance = float(t.ppf(0.975, draws - 1) * np.std([row.value for row in rows], ddof=1) / math.sqrt(draws))
    facts = metric_of(metric)
    low, high = value - math.hypot(value - low, chance), value + math.hypot(high - value, chance)
    return value, max(low, facts.low), high if facts.high is None else min(high, facts.high)


def _means(rows: Sequence[Row]) -> Number:
    value, low, high = (float(np.mean([getattr(row, name) for row in rows])) for name in ("value", "ci_low", "ci_high"))
    return value, low, high


def _resamples(few: Sequence[Method], draws: Sequence[Draws]) -> int:
    """How often to resample, 0 where it would take too long."""
    asked = min(int(one.cells[0].facts.get("resamples") or MOST_RESAMPLES) for one in few)
    work = sum(one.probabilities.size for one in draws)
    possible = min(asked, MOST_RESAMPLES, WORK // max(work, 1))
    return possible if possible >= min(asked, LEAST_RESAMPLES) else 0


def _short(number: Number | Sequence[float]) -> list[float | None]:
    return [round(float(value), 4) if defined(value) else None for value in number]
