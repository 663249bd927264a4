"""Every run with its interval, one panel per test set, one chart per metric."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from radapt.reports.cell_scores import CellScore
from radapt.reports.charts.drawing import WIDTH, Drawing, Frame, dot, fitted, target, whisker
from radapt.reports.charts.figure import Chart, ChartView, Figure
from radapt.reports.charts.scale import Scale, around, finite, ticks
from radapt.reports.formatting import defined, interval, shown
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.methods import Method
from radapt.reports.metric_info import MetricInfo, metric_of

_NAME_PX, _RUN_PX, _GAP_PX, _BELOW_PX = 18, 9, 8, 42


def forest_figure(boards: Sequence[Leaderboard], tones: Sequence[str], primary: str | None) -> Figure | None:
    """The runs of every metric; None where a bar of the leaderboard says the same: one run each, on one test set.

    The methods stand in the order of the first test set. `tones` are the backbones in the order of their colours.
    """
    boards = [board for board in boards if any(row.done for rows in board.metrics.values() for row in rows)]
    rows = [row for board in boards for row in board.metrics.get(board.primary or "", ())]
    if len(boards) < 2 and all(len(row.scores) < 2 for row in rows):
        return None
    order = {key: index for index, key in enumerate(dict.fromkeys(row.method.key for row in rows))}
    views = []
    for metric in dict.fromkeys(metric for board in boards for metric in board.metrics):
        charts = _charts(metric_of(metric), boards, order, tones)
        if charts:
            views.append(ChartView(metric, charts))
    return Figure("forest", "metric", tuple(views), primary or "") if views else None


def _charts(
    metric: MetricInfo, boards: Iterable[Leaderboard], order: dict[str, int], tones: Sequence[str]
) -> tuple[Chart, ...]:
    panels = []
    for board in boards:
        rows = [row for row in board.metrics.get(metric.name, ()) if any(defined(one.value) for one in row.scores)]
        if rows:
            panels.append((board, sorted(rows, key=lambda row: order.get(row.method.key, len(order)))))
    ends = [
        end for _, rows in panels for row in rows for one in row.scores for end in (one.value, one.ci_low, one.ci_high)
    ]
    low, high = around([*ends, metric.chance])
    return tuple(
        Chart(board.title, _panel(metric, board.title, rows, Scale(low, high, 10, WIDTH - 14), tones))
        for board, rows in panels
    )


def _panel(metric: MetricInfo, title: str, rows: Sequence[LeaderboardRow], x: Scale, tones: Sequence[str]) -> Markup:
    heights = [_NAME_PX + _RUN_PX * len(_scored(row)) + _GAP_PX for row in rows]
    drawing = Drawing(sum(heights) + 4 + _BELOW_PX)
    frame = Frame(x, Scale(0, 1, sum(heights) + 4, 0))
    frame.draw(drawing, ticks(x.low, x.high, 6), x_title=metric.title)
    if metric.chance is not None:
        drawing.line(x(metric.chance), 0, x(metric.chance), frame.y.start, "chance")
    top = 0.0
    for row, height in zip(rows, heights, strict=True):
        drawing.text(x.start - 8, top + 13, fitted(row.method.name, WIDTH - 4), kind="name")
        for index, one in enumerate(_scored(row)):
            y = top + _NAME_PX + _RUN_PX * (index + 0.5)
            _run(drawing, row.method, one, metric, x, y, _tone(tones, row.method.backbone))
        top += height
    return drawing.svg(f"{metric.title} of every run on {title}, with 95 % intervals")


def _run(drawing: Drawing, method: Method, one: CellScore, metric: MetricInfo, x: Scale, y: float, tone: int) -> None:
    shapes = [target(x(one.value), y, 30, _RUN_PX)]
    if finite(one.ci_low) and finite(one.ci_high):
        shapes.append(whisker(x(one.ci_low), y, x(one.ci_high), y))
    shapes.append(dot(x(one.value), y, 3.5))
    drawing.mark(_tip(method, one, metric), tone, shapes)


def _tip(method: Method, one: CellScore, metric: MetricInfo) -> str:
    numbers = (("seed", one.seed), ("repeat", one.repeat))
    names = ", ".join(f"{name} {number}" for name, number in numbers if number is not None)
    value = f"{metric.title} {shown(one.value, metric.digits)}"
    if finite(one.ci_low) and finite(one.ci_high):
        value += f" (95 % CI {interval(one.ci_low, one.ci_high, metric.digits)})"
    return "\n".join(filter(None, (method.name, names, value)))


def _scored(row: LeaderboardRow) -> list[CellScore]:
    return [one for one in row.scores if defined(one.value)]


def _tone(tones: Sequence[str], backbone: str) -> int:
    return tones.index(backbone) if backbone in tones else 0
