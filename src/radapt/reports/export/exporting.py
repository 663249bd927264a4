"""Writes the parts of a report to a folder."""

import re
from collections.abc import Iterable
from dataclasses import astuple, fields
from pathlib import Path

from radapt.durable import atomic_path, json_text, write_text
from radapt.reports.charts.ranks import rank_chart
from radapt.reports.export.checklists import checklists
from radapt.reports.export.figures import as_png, standalone
from radapt.reports.export.tables import (
    Table,
    as_csv,
    as_latex,
    as_markdown,
    comparison_table_of,
    leaderboard_table,
    over_cohorts_table,
)
from radapt.reports.over_cohorts import pairs_table
from radapt.reports.study_report import StudyReport, read_study_report
from radapt.reports.summary import ComparisonSummary, ScoreSummary, summary_json, summary_of, summary_schema


def export_report(run: Path, out: Path) -> list[Path]:
    """Write summary.json with its schema, tables (CSV, Markdown, LaTeX), figures (SVG, and PNG where this machine
    has a font) and checklists to `out`.

    Returns the files. Files of an earlier export are replaced. Raises as `write_report`.
    """
    study = read_study_report(run)
    figures = dict(_figures(study))
    texts = exported_texts(study)
    for path, text in texts.items():
        write_text(out / path, text)
    drawn = {out / "figures" / f"{name}.png": as_png(text) for name, text in figures.items()}
    pictures = {path: pixels for path, pixels in drawn.items() if pixels is not None}
    for file, pixels in pictures.items():
        with atomic_path(file) as temporary:
            temporary.write_bytes(pixels)
    return [*(out / path for path in texts), *pictures]


def exported_texts(study: StudyReport) -> dict[str, str]:
    """Everything that is exported but the figures as PNG, by the path of its file."""
    summary = summary_of(study.run, study.chapters, study.over_cohorts)
    texts = {
        "summary.json": json_text(summary_json(summary)),
        "summary.schema.json": json_text(summary_schema()),
        "tables/scores.csv": as_csv([one.name for one in fields(ScoreSummary)], map(astuple, summary.scores)),
        "tables/comparisons.csv": as_csv(
            [one.name for one in fields(ComparisonSummary)], map(astuple, summary.comparisons)
        ),
    }
    if study.over_cohorts:
        texts["tables/over-cohorts.csv"] = pairs_table(study.over_cohorts).to_csv(index=False)
    for name, table in _tables(study):
        texts[f"tables/{name}.md"] = as_markdown(table)
        texts[f"tables/{name}.tex"] = as_latex(table)
    texts |= {f"figures/{name}.svg": text for name, text in _figures(study)}
    return texts | {f"checklists/{name}.md": text for name, text in checklists(study.run, study.chapters).items()}


def _tables(study: StudyReport) -> Iterable[tuple[str, Table]]:
    for chapter in study.chapters:
        for view in chapter.test_sets:
            place = _slug(f"{view.board.cohort}-{view.board.aim}-{view.board.split}")
            yield f"leaderboard-{place}", leaderboard_table(view)
            if table := comparison_table_of(view):
                yield f"comparisons-{place}", table
    for own in study.over_cohorts:
        yield _slug(f"over-cohorts-{own.aim}-{own.metric}"), over_cohorts_table(own)


def _figures(study: StudyReport) -> Iterable[tuple[str, str]]:
    """Every chart, but of the views that only a menu of the page chooses the first of each."""
    for own in study.over_cohorts:
        chart = rank_chart(own)
        yield _slug(f"over-cohorts-{own.aim}-{own.metric}"), standalone(chart, f"Over {len(own.cohorts)} cohorts")
    for chapter in study.chapters:
        for section in chapter.sections:
            for kind, figures in section.charts.items():
                for number, figure in enumerate(figures):
                    for view in figure.views if figure.by == "metric" else figure.views[:1]:
                        for index, chart in enumerate(view.charts):
                            parts = [chapter.name, section.aim, kind, figure.title, view.name]
                            parts += [str(number)] * (len(figures) > 1) + [str(index)] * (len(view.charts) > 1)
                            heading = " · ".join(filter(None, (chapter.name, view.name, chart.title)))
                            yield _slug("-".join(filter(None, parts))), standalone(chart, heading)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.casefold()).strip("-.")[:100] or "x"
