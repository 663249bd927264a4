"""What a chapter says of one aim, classification or segmentation: boards, curves, costs, ready for the template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from radapt.reports.adaptations import Adaptation, adaptations
from radapt.reports.bars import Axis, axis_for
from radapt.reports.charts import forest, reliabilities, rocs
from radapt.reports.costs import Cost, cost_chart, costs
from radapt.reports.curves import Judged, decisions, judged
from radapt.reports.headline import Headline, headline
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.learning import CurveSet, curve_charts, curve_sets
from radapt.reports.methods import Method
from radapt.reports.numbers import defined
from radapt.reports.run_folder import Cell, Run
from radapt.reports.segmented import Segmented, segmented, strips
from radapt.reports.subset_views import SubsetView, subset_views


@dataclass(frozen=True)
class MetricTable:
    """The leaderboard of one metric: rows best first, bars on one axis."""

    metric: str
    rows: tuple[LeaderboardRow, ...]
    axis: Axis | None
    leading: bool


@dataclass(frozen=True)
class ClassTable:
    """One metric for each class or finding: a row per contestant that has any, in the leaderboard's order."""

    family: str
    classes: tuple[str, ...]
    rows: tuple[tuple[Method, tuple[LeaderboardRow, ...]], ...]
    leading: bool


@dataclass(frozen=True)
class BoardView:
    """A test set: its leaderboards and its tables of classes."""

    board: Leaderboard
    tables: tuple[MetricTable, ...]
    class_tables: tuple[ClassTable, ...]
    headline: Headline


@dataclass(frozen=True)
class Part:
    """All that a chapter says of one aim. `title` heads it, empty where the chapter has one aim only."""

    id: str
    aim: str
    title: str
    primary: str | None
    boards: tuple[BoardView, ...]  # test sets
    chosen_on: tuple[BoardView, ...]  # train and val
    curves: Mapping[str, tuple[Judged, ...]] = field(default_factory=dict)
    cases: Mapping[str, tuple[Segmented, ...]] = field(default_factory=dict)
    learning: tuple[CurveSet, ...] = ()
    subsets: tuple[SubsetView, ...] = ()
    adaptations: tuple[tuple[Method, Cell, Adaptation], ...] = ()
    costs: tuple[Cost, ...] = ()
    charts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def drawn(self) -> list[Segmented]:
        """The models with pictures of what they drew on the first test set."""
        return [one for one in next(iter(self.cases.values()), ()) if one.cell.overlays]

    @property
    def confusions(self) -> list[tuple[str, list[tuple[Judged, Any]]]]:
        """Per test set, the models that have a confusion matrix."""
        found = [
            (split, [(one, one.matrix) for one in models if one.matrix is not None])
            for split, models in self.curves.items()
        ]
        return [(split, models) for split, models in found if models]

    @property
    def decided(self) -> list[tuple[str, list[tuple[Judged, list[dict[str, Any]]]]]]:
        """Per test set, the models that decide on findings, with their calls."""
        found = [
            (split, [(one, decisions(one)) for one in models if one.multilabel])
            for split, models in self.curves.items()
        ]
        return [(split, models) for split, models in found if models]


def part(run: Run, id_: str, title: str, boards: Sequence[Leaderboard], known: Sequence[Method]) -> Part:
    """The part of one aim: its `boards`, one at least, and the contestants `known` of that aim and cohort."""
    tests = [board for board in boards if not board.choosing]
    primary = next((board.primary for board in tests if board.primary), None)
    segments = boards[0].aim == "segmentation"
    curves = {} if segments else {board.split: judged(run, board) for board in tests}
    cases = {board.split: segmented(board) for board in tests} if segments else {}
    learning = curve_sets(run, known, primary)
    spent = costs(run, known, tests)
    axes = {
        metric: axis_for(metric, (standing for board in boards for standing in board.metrics.get(metric, ())))
        for metric in dict.fromkeys(metric for board in boards for metric in board.metrics)
    }
    return Part(
        id=id_,
        aim=boards[0].aim,
        title=title,
        primary=primary,
        boards=tuple(_view(board, axes) for board in tests),
        chosen_on=tuple(_view(board, axes) for board in boards if board.choosing),
        curves={split: models for split, models in curves.items() if models},
        cases={split: models for split, models in cases.items() if models},
        learning=learning,
        subsets=() if segments else subset_views(known),
        adaptations=adaptations(known),
        costs=spent,
        charts={
            "id": id_,
            "primary": primary,
            "forest": forest(tests),
            "roc": rocs(curves),
            "reliability": reliabilities(curves),
            "strip": strips(cases),
            "learning": curve_charts(learning),
            "cost": cost_chart(spent, tests),
        },
    )


def _view(board: Leaderboard, axes: Mapping[str, Axis | None]) -> BoardView:
    tables = tuple(_table(board, metric, axes[metric]) for metric in board.metrics)
    classes = tuple(_class_table(board, family) for family in board.by_class)
    return BoardView(board, tables, classes, headline(board))


def _table(board: Leaderboard, metric: str, axis: Axis | None) -> MetricTable:
    rows = board.metrics[metric]
    drawn = any(defined(standing.value) for standing in rows)
    return MetricTable(metric, rows, axis if drawn else None, metric == board.primary)


def _class_table(board: Leaderboard, family: str) -> ClassTable:
    classes = board.by_class[family]
    leaders = board.metrics.get(family) or next(iter(classes.values()))
    of_class = [{standing.contestant.key: standing for standing in found} for found in classes.values()]
    rows = [
        (leader.contestant, tuple(by_key[leader.contestant.key] for by_key in of_class))
        for leader in leaders
        if any(by_key[leader.contestant.key].done for by_key in of_class)
    ]
    return ClassTable(family, tuple(classes), tuple(rows), family == board.primary)
