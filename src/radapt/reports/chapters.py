"""One chapter of the report per cohort: its answers, boards, curves, pictures and facts, ready for the template."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from radapt.reports import cohort_facts
from radapt.reports.bars import Axis, axis_for
from radapt.reports.charts import forest, reliabilities, rocs
from radapt.reports.cohort_facts import Grid
from radapt.reports.curves import Judged, decisions, judged
from radapt.reports.headline import Headline, headline
from radapt.reports.numbers import defined
from radapt.reports.run_folder import Cell, Facts, Picture, Run
from radapt.reports.standings import Board, Contestant, Standing


@dataclass(frozen=True)
class MetricTable:
    """The leaderboard of one metric: rows best first, bars on one axis."""

    metric: str
    rows: tuple[Standing, ...]
    axis: Axis | None
    leading: bool


@dataclass(frozen=True)
class ClassTable:
    """One metric for each class or finding: a row per contestant that has any, in the leaderboard's order."""

    family: str
    classes: tuple[str, ...]
    rows: tuple[tuple[Contestant, tuple[Standing, ...]], ...]
    leading: bool


@dataclass(frozen=True)
class BoardView:
    """A test set: its leaderboards and its tables of classes."""

    board: Board
    tables: tuple[MetricTable, ...]
    class_tables: tuple[ClassTable, ...]
    headline: Headline


@dataclass(frozen=True)
class Slice:
    """An example slice with one patch picture per backbone."""

    case: str
    modality: str
    slice: int | None
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Chapter:
    """All the report says of one cohort."""

    id: str
    name: str
    facts: Facts
    primary: str | None
    boards: tuple[BoardView, ...]  # test sets
    chosen_on: tuple[BoardView, ...]  # train and val
    cells: tuple[Cell, ...]
    curves: dict[str, tuple[Judged, ...]] = field(default_factory=dict)
    slices: tuple[Slice, ...] = ()
    charts: dict[str, Any] = field(default_factory=dict)
    words: list[tuple[str, str]] = field(default_factory=list)
    people: Grid | None = None
    missing: Grid | None = None
    patterns: Grid | None = None
    sites: Grid | None = None

    @property
    def synthetic(self) -> bool:
        return cohort_facts.is_synthetic(self.facts)

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


def chapter(run: Run, name: str, index: int, boards: list[Board], known: Iterable[Contestant]) -> Chapter:
    """The chapter of the cohort `name`."""
    facts = run.cohorts.get(name) or {}
    tests = [board for board in boards if not board.choosing]
    curves = {board.split: models for board in tests if (models := judged(run, board))}
    axes = {
        metric: axis_for(metric, (standing for board in boards for standing in board.metrics.get(metric, ())))
        for metric in dict.fromkeys(metric for board in boards for metric in board.metrics)
    }
    id_ = f"cohort-{index + 1}"
    return Chapter(
        id=id_,
        name=name,
        facts=facts,
        primary=next((board.primary for board in tests if board.primary), None),
        boards=tuple(_view(board, axes) for board in tests),
        chosen_on=tuple(_view(board, axes) for board in boards if board.choosing),
        cells=tuple(cell for one in known if one.cohort == name for cell in one.cells),
        curves=curves,
        slices=_slices(run, name),
        charts={
            "id": id_,
            "forest": forest(tests),
            "roc": rocs(curves),
            "reliability": reliabilities(curves),
        },
        words=cohort_facts.words(facts),
        people=cohort_facts.people(facts) if facts.get("splits") else None,
        missing=cohort_facts.missing(facts) if facts.get("splits") else None,
        patterns=cohort_facts.patterns(run, facts),
        sites=cohort_facts.sites(run, facts),
    )


def _view(board: Board, axes: Mapping[str, Axis | None]) -> BoardView:
    tables = tuple(_table(board, metric, axes[metric]) for metric in board.metrics)
    classes = tuple(_class_table(board, family) for family in board.by_class)
    return BoardView(board, tables, classes, headline(board))


def _table(board: Board, metric: str, axis: Axis | None) -> MetricTable:
    rows = board.metrics[metric]
    drawn = any(defined(standing.value) for standing in rows)
    return MetricTable(metric, rows, axis if drawn else None, metric == board.primary)


def _class_table(board: Board, family: str) -> ClassTable:
    classes = board.by_class[family]
    leaders = board.metrics.get(family) or next(iter(classes.values()))
    of_class = [{standing.contestant.key: standing for standing in found} for found in classes.values()]
    rows = [
        (leader.contestant, tuple(by_key[leader.contestant.key] for by_key in of_class))
        for leader in leaders
        if any(by_key[leader.contestant.key].done for by_key in of_class)
    ]
    return ClassTable(family, tuple(classes), tuple(rows), family == board.primary)


def _slices(run: Run, cohort: str) -> tuple[Slice, ...]:
    groups: dict[tuple[str, str, int | None], list[Picture]] = {}
    for picture in run.pictures:
        if picture.cohort == cohort:
            groups.setdefault((picture.case, picture.modality, picture.slice), []).append(picture)
    return tuple(Slice(*key, tuple(pictures)) for key, pictures in groups.items())
