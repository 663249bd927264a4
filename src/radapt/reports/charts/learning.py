"""Learning curves: a metric against the number of training labels, one chart per test set, kind of size and metric."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from radapt.reports.charts.drawing import WIDTH, Drawing, Frame, diamond, dot, target, whisker
from radapt.reports.charts.figure import DASHES, Chart, ChartView, Figure, LegendEntry
from radapt.reports.charts.scale import Scale, around, finite, ticks
from radapt.reports.formatting import counted, interval, shown
from radapt.reports.learning_curves import Estimate, LearningCurve, LearningCurveSet
from radapt.reports.metric_info import MetricInfo, metric_of

_HEIGHT_PX, _TOP_PX, _BELOW_PX, _LEFT_PX = 300, 28, 42, 46
_TITLES = {"shots": "Training patients per class (shots)", "fraction": "Share of the training labels (%)"}


def learning_figure(sets: Sequence[LearningCurveSet], tones: Sequence[str]) -> Figure | None:
    """A view per metric, which holds a chart per set; None without curves. `tones` orders the backbones' colours."""
    names = dict.fromkeys(
        name for curves in sets for curve in curves.curves for point in curve.points for name in point.numbers
    )
    views = []
    for name in names:
        charts = tuple(chart for curves in sets if (chart := _chart(curves, metric_of(name), tones)) is not None)
        if charts:
            views.append(ChartView(name, charts))
    return Figure("learning", "metric", tuple(views), sets[0].primary) if views else None


def _chart(curves: LearningCurveSet, metric: MetricInfo, tones: Sequence[str]) -> Chart | None:
    drawn = [curve for curve in curves.curves if any(_value(point.numbers, metric) for point in curve.points)]
    if not drawn:
        return None
    sizes = sorted({point.x for curve in drawn for point in curve.points})
    step = min(sizes[-1] / sizes[-2], 4) if len(sizes) > 1 else 2.0
    whole = sizes[-1] * step
    ends = [end for curve in drawn for number in _numbers(curve, metric) for end in number]
    with_whole = any(_value(curve.whole, metric) for curve in drawn)
    last = whole if with_whole else sizes[-1]
    x = Scale(sizes[0] / step**0.4, last * step**0.4, _LEFT_PX, WIDTH - 16, log=True)
    low, high = around([*ends, metric.chance])
    y = Scale(low, high, _HEIGHT_PX - _BELOW_PX, _TOP_PX)
    drawing = Drawing(_HEIGHT_PX)
    labels = [(size, f"{size:g}") for size in sizes] + ([(whole, "all")] if with_whole else [])
    Frame(x, y).draw(drawing, labels, ticks(low, high), _TITLES[curves.kind], metric.title)
    if metric.chance is not None:
        drawing.line(x.start, y(metric.chance), x.end, y(metric.chance), "chance")
    dodge = min(6.0, 24 / len(drawn))
    legend = []
    for index, curve in enumerate(drawn):
        kind = _kind(curve, drawn, tones)
        _draw(drawing, curve, metric, x, y, whole, (index - (len(drawn) - 1) / 2) * dodge, kind)
        legend.append(LegendEntry(curve.name, kind))
    title = f"{curves.split}, {'shots' if curves.kind == 'shots' else 'share of the labels'}"
    return Chart(title, drawing.svg(f"{metric.title} against the number of training labels on {title}"), tuple(legend))


def _draw(
    drawing: Drawing,
    curve: LearningCurve,
    metric: MetricInfo,
    x: Scale,
    y: Scale,
    whole: float,
    shift: float,
    kind: str,
) -> None:
    placed: list[tuple[float, float]] = []
    for point in curve.points:
        number = _value(point.numbers, metric)
        if number is None:
            continue
        at, up = x(point.x) + shift, y(number[0])
        placed.append((at, up))
        patients = f"{point.patients} training patients" if point.patients else ""
        facts = ", ".join(filter(None, (point.method.size, patients, counted(point.draws, "draw"))))
        drawing.mark(
            _tip(curve, facts, number, metric), kind, [target(at, up, 14, 18), *_bar(at, number, y), dot(at, up)]
        )
    drawing.path(placed, f"line {kind}")
    last = _value(curve.whole, metric)
    if last is not None and placed:
        at, up = x(whole) + shift, y(last[0])
        drawing.path([placed[-1], (at, up)], f"thin {kind}")
        tip = _tip(curve, "every label", last, metric)
        drawing.mark(tip, kind, [target(at, up, 14, 18), *_bar(at, last, y), diamond(at, up)])


def _bar(x: float, number: Estimate, y: Scale) -> list[Markup]:
    _, low, high = number
    return [whisker(x, y(low), x, y(high))] if finite(low) and finite(high) else []


def _tip(curve: LearningCurve, facts: str, number: Estimate, metric: MetricInfo) -> str:
    value, low, high = number
    return f"{curve.name}\n{facts}\n{metric.title} {shown(value, metric.digits)} ({interval(low, high, metric.digits)})"


def _kind(curve: LearningCurve, drawn: Sequence[LearningCurve], tones: Sequence[str]) -> str:
    """The colour of the backbone, and the dashes of the protocol among those of the backbone."""
    tone = tones.index(curve.backbone) % 8 if curve.backbone in tones else 0
    peers = [other for other in drawn if other.backbone == curve.backbone]
    return " ".join(filter(None, (f"t{tone}", DASHES[peers.index(curve) % len(DASHES)])))


def _numbers(curve: LearningCurve, metric: MetricInfo) -> list[Estimate]:
    own = [point.numbers for point in curve.points]
    return [number for numbers in (*own, curve.whole) if (number := _value(numbers, metric)) is not None]


def _value(numbers: object, metric: MetricInfo) -> Estimate | None:
    number = numbers.get(metric.name) if hasattr(numbers, "get") else None
    return None if number is None or math.isnan(number[0]) else number
