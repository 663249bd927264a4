"""Mean ranks of the methods over cohorts, with bars beside those without a clear difference (a critical-difference
diagram, turned so that names of any length fit)."""

from collections.abc import Sequence

from markupsafe import Markup

from radapt.reports.charts.drawing import WIDTH, Drawing, Frame, dot, fitted, target
from radapt.reports.charts.figure import Chart, ChartView, Figure
from radapt.reports.charts.scale import Scale, ticks
from radapt.reports.formatting import shown
from radapt.reports.metric_info import metric_of
from radapt.reports.over_cohorts import MetricOverCohorts

_NAME_PX, _DOT_PX, _BELOW_PX, _BAR_PX, _BARS_PX = 18, 18, 42, 10, 90


def rank_figure(views: Sequence[MetricOverCohorts], leading: str | None) -> Figure | None:
    """A diagram per metric; None without any."""
    charts = tuple(ChartView(view.metric, (rank_chart(view),)) for view in views)
    return Figure("ranks", "metric", charts, leading or "") if charts else None


def rank_chart(view: MetricOverCohorts) -> Chart:
    """The diagram of one metric."""
    return Chart("", _diagram(view))


def _diagram(view: MetricOverCohorts) -> Markup:
    methods, bars = view.ranked, view.found.cliques
    row = _NAME_PX + _DOT_PX
    apart = min(_BAR_PX, _BARS_PX / max(len(bars), 1))
    drawing = Drawing(row * len(methods) + _BELOW_PX)
    x = Scale(1, len(methods), 12, WIDTH - 20 - apart * len(bars))
    frame = Frame(x, Scale(0, 1, row * len(methods), 0))
    title = f"Mean rank in {view.title}, 1 is the best"
    frame.draw(drawing, [tick for tick in ticks(1, len(methods), 6) if tick[0] >= 1], x_title=title)
    for index, (name, rank, value) in enumerate(methods):
        top = row * index
        drawing.text(4, top + 13, fitted(name, x.end), kind="name")
        shapes = [target(x(rank), top + 25, 30, _DOT_PX), dot(x(rank), top + 25)]
        mean = f"mean {view.title} {shown(value, metric_of(view.metric).digits)}"
        drawing.mark(f"{name}\nmean rank {shown(rank, 2)}, {mean}", 0, shapes)
    place = {method: index for index, method in enumerate(view.found.order)}
    for number, clique in enumerate(bars):
        at, first, last = x.end + 16 + apart * number, row * place[clique[0]], row * (place[clique[-1]] + 1)
        drawing.path([(at, first + 6), (at, last - 6)], "line ink")
    return drawing.svg(f"{title}, over {len(view.cohorts)} cohorts; bars join methods without a clear difference")
