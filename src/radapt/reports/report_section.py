"""The section on one aim, classification or segmentation, of a cohort: its tables and plots for the template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from radapt.reports.answers import BoardAnswers, answers_of
from radapt.reports.bar_axis import BarAxis, axis_for
from radapt.reports.board_comparisons import BoardComparisons
from radapt.reports.case_browser.browser import CaseBrowser, case_browser
from radapt.reports.charts.cost import cost_figure
from radapt.reports.charts.figure import Figure
from radapt.reports.charts.forest import forest_figure
from radapt.reports.charts.learning import learning_figure
from radapt.reports.charts.probabilities import reliability_figures, roc_figures
from radapt.reports.charts.strip import strip_figures
from radapt.reports.classification_curves import ClassificationPredictions, best_predictions, decisions
from radapt.reports.comparison_matrix import ComparisonMatrix, comparison_matrix
from radapt.reports.costs import MethodCost, method_costs
from radapt.reports.formatting import defined
from radapt.reports.groups.scores import GroupView, group_view
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.learning_curves import LearningCurveSet, learning_curve_sets
from radapt.reports.methods import Method
from radapt.reports.run_folder import CellRecord, Run
from radapt.reports.segmentation_cases import SegmentationPredictions, best_segmentations
from radapt.reports.subsets.views import SubsetView, subset_views
from radapt.reports.training_history import TrainingHistory, training_histories


@dataclass(frozen=True)
class MetricTable:
    """The leaderboard of one metric: rows best first, controls and other tools beside them, bars on one axis."""

    metric: str
    rows: tuple[LeaderboardRow, ...]
    axis: BarAxis | None
    leading: bool
    controls: tuple[LeaderboardRow, ...] = ()
    foreign: tuple[LeaderboardRow, ...] = ()


@dataclass(frozen=True)
class ClassTable:
    """One metric for each class, finding or structure: a row per method, in the leaderboard's order."""

    family: str
    classes: tuple[str, ...]
    rows: tuple[tuple[Method, tuple[LeaderboardRow, ...]], ...]
    leading: bool


@dataclass(frozen=True)
class LeaderboardView:
    """A test set: its leaderboards and its tables by class."""

    board: Leaderboard
    tables: tuple[MetricTable, ...]
    class_tables: tuple[ClassTable, ...]
    answers: Mapping[str, BoardAnswers] = field(default_factory=dict)  # by metric, of test sets
    comparisons: BoardComparisons | None = None

    @property
    def leading(self) -> BoardAnswers | None:
        """The answers in the leading metric."""
        return next(iter(self.answers.values()), None)

    @property
    def matrix(self) -> ComparisonMatrix | None:
        """Every pair of methods in the leading metric."""
        return None if self.comparisons is None else comparison_matrix(self.comparisons)


@dataclass(frozen=True)
class ReportSection:
    """The section on one aim. `title` is empty if the cohort has one aim only."""

    id: str
    aim: str
    title: str
    primary: str | None
    test_sets: tuple[LeaderboardView, ...]
    selection_splits: tuple[LeaderboardView, ...]  # train and val
    parts: tuple[LeaderboardView, ...] = ()  # single folds and hospitals of a test set
    classifications: Mapping[str, tuple[ClassificationPredictions, ...]] = field(default_factory=dict)
    segmentations: Mapping[str, tuple[SegmentationPredictions, ...]] = field(default_factory=dict)
    learning: tuple[LearningCurveSet, ...] = ()
    groups: tuple[GroupView, ...] = ()
    subsets: tuple[SubsetView, ...] = ()
    histories: tuple[tuple[Method, CellRecord, TrainingHistory], ...] = ()
    costs: tuple[MethodCost, ...] = ()
    browser: CaseBrowser | None = None
    images: bool = True
    charts: Mapping[str, tuple[Figure, ...]] = field(default_factory=dict)  # by kind

    @property
    def views(self) -> tuple[LeaderboardView, ...]:
        """Every leaderboard of the section."""
        return (*self.test_sets, *self.selection_splits, *self.parts)

    @property
    def with_overlays(self) -> list[SegmentationPredictions]:
        """The models that have overlays on the first test set; none in a page without images."""
        if not self.images:
            return []
        return [model for model in next(iter(self.segmentations.values()), ()) if model.cell.overlays]

    @property
    def confusions(self) -> list[tuple[str, list[tuple[ClassificationPredictions, Any]]]]:
        """Per test set, the models that have a confusion matrix, with it."""
        sets = [
            (split, [(model, model.matrix) for model in models if model.matrix is not None])
            for split, models in self.classifications.items()
        ]
        return [(split, models) for split, models in sets if models]

    @property
    def decisions(self) -> list[tuple[str, list[tuple[ClassificationPredictions, list[dict[str, Any]]]]]]:
        """Per test set, the models that decide on findings, with their decisions."""
        sets = [
            (split, [(model, decisions(model)) for model in models if model.multilabel])
            for split, models in self.classifications.items()
        ]
        return [(split, models) for split, models in sets if models]


def report_section(
    run: Run, id_: str, title: str, boards: Sequence[Leaderboard], methods: Sequence[Method]
) -> ReportSection:
    """The section of the leaderboards `boards`, at least one, and `methods` of one cohort and aim."""
    tests = [board for board in boards if not (board.is_selection_split or board.is_part)]
    primary = next((board.primary for board in tests if board.primary), None)
    tones = sorted({cell.backbone for cell in run.cells if not cell.control})
    segments = boards[0].aim == "segmentation"
    classifications = {} if segments else {board.split: best_predictions(run, board) for board in tests}
    segmentations = {board.split: best_segmentations(board) for board in tests} if segments else {}
    learning = learning_curve_sets(run, methods, primary)
    costs = method_costs(run, methods, tests)
    axes = {
        metric: axis_for(metric, (row for board in boards for row in board.rows_of(metric)))
        for metric in dict.fromkeys(metric for board in boards for metric in board.metrics)
    }
    return ReportSection(
        id=id_,
        aim=boards[0].aim,
        title=title,
        primary=primary,
        test_sets=tuple(_test_set(board, axes, boards) for board in tests),
        selection_splits=tuple(_view(board, axes) for board in boards if board.is_selection_split),
        parts=tuple(_view(board, axes) for board in boards if board.is_part),
        classifications={split: models for split, models in classifications.items() if models},
        segmentations={split: models for split, models in segmentations.items() if models},
        learning=learning,
        groups=tuple(view for board in tests if (view := group_view(run, board, boards)) is not None),
        subsets=tuple(sorted(subset_views(methods), key=lambda view: view.metric.name != primary)),
        histories=training_histories(methods),
        costs=costs,
        browser=case_browser(run.path, [*(segmentations if segments else classifications).items()], run.images),
        images=run.images,
        charts={
            "forest": _one(forest_figure(tests, tones, primary)),
            "roc": roc_figures(classifications),
            "reliability": reliability_figures(classifications),
            "strip": strip_figures(segmentations),
            "learning": _one(learning_figure(learning, tones)),
            "cost": _one(cost_figure(costs, tests, tones)),
        },
    )


def _one(figure: Figure | None) -> tuple[Figure, ...]:
    return () if figure is None else (figure,)


def _test_set(board: Leaderboard, axes: Mapping[str, BarAxis | None], boards: Sequence[Leaderboard]) -> LeaderboardView:
    answers, comparisons = answers_of(board, boards)
    return replace(_view(board, axes), answers=answers, comparisons=comparisons)


def _view(board: Leaderboard, axes: Mapping[str, BarAxis | None]) -> LeaderboardView:
    tables = tuple(_table(board, metric, axes[metric]) for metric in board.metrics)
    classes = tuple(_class_table(board, family) for family in board.by_class)
    return LeaderboardView(board, tables, classes)


def _table(board: Leaderboard, metric: str, axis: BarAxis | None) -> MetricTable:
    rows, controls = board.metrics[metric], board.controls.get(metric, ())
    drawn = any(defined(row.value) for row in board.rows_of(metric))
    foreign = tuple(row for row in board.foreign.get(metric, ()) if row.done)
    return MetricTable(metric, rows, axis if drawn else None, metric == board.primary, controls, foreign)


def _class_table(board: Leaderboard, family: str) -> ClassTable:
    classes = board.by_class[family]
    leaders = board.metrics.get(family) or next(iter(classes.values()))
    by_method = [{row.method.key: row for row in rows} for rows in classes.values()]
    rows = [
        (leader.method, tuple(row_of[leader.method.key] for row_of in by_method))
        for leader in leaders
        if any(row_of[leader.method.key].done for row_of in by_method)
    ]
    return ClassTable(family, tuple(classes), tuple(rows), family == board.primary)
