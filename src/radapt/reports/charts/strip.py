"""The Dice of every case, one row per structure of a model or per model of a structure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radapt.reports.cell_scores import CellScore
from radapt.reports.charts.drawing import Drawing, Frame, dot, fitted, target, whisker
from radapt.reports.charts.figure import Chart, ChartView, Figure
from radapt.reports.charts.scale import Scale, finite
from radapt.reports.formatting import shown
from radapt.reports.leaderboard import placed, split_title
from radapt.reports.segmentation_cases import OUTCOMES, SegmentationPredictions

MOST_POINTS = 300
"""Points per row; of more cases, the worst fill one half and evenly spaced others the second half."""

NAMED = 12
"""The worst cases of a row, which say their name when they are pointed at."""

_ROW_PX, _BELOW_PX, _SPREAD_PX = 100, 42, 34
_SHAPES = {"both": "dots", "missed": "crosses", "false_alarm": "triangles"}
_TENTHS = tuple((value / 10, f"{value / 10:g}") for value in range(0, 11, 2))


@dataclass(frozen=True, eq=False)
class StripRow:
    """The scored cases of one structure and model, worst first, and their mean. `cut` cases are not drawn."""

    name: str
    cases: pd.DataFrame
    mean: CellScore | None
    cut: int


def strip_row(model: SegmentationPredictions, label: str, name: str) -> StripRow:
    """The row of a structure, with at most `MOST_POINTS` cases."""
    scored = model.table[model.table["outcome"].isin(OUTCOMES) & (model.table["label"].astype(str) == label)]
    cases = scored.sort_values(["dice", "case"], kind="stable")
    drawn = cases.iloc[_drawn(len(cases))]
    return StripRow(
        name, drawn, model.score(model.board.by_class.get("dice", {}).get(label, ())), len(cases) - len(drawn)
    )


def strip_figures(sets: Mapping[str, tuple[SegmentationPredictions, ...]]) -> tuple[Figure, ...]:
    """Per test set, a view for all structures of each model, and one for each structure of all models."""
    figures = []
    for split, models in sets.items():
        labels = list(dict.fromkeys(label for model in models for label in model.labels))
        views = [
            ChartView(
                model.title, (_chart(split, model.title, [strip_row(model, label, label) for label in labels]),),
                "All structures of",
            )
            for model in models
        ]  # fmt: skip
        if len(models) > 1:
            views += [
                ChartView(
                    label, (_chart(split, label, [strip_row(model, label, model.title) for model in models]),),
                    "Compare all on",
                )
                for label in labels
            ]  # fmt: skip
        if views:
            figures.append(Figure("strip", "menu", tuple(views), title=split_title(split)))
    return tuple(figures)


def _chart(split: str, title: str, rows: Sequence[StripRow]) -> Chart:
    drawing = Drawing(len(rows) * _ROW_PX + _BELOW_PX)
    x = Scale(-0.02, 1.02, 10, drawing.width - 10)
    Frame(x, Scale(0, 1, len(rows) * _ROW_PX, 0)).draw(drawing, _TENTHS, x_title="Dice")
    for index, row in enumerate(rows):
        _row(drawing, row, index, x)
    return Chart("", drawing.svg(f"Dice of every case {placed(split)}: {title}"))


def _row(drawing: Drawing, row: StripRow, index: int, x: Scale) -> None:
    top = index * _ROW_PX
    worst = ", ".join(row.cases["case"].astype(str).head(3))
    drawing.text(2, top + 13, fitted(row.name, drawing.width - 4), kind="name")
    if worst:
        drawing.text(2, top + 29, fitted(f"lowest: {worst}", drawing.width - 4))
    middle = top + 40 + _SPREAD_PX / 2
    ups = middle + _SPREAD_PX * (np.arange(len(row.cases)) * 0.618034 % 1 - 0.5)
    outcomes = row.cases["outcome"].to_numpy()
    dices = row.cases["dice"].to_numpy(dtype=float)
    for outcome, shape in _SHAPES.items():
        own = outcomes == outcome
        points = zip(map(x, dices[own]), ups[own], strict=True)
        drawing.glyphs(points, f"t{index % 8}" if outcome == "both" else "bad", shape)
    for (_, case), up in zip(row.cases.head(NAMED).iterrows(), ups, strict=False):
        drawing.mark(_tip(case, row.name), "target", [target(x(float(case["dice"])), float(up), 12, 12)])
    mean = row.mean
    if mean is not None and finite(mean.value):
        below = middle + _SPREAD_PX / 2 + 8
        bar = [whisker(x(mean.ci_low), below, x(mean.ci_high), below)] if finite(mean.ci_low) else []
        tip = f"{row.name}\nmean Dice {shown(mean.value)}"
        drawing.mark(tip, "ink", [target(x(mean.value), below, 20, 12), *bar, dot(x(mean.value), below, 4)])


def _tip(case: pd.Series, name: str) -> str:
    outcome = "" if case["outcome"] == "both" else f"{case['outcome'].replace('_', ' ')}, "
    volumes = f"{shown(case['volume_truth_ml'], 2)} ml true, {shown(case['volume_predicted_ml'], 2)} ml predicted"
    return f"{case['case']}\n{name}\n{outcome}Dice {shown(case['dice'])}, {volumes}"


def _drawn(count: int) -> np.ndarray:
    """Indices of the cases to draw, worst first."""
    if count <= MOST_POINTS:
        return np.arange(count)
    worst = MOST_POINTS // 2
    return np.concatenate([np.arange(worst), np.linspace(worst, count - 1, MOST_POINTS - worst).round().astype(int)])
