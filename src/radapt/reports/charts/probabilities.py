"""ROC curves and reliability diagrams of the best methods, one figure per test set."""

from collections.abc import Mapping, Sequence

from radapt.reports.charts.drawing import WIDTH, Drawing, Frame, dot, target
from radapt.reports.charts.figure import Chart, ChartView, Figure, LegendEntry, line_kind
from radapt.reports.charts.scale import Scale
from radapt.reports.classification_curves import (
    ClassificationPredictions,
    ReliabilityBins,
    RocLine,
    reliability,
    roc_lines,
)
from radapt.reports.leaderboard import placed, split_title

MOST_RELIABILITIES = 4
"""Methods with a reliability diagram per test set, best first."""

_QUARTERS = tuple((value, f"{value:g}") for value in (0.0, 0.25, 0.5, 0.75, 1.0))
_HALVES = tuple((value, f"{value:g}") for value in (0.0, 0.5, 1.0))
_SMALL_PX = 240

PredictionSets = Mapping[str, tuple[ClassificationPredictions, ...]]
"""The predictions of the best methods, by test set."""


def roc_figures(sets: PredictionSets) -> tuple[Figure, ...]:
    """Per test set, a view for all classes of each method, and one for each class of all methods."""
    figures = []
    for split, models in sets.items():
        lines = {model.title: own for model in models if (own := roc_lines(model))}
        if not lines:
            continue
        classes = list(dict.fromkeys(line.name for own in lines.values() for line in own))
        views = [
            ChartView(name, (_roc(split, name, [(line.name, line) for line in own]),), "All classes of")
            for name, own in lines.items()
            if len(classes) > 1
        ]
        views += [
            ChartView(of_class, (_roc(split, of_class, _of_class(lines, of_class)),), "Compare all on")
            for of_class in classes
        ]
        figures.append(Figure("roc", "menu", tuple(views), title=split_title(split)))
    return tuple(figures)


def _of_class(lines: Mapping[str, Sequence[RocLine]], name: str) -> list[tuple[str, RocLine]]:
    return [(method, line) for method, own in lines.items() for line in own if line.name == name]


def _roc(split: str, title: str, lines: Sequence[tuple[str, RocLine]]) -> Chart:
    drawing, frame = _square(WIDTH)
    frame.draw(drawing, _QUARTERS, _QUARTERS, "1 − specificity", "Sensitivity")
    drawing.line(frame.x(0), frame.y(0), frame.x(1), frame.y(1), "chance")
    legend = []
    for index, (name, line) in enumerate(lines):
        points = zip(map(frame.x, line.x), map(frame.y, line.y), strict=True)
        drawing.path(points, f"line {line_kind(index)}")
        counts = f"{line.positive} with, {line.negative} without"
        legend.append(LegendEntry(f"{name} ({counts})", line_kind(index)))
    return Chart("", drawing.svg(f"ROC curves {placed(split)}: {title}"), tuple(legend))


def reliability_figures(sets: PredictionSets) -> tuple[Figure, ...]:
    """Per test set, a small diagram for each of the best methods."""
    figures = []
    for split, models in sets.items():
        bins = [(model, own) for model in models[:MOST_RELIABILITIES] if (own := reliability(model)) is not None]
        if bins:
            view = ChartView("", tuple(_reliability(split, model.title, own) for model, own in bins))
            figures.append(Figure("reliability", "menu", (view,), title=split_title(split)))
    return tuple(figures)


def _reliability(split: str, name: str, bins: ReliabilityBins) -> Chart:
    drawing, frame = _square(_SMALL_PX)
    frame.draw(drawing, _HALVES, _HALVES, "Predicted probability", "Observed frequency")
    drawing.line(frame.x(0), frame.y(0), frame.x(1), frame.y(1), "chance")
    points = [(frame.x(stated), frame.y(observed)) for stated, observed in zip(bins.stated, bins.observed, strict=True)]
    drawing.path(points, "thin t0")
    most = max(bins.cases)
    for (x, y), stated, observed, cases in zip(points, bins.stated, bins.observed, bins.cases, strict=True):
        tip = f"predicted {stated:.2f}, observed {observed:.2f}\n{cases} case{'s' * (cases != 1)}"
        drawing.mark(tip, 0, [target(x, y, 14, 14), dot(x, y, 2.5 + 5 * (cases / most) ** 0.5)])
    return Chart(name, drawing.svg(f"Reliability of {name} {placed(split)}"))


def _square(width: float) -> tuple[Drawing, Frame]:
    left, right, top, below = 42, 14, 26, 42
    side = width - left - right
    drawing = Drawing(top + side + below, width)
    return drawing, Frame(Scale(0, 1, left, left + side), Scale(0, 1, top + side, top))
