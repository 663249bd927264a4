"""`summary.json`: what the report says, as one typed record with a JSON schema."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from radapt.reports.answers import BoardAnswers
from radapt.reports.board_comparisons import comparison_rows
from radapt.reports.cohort_chapter import CohortChapter
from radapt.reports.over_cohorts import MetricOverCohorts, PairOverCohorts
from radapt.reports.report_section import LeaderboardView
from radapt.reports.run_folder import Run
from radapt.versions import __version__

VERSION = 1


@dataclass(frozen=True)
class CohortSummary:
    """A cohort as the run had it; `sites` are patients or cases by site, as its table counts them."""

    name: str
    task: str
    unit: str
    n_patients: int
    n_cases: int
    modalities: list[str]
    outputs: list[str]
    structures: list[str]
    sites: dict[str, int]
    digest: str


@dataclass(frozen=True)
class ScoreSummary:
    """A row of a leaderboard: the mean over the runs of a method, with its 95 % interval by patient."""

    cohort: str
    split: str
    metric: str
    rank: int | None
    method: str
    control: str
    value: float
    ci_low: float
    ci_high: float
    n_patients: int
    runs: int


@dataclass(frozen=True)
class ComparisonSummary:
    """`a` minus `b` on the same patients; `p_holm` is `p` adjusted for all `comparisons`."""

    cohort: str
    split: str
    metric: str
    a: str
    b: str
    difference: float
    ci_low: float
    ci_high: float
    p: float
    p_holm: float
    comparisons: int
    verdict: str


@dataclass(frozen=True)
class StudySummary:
    """What a study found. `answers` are those of the first screen, for every test set and metric."""

    version: int
    radapt: str
    name: str
    runs_done: int
    runs_failed: int
    runs_waiting: int
    cohorts: list[CohortSummary]
    answers: list[BoardAnswers]
    scores: list[ScoreSummary]
    comparisons: list[ComparisonSummary]
    over_cohorts: list[PairOverCohorts]


def summary_of(
    run: Run, chapters: Iterable[CohortChapter], over_cohorts: Iterable[MetricOverCohorts] = ()
) -> StudySummary:
    """The summary of what a report has read."""
    chapters = list(chapters)
    views = [view for chapter in chapters for view in chapter.test_sets]
    return StudySummary(
        VERSION, __version__, run.name, run.count("done"), run.count("failed"), run.count("waiting") + run.unnamed,
        [_cohort(chapter) for chapter in chapters],
        [answers for view in views for answers in view.answers.values()],
        [score for view in views for score in scores_of_view(view)],
        [row for view in views for row in _comparisons(view)],
        [pair for view in over_cohorts for pair in view.pairs],
    )  # fmt: skip


def summary_json(summary: StudySummary) -> dict[str, Any]:
    """As it is written; NaN becomes null there."""
    return asdict(summary)


def summary_schema() -> dict[str, Any]:
    """The JSON schema of summary.json. A number is null where it is undefined."""
    found = _nullable(TypeAdapter(StudySummary).json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "radapt summary"}


def scores_of_view(view: LeaderboardView) -> list[ScoreSummary]:
    """Every row of every metric of a test set; controls have no rank."""
    board, found = view.board, []
    for metric in board.metrics:
        rows = [(row, number) for number, row in enumerate(board.metrics[metric], 1)]
        for row, rank in [*rows, *((row, None) for row in board.controls.get(metric, ()))]:
            if row.done:
                patients = max(score.n_patients for score in row.scores)
                found.append(
                    ScoreSummary(
                        board.cohort, board.split, metric, rank if row.value == row.value else None, row.method.phrase,
                        row.method.control, row.value, row.ci_low, row.ci_high, patients, row.done,
                    )
                )  # fmt: skip
    return found


def _cohort(chapter: CohortChapter) -> CohortSummary:
    facts = chapter.facts
    listed = {name: [str(one) for one in facts.get(name) or ()] for name in ("modalities", "outputs")}
    return CohortSummary(
        chapter.name, str(facts.get("task") or ""), str(facts.get("unit") or "patient"),
        int(facts.get("n_patients") or 0), int(facts.get("n_cases") or 0), listed["modalities"], listed["outputs"],
        [str(one) for one in (facts.get("mask_labels") or {}).values()],
        {str(name): int(count) for name, count in (facts.get("sites") or {}).items() if name},
        str(facts.get("digest") or ""),
    )  # fmt: skip


def _comparisons(view: LeaderboardView) -> list[ComparisonSummary]:
    if view.comparisons is None:
        return []
    return [
        ComparisonSummary(
            view.board.cohort, view.board.split, one.metric, one.first.method.phrase, one.second.method.phrase,
            one.difference.difference, one.difference.ci_low, one.difference.ci_high, one.difference.p, one.holm, count,
            one.verdict,
        )
        for one, count in comparison_rows(view.comparisons)
    ]  # fmt: skip


def _nullable(schema: Any) -> Any:
    if isinstance(schema, dict):
        found = {name: _nullable(value) for name, value in schema.items()}
        return found | {"type": ["number", "null"]} if found.get("type") == "number" else found
    return [_nullable(one) for one in schema] if isinstance(schema, list) else schema
