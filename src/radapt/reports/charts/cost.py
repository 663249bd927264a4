"""A metric against the share of the model's parameters that was trained, one chart per test set and metric."""

from collections.abc import Sequence

from radapt.reports.charts.drawing import FONT_PX, WIDTH, Drawing, Frame, dot, fitted, target, text_px, whisker
from radapt.reports.charts.figure import Chart, ChartView, Figure, LegendEntry
from radapt.reports.charts.scale import Scale, around, finite, log_ticks, ticks
from radapt.reports.costs import MethodCost
from radapt.reports.formatting import interval, shown
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.metric_info import MetricInfo, metric_of

_HEIGHT_PX, _TOP_PX, _BELOW_PX, _LEFT_PX = 300, 28, 42, 46

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def cost_figure(costs: Sequence[MethodCost], boards: Sequence[Leaderboard], tones: Sequence[str]) -> Figure | None:
    """A view per metric, which holds a chart per test set; None where no trained share is measured.

    A model without trained parameters is left out, because the axis is logarithmic. `tones` orders the backbones'
    colours.
    """
    trained = [cost for cost in costs if cost.trained_share > 0]
    views = []
    for metric in dict.fromkeys(metric for board in boards for metric in board.metrics):
        charts = tuple(
            _chart(board.title, metric_of(metric), placed, tones)
            for board in boards
            if (placed := _scored(trained, board, metric))
        )
        if charts:
            views.append(ChartView(metric, charts))
    return Figure("cost", "metric", tuple(views), boards[0].primary or "") if views else None


def _scored(costs: Sequence[MethodCost], board: Leaderboard, metric: str) -> list[tuple[MethodCost, LeaderboardRow]]:
    rows = {row.method.key: row for row in board.metrics.get(metric, ())}
    pairs = [(cost, rows[cost.method.key]) for cost in costs if cost.method.key in rows]
    return [(cost, row) for cost, row in pairs if finite(row.value)]


def _chart(
    split: str, metric: MetricInfo, placed: Sequence[tuple[MethodCost, LeaderboardRow]], tones: Sequence[str]
) -> Chart:
    shares = [100 * cost.trained_share for cost, _ in placed]
    x = Scale(
        min(shares) / 1.6, max(100.0 if max(shares) > 50 else 0.0, max(shares)) * 1.6, _LEFT_PX, WIDTH - 12, log=True
    )
    low, high = around([end for _, row in placed for end in (row.value, row.ci_low, row.ci_high)])
    y = Scale(low, high, _HEIGHT_PX - _BELOW_PX, _TOP_PX)
    drawing = Drawing(_HEIGHT_PX)
    title = "Share of the parameters that was trained (%)"
    Frame(x, y).draw(drawing, log_ticks(x.low, x.high), ticks(low, high), title, metric.title)
    taken: list[Box] = []
    for cost, row in placed:
        at, up = x(100 * cost.trained_share), y(row.value)
        shapes = [target(at, up, 16, 16)]
        if finite(row.ci_low) and finite(row.ci_high):
            shapes.append(whisker(at, y(row.ci_low), at, y(row.ci_high)))
            taken.append((at - 1, y(row.ci_high), at + 1, y(row.ci_low)))
        drawing.mark(_tip(cost, row, metric), _tone(tones, cost), [*shapes, dot(at, up, 4.5)])
        taken.append((at - 5, up - 5, at + 5, up + 5))
    for cost, row in placed:
        _label(drawing, cost.method.protocol_and_size, x(100 * cost.trained_share), y(row.value), taken)
    backbones = dict.fromkeys(cost.method.backbone for cost, _ in placed)
    legend = tuple(LegendEntry(name, f"t{(tones.index(name) if name in tones else 0) % 8}") for name in backbones)
    return Chart(split, drawing.svg(f"{metric.title} against the trained share on {split}"), legend)


def _label(drawing: Drawing, name: str, x: float, y: float, taken: list[Box]) -> None:
    """The name beside the dot, where it covers no other label and no dot; else none: pointing at the dot says it."""
    name = fitted(name, 120)
    width = text_px(name)
    for left, base in ((x + 8, y + 4), (x - 8 - width, y + 4), (x + 6, y - 8), (x + 6, y + 18), (x - 6 - width, y - 8)):
        box = left, base - FONT_PX, left + width, base + 3
        if (
            left >= _LEFT_PX
            and box[2] <= drawing.width
            and _is_free(box, taken)
            and _TOP_PX < base < _HEIGHT_PX - _BELOW_PX
        ):
            taken.append(box)
            drawing.text(left, base, name, kind="label")
            return


def _is_free(box: Box, taken: Sequence[Box]) -> bool:
    left, top, right, bottom = box
    return all(right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top for other in taken)


def _tip(cost: MethodCost, row: LeaderboardRow, metric: MetricInfo) -> str:
    words = f"{cost.trained} trained ({cost.share}), {cost.memory}, {cost.time}"
    ends = f" (95 % CI {interval(row.ci_low, row.ci_high, metric.digits)})" if finite(row.ci_low) else ""
    return f"{cost.method.name}\n{words}\n{metric.title} {shown(row.value, metric.digits)}{ends}"


def _tone(tones: Sequence[str], cost: MethodCost) -> int:
    return tones.index(cost.method.backbone) if cost.method.backbone in tones else 0
