"""The chosen method of each test set in groups of the patients, and the gaps between them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radapt.metrics.subgroups import (
    ColumnScores,
    Gap,
    Groups,
    GroupScore,
    LabelMapParts,
    PredictionParts,
    ScoredParts,
    score_groups,
)
from radapt.reports.answers.choice import choose, row_of
from radapt.reports.bar_axis import BarAxis, axis_of
from radapt.reports.case_tables import are_of_same_cases, case_tables, class_or_finding_arrays
from radapt.reports.formatting import counted, defined, interval, shown
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.metric_info import metric_of
from radapt.reports.run_folder import Facts, Run, read_parquet

SUBGROUPS = "subgroups.parquet"
GROUPS = "groups.parquet"
COLUMNS = (
    "cohort", "split", "backbone", "protocol", "metric", "column", "group", "n_patients", "n_cases", "value", "ci_low",
    "ci_high", "calibration", "calibration_low", "calibration_high", "against", "difference", "difference_low",
    "difference_high", "p", "p_holm",
)  # fmt: skip
_ALPHA = 0.05
_RESAMPLES = 2000  # where the cells do not say how many their intervals have


@dataclass(frozen=True)
class GroupView:
    """The groups of the test set of `board`, by column, in `metric` of the method `row`.

    `undefined` names the columns whose groups have no score, such as those that repeat the label, and `single` those
    with one group here.
    """

    board: Leaderboard
    metric: str
    row: LeaderboardRow
    columns: tuple[ColumnScores, ...]
    undefined: tuple[str, ...]
    single: tuple[str, ...]
    axis: BarAxis | None

    def gap_of(self, column: ColumnScores, group: GroupScore) -> Gap | None:
        """The gap of a group to the other one or to all others, if it was tested."""
        return next((gap for gap in column.gaps if gap.group == group.name), None)

    @property
    def has_calibration(self) -> bool:
        return any(defined(group.calibration) for column in self.columns for group in column.groups)

    @property
    def n_tests(self) -> int:
        return sum(defined(gap.p) for column in self.columns for gap in column.gaps)

    @property
    def sentence(self) -> str:
        """The gaps that remain after the adjustment for all tests, or that there is none."""
        title = metric_of(self.metric).title
        clear = [(column, gap) for column in self.columns for gap in column.gaps if gap.holm < _ALPHA]
        if not self.n_tests:
            return "The groups have too few patients here to be compared."
        if not clear:
            tests = counted(self.n_tests, "gap")
            return f"No difference between groups is clear: {tests} tested, none with an adjusted p below 0.05."
        said = [
            f"{column.column}: {gap.group} {'lower' if gap.difference < 0 else 'higher'} than {gap.against} by "
            f"{shown(abs(gap.difference), 2)} (95 % CI of the difference {interval(gap.ci_low, gap.ci_high, 2)}, "
            f"p = {gap.holm:.2g})"
            for column, gap in clear
        ]
        return f"{title} differs between groups, p adjusted for {counted(self.n_tests, 'test')}. {'; '.join(said)}."


def group_view(run: Run, board: Leaderboard, boards: Sequence[Leaderboard]) -> GroupView | None:
    """The groups of the method that the first screen reports, in the leading metric; None without groups, a score or
    stored predictions. `boards` are those of the same cohort and aim."""
    metric = board.primary
    method = choose(board, next((other for other in boards if other.split == "val"), None)).method
    row = row_of(board, metric, method) if metric and method else None
    row = row if row is not None and defined(row.value) else None
    groups = _stored_groups(run, board.cohort_facts)
    if metric is None or row is None or groups is None or board.is_selection_split or board.is_part:
        return None
    tables = case_tables(board, row)
    if not tables or (board.aim == "classification" and not are_of_same_cases(tables)):
        return None
    sets = _sets(board, metric, tables)
    own = groups.reindex(_cases(board, tables[0]))
    columns = [_groups(str(name), own[name]) for name in groups.columns]
    resamples = int(row.method.cells[0].facts.get("resamples") or _RESAMPLES)
    rng = np.random.default_rng(0)
    scored = score_groups(sets, [one for one in columns if one.names], rng=rng, resamples=resamples)
    several = [one for one in scored if len(one.groups) > 1]
    single = tuple(one.column for one in scored if len(one.groups) == 1)
    shown_columns = tuple(one for one in several if any(defined(group.value) for group in one.groups))
    undefined = tuple(one.column for one in several if one not in shown_columns)
    ends = (
        end for column in shown_columns for group in column.groups for end in (group.value, group.ci_low, group.ci_high)
    )
    return GroupView(board, metric, row, shown_columns, undefined, single, axis_of(metric_of(metric), ends))


def group_rows(views: Sequence[GroupView]) -> pd.DataFrame:
    """The rows of `subgroups.parquet`: one per group; a group without a test of its own has no `difference`."""
    rows = [_row(view, column, group) for view in views for column in view.columns for group in column.groups]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(view: GroupView, column: ColumnScores, group: GroupScore) -> tuple[object, ...]:
    board, method, gap = view.board, view.row.method, view.gap_of(column, group)
    where = board.cohort, board.split, method.backbone, method.protocol_and_size, view.metric, column.column, group.name
    numbers = group.n_patients, group.n_cases, group.value, group.ci_low, group.ci_high
    calibration = group.calibration, group.calibration_low, group.calibration_high
    if gap is None:
        return *where, *numbers, *calibration, None, *[float("nan")] * 5
    return *where, *numbers, *calibration, gap.against, gap.difference, gap.ci_low, gap.ci_high, gap.p, gap.holm


def _stored_groups(run: Run, facts: Facts) -> pd.DataFrame | None:
    file = run.path / "cohorts" / str(facts.get("folder", "")) / GROUPS
    return read_parquet(file).set_index("case") if file.is_file() else None


def _groups(column: str, cells: pd.Series) -> Groups:
    """The groups that are among the cells, in the order of their categories."""
    known = cells.notna().to_numpy()
    of_row = np.full(len(cells), "", dtype=object)
    of_row[known] = cells[known].astype(str).to_numpy(dtype=object)
    names = tuple(str(name) for name in cells.cat.categories if (of_row == str(name)).any())
    return Groups(column, of_row, names)


def _cases(board: Leaderboard, table: pd.DataFrame) -> pd.Index:
    """The case of each row that is scored."""
    return pd.Index(_ordered(table)["case"] if board.aim == "segmentation" else table["case"])


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    return table.reset_index(drop=True).sort_values(["patient", "case", "label"], kind="stable", ignore_index=True)


def _sets(board: Leaderboard, metric: str, tables: Sequence[pd.DataFrame]) -> list[ScoredParts]:
    if board.aim == "segmentation":
        labels = list(dict.fromkeys(tables[0]["label"].astype(str)))
        return [LabelMapParts(metric, _ordered(table), labels=labels) for table in tables]
    outputs = tuple(str(name) for name in board.facts.get("outputs") or ())
    patients, task = list(tables[0]["patient"]), str(board.cohort_facts.get("task"))
    sets: list[ScoredParts] = []
    for table in tables:
        truth, likely, decided = class_or_finding_arrays(table.loc[tables[0].index], outputs)
        sets.append(PredictionParts(metric, truth, likely, patients, task=task, outputs=outputs, decisions=decided))
    return sets
