"""Writes `report.html` of a run folder: one self-contained page that fetches nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from radapt.durable import write_json, write_parquet, write_text
from radapt.reports.board_comparisons import comparison_rows
from radapt.reports.charts.ranks import rank_figure
from radapt.reports.cohort_chapter import CohortChapter, cohort_chapter
from radapt.reports.formatting import counted
from radapt.reports.groups.scores import SUBGROUPS, group_rows
from radapt.reports.leaderboard import Leaderboard, leaderboards
from radapt.reports.method_comparison import COLUMNS, comparison_table
from radapt.reports.methods import methods_of
from radapt.reports.metric_info import metric_of, ordered
from radapt.reports.over_cohorts import OVER_COHORTS, MetricOverCohorts, over_cohorts, pairs_table
from radapt.reports.report_section import LeaderboardView
from radapt.reports.run_folder import CellRecord, Run, read_run
from radapt.reports.summary import summary_json, summary_of
from radapt.reports.templating import REPORT_FILE, asset, has_random_weights, render
from radapt.reports.terminal_table import terminal_table
from radapt.studies.run_digests import record_digests, recorded
from radapt.versions import __version__

COMPARISONS, SUMMARY = "comparisons.parquet", "summary.json"

NIIVUE = "niivue/niivue.umd.js"
"""The library of the 3D view as its authors publish it, embedded only where a study has volumes."""


def write_report(run: Path, images: bool = True) -> Path:
    """(Re)write `report.html`, summary.json and the tables in the run folder `run`, and return the path of the page.

    Without `images` the page embeds no image of a patient.

    Reads the run folder only, whether finished or not; the same folder gives the same bytes. Raises UsageError if `run`
    is not a run folder, DataError if a file in it is damaged.
    """
    return write_report_with_answers(run, images).path


@dataclass(frozen=True)
class WrittenReport:
    """The path of a report, what its first screen says of each test set, and its leaderboards as text."""

    path: Path
    answers: tuple[str, ...]
    tables: tuple[str, ...] = ()


def write_report_with_answers(run: Path, images: bool = True) -> WrittenReport:
    """As `write_report`, with the sentences of its first screen, for a terminal."""
    study = read_study_report(run, images)
    views = [view for chapter in study.chapters for view in chapter.test_sets]
    folder = study.run.path
    write_text(folder / REPORT_FILE, page_of(study))
    write_json(folder / SUMMARY, summary_json(summary_of(study.run, study.chapters, study.over_cohorts)))
    tables_of_report = report_tables(study)
    for name, table in tables_of_report.items():
        write_parquet(folder / name, table)
    if recorded(folder) is not None:
        record_digests(folder, only=[REPORT_FILE, SUMMARY, *tables_of_report])
    answers = tuple(" ".join(view.leading.sentences) for view in views if view.leading)
    answers += tuple(view.sentence for view in _leading(study))
    answers += tuple(row.warning for chapter in study.chapters for row in chapter.shortcuts if row.is_shortcut)
    tables = tuple(filter(None, (terminal_table(view.board) for view in views)))
    return WrittenReport(folder / REPORT_FILE, answers, tables)


@dataclass(frozen=True)
class StudyReport:
    """What a report says, before it is laid out."""

    run: Run
    chapters: list[CohortChapter]
    over_cohorts: tuple[MetricOverCohorts, ...] = ()

    @property
    def leading(self) -> str | None:
        """The metric that the page shows first."""
        return self.chapters[0].primary if self.chapters else None

    def of_aim(self, aim: str) -> list[MetricOverCohorts]:
        """The metrics of an aim over all cohorts."""
        return [view for view in self.over_cohorts if view.aim == aim]


def read_study_report(run: Path, images: bool = True) -> StudyReport:
    """Raises as `write_report`."""
    read = read_run(Path(run), images)
    boards = leaderboards(read)
    return StudyReport(read, _chapters(read, boards), over_cohorts(boards))


def report_tables(study: StudyReport) -> dict[str, pd.DataFrame]:
    """The tables that a report writes into the run folder, by the names of their files."""
    views = [view for chapter in study.chapters for view in chapter.test_sets]
    groups = [view for chapter in study.chapters for section in chapter.sections for view in section.groups]
    tables = {COMPARISONS: comparison_frame(views)}
    if groups:
        tables[SUBGROUPS] = group_rows(groups)
    if study.over_cohorts:
        tables[OVER_COHORTS] = pairs_table(study.over_cohorts)
    return tables


def comparison_frame(views: Iterable[LeaderboardView]) -> pd.DataFrame:
    """The rows of `comparisons.parquet`: every pair of methods on every test set."""
    frames = [comparison_table(view.board, comparison_rows(view.comparisons)) for view in views if view.comparisons]
    frames = [frame for frame in frames if len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))


def _chapters(run: Run, boards: Sequence[Leaderboard]) -> list[CohortChapter]:
    methods = methods_of(run)
    names = sorted({*run.cohorts, *(board.cohort for board in boards), *(cell.cohort for cell in run.cells)})
    return [
        cohort_chapter(run, name, index, [board for board in boards if board.cohort == name], methods)
        for index, name in enumerate(names)
    ]


def _leading(study: StudyReport) -> list[MetricOverCohorts]:
    """Over all cohorts: the leading metric, and the first one of an aim that lacks it."""
    aims = dict.fromkeys(view.aim for view in study.over_cohorts)
    views = [study.of_aim(aim) for aim in aims]
    return [next((view for view in own if view.metric == study.leading), own[0]) for own in views]


def page_of(study: StudyReport) -> str:
    """The page as HTML."""
    run, chapters = study.run, study.chapters
    sections = [section for chapter in chapters for section in chapter.sections]
    metrics = ordered({table.metric for section in sections for view in section.views for table in view.tables})
    volumes = any(section.browser and section.browser.volumes for section in sections)
    return render(
        "study_report.html",
        (*((asset("volumes.js"),) if volumes else ()), asset("report.js")),
        libraries=(asset(NIIVUE),) if volumes else (),
        run=run,
        version=__version__,
        chapters=chapters,
        metrics=[metric_of(name) for name in metrics],
        random_weights=[
            name
            for name, facts in run.backbones.items()
            if has_random_weights(facts) and name not in _of_controls(run.cells)
        ],
        synthetic=[chapter.name for chapter in chapters if chapter.synthetic],
        seconds=sum(float((cell.done or {}).get("seconds") or 0) for cell in run.cells),
        waiting=run.count("waiting") + run.unnamed,
        embedded=_embedded(chapters),
        leading=study.leading,
        over_cohorts=study.over_cohorts,
        leading_over_cohorts=_leading(study),
        rank_figures={view.aim: rank_figure(study.of_aim(view.aim), view.metric) for view in _leading(study)},
    )


def _of_controls(cells: Iterable[CellRecord]) -> set[str]:
    """The backbones that only controls use."""
    cells = list(cells)
    return {cell.backbone for cell in cells if cell.control} - {cell.backbone for cell in cells if not cell.control}


def _embedded(chapters: list[CohortChapter]) -> str:
    """Which images of patients the page embeds, as a list; '' without any."""
    counts = {"case with small slices": 0, "small volume": 0, "example slice": 0, "slice with outlines": 0}
    for chapter in chapters:
        counts["example slice"] += len(chapter.slices)
        for section in chapter.sections:
            counts["case with small slices"] += len(section.browser.pictured) if section.browser else 0
            counts["small volume"] += len(section.browser.volumes) if section.browser else 0
            counts["slice with outlines"] += sum(len(model.cell.overlays) for model in section.with_overlays)
    names = {"case with small slices": "cases with small slices", "slice with outlines": "slices with outlines"}
    return ", ".join(counted(count, name, names.get(name)) for name, count in counts.items() if count)
