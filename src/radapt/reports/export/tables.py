"""Tables as CSV, Markdown and LaTeX."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from radapt.reports.formatting import defined, interval, shown
from radapt.reports.metric_info import metric_of
from radapt.reports.over_cohorts import MetricOverCohorts
from radapt.reports.report_section import LeaderboardView

_MOST_METRICS = 4  # of a table that is read; the CSV has all


@dataclass(frozen=True)
class Table:
    """A table to read, with a caption; the first column names the row."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def leaderboard_table(view: LeaderboardView) -> Table:
    """Methods by rank, then controls, with the first metrics and their 95 % intervals."""
    board = view.board
    metrics = list(board.metrics)[:_MOST_METRICS]
    by_metric = {metric: {row.method.key: row for row in board.rows_of(metric)} for metric in metrics}
    leading = board.primary or ""
    ranked = [row for row in (*board.metrics.get(leading, ()), *board.controls.get(leading, ())) if row.done]
    rows = []
    for row in ranked:
        cells = [by_metric[metric].get(row.method.key) for metric in metrics]
        name = row.method.phrase + (" (control)" if row.method.control else "")
        texts = [
            "" if one is None else f"{shown(one.value, one.digits)} [{interval(one.ci_low, one.ci_high, one.digits)}]"
            for one in cells
        ]
        rows.append((name, *texts, row.counts("n_patients")))
    caption = f"{board.cohort}, {board.title}: means over runs with 95 % intervals by {board.unit}."
    return Table(
        caption,
        ("Method", *(metric_of(metric).title for metric in metrics), f"{board.unit.capitalize()}s"),
        tuple(rows),
    )


def comparison_table_of(view: LeaderboardView) -> Table | None:
    """Every pair of methods in the leading metric; None without any."""
    found = view.comparisons.among_methods(view.board.primary or "") if view.comparisons else []
    if not found:
        return None
    digits = metric_of(view.board.primary or "").digits
    rows = tuple(
        (
            one.first.method.phrase, one.second.method.phrase, shown(one.difference.difference, digits),
            interval(one.difference.ci_low, one.difference.ci_high, digits),
            shown(one.holm, 3) if defined(one.holm) else "", one.verdict,
        )
        for one in found
    )  # fmt: skip
    title = metric_of(view.board.primary or "").title
    caption = (
        f"{view.board.cohort}, {view.board.title}: paired differences in {title}, p adjusted for {len(found)} (Holm)."
    )
    return Table(caption, ("Method", "Minus", "Difference", "95 % interval", "p", "Verdict of the first"), rows)


def over_cohorts_table(view: MetricOverCohorts) -> Table:
    """Methods by mean rank with their value on every cohort."""
    digits, found = metric_of(view.metric).digits, view.found
    rows = tuple(
        (view.methods[one], shown(found.ranks[one], 2), *(shown(own[one], digits) for own in view.values))
        for one in found.order
    )
    return Table(f"{view.title} on every cohort. {view.sentence}", ("Method", "Mean rank", *view.cohorts), rows)


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Numbers in full; NaN is empty. A text that a spreadsheet would run as a formula begins with an apostrophe."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[_csv(value) for value in row] for row in rows])
    return file.getvalue()


def as_markdown(table: Table) -> str:
    lines = [table.columns, ("---",) * len(table.columns), *table.rows]
    text = ["| " + " | ".join(_markdown(cell) for cell in line) + " |" for line in lines]
    return f"{table.caption}\n\n" + "\n".join(text) + "\n"


def as_latex(table: Table) -> str:
    """A `table` of the package booktabs."""
    lines = [" & ".join(map(_latex, row)) + r" \\" for row in (table.columns, *table.rows)]
    return "\n".join(
        [
            r"\begin{table}", rf"\caption{{{_latex(table.caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}", r"\toprule", lines[0], r"\midrule", *lines[1:],
            r"\bottomrule", r"\end{tabular}", r"\end{table}", "",
        ]
    )  # fmt: skip


def _csv(value: object) -> object:
    if isinstance(value, float) and value != value:
        return ""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+@-" and value[:1] else value


def _markdown(text: str) -> str:
    return re.sub(r"([\\|*_<>`])", r"\\\1", " ".join(text.split()))


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": r"$-$", "–": "--", "—": "---", "·": r"$\cdot$",
    "<": r"$<$", ">": r"$>$",
}  # fmt: skip


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))
