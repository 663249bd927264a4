"""The page of results on public data sets, a section each, written from run folders."""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from results.data_sets import DATA_SETS, ENCODERS, FAMILIES, DataSet, Published
from results.differences import difference_lines
from results.studies import command_of
from results.tables import Row, made_lines, published_lines, read_rows, row_lines, unique

INTRODUCTION = """# Results on public data sets

Written by `benchmarks/results` from run folders; do not edit. Every number is of patients that nothing was learned
from or chosen by, with its 95 % bootstrap interval by patient in brackets. Encoders named "random" have random weights:
what they reach is not due to pretraining. Intervals hold the trained model fixed. Minutes are those of one cell on a
busy machine with two cores, without the extraction of features. Where hospitals are left out in turn, choices are made
by inner folds that leave out hospitals too, or where a row says so by folds that mix them (`inner_folds: patient`). How
numbers are computed: [statistics](statistics.md).

Each section ends with the runs that it was written from, by `python benchmarks/results runs/NAME... --keep
docs/results.md --out docs/results.md --published published_numbers.csv`. Cohorts are those of `radapt scan`, as
`studies/dinov2-radiology-small.yaml` says; paths are shortened.
"""

Commands = Mapping[str, Sequence[str]]
"""By the name of a run the lines with its command and study."""


def page(rows: Sequence[Row], published: Sequence[Published], commands: Commands, kept: Mapping[str, str]) -> str:
    """The whole page as Markdown. `kept` are sections by title, for data sets without a row."""
    sections = []
    printed: set[str] = set()
    for data_set in DATA_SETS:
        own = [row for row in rows if row.cohort in data_set.cohorts and row.aim == data_set.aim]
        if not own and data_set.title in kept:
            sections.append(kept[data_set.title])
            continue
        lines = [*section(data_set, own, published), *run_lines(own, commands, printed)]
        sections.append("\n".join(lines).rstrip() + "\n")
    return "\n".join([INTRODUCTION, *sections])


def sections_of(text: str) -> dict[str, str]:
    """The sections of a page by their titles."""
    parts = text.split("\n## ")[1:]
    return {part.split("\n", 1)[0]: f"## {part.rstrip()}\n" for part in parts}


def run_lines(rows: Sequence[Row], commands: Commands, printed: set[str]) -> list[str]:
    """The commands of the runs with rows of a data set; of those `printed` in an earlier section the names alone."""
    names = dict.fromkeys(row.run for row in rows)
    above = [f"`{name}`" for name in names if name in printed]
    lines = [line for name in names if name not in printed for line in commands[name]]
    printed.update(names)
    return [*lines, *([f"Runs of an earlier section: {', '.join(above)}.", ""] if above else [])]


def section(data_set: DataSet, own: Sequence[Row], published: Sequence[Published]) -> list[str]:
    """The heading, tables and notes of one data set."""
    lines = [f"## {data_set.title}", "", data_set.tested, ""]
    lines += [*made_lines(own), *row_lines(data_set, own)] if own else ["Not run.", ""]
    lines += difference_lines(data_set, own)
    lines += published_lines(data_set, own, published)
    if not own:
        return lines
    return [*lines, *not_run(data_set, own), *([data_set.remark, ""] if data_set.remark else [])]


def not_run(data_set: DataSet, rows: Iterable[Row]) -> list[str]:
    """A sentence with the methods and encoders that no run folder holds."""
    done = {(row.family, row.kind) for row in rows}
    lacking = []
    for family in (family for family in FAMILIES[data_set.aim] if family.everywhere):
        kinds = ENCODERS if family.with_encoder else ("",)
        missing = [kind for kind in kinds if (family.name, kind) not in done]
        if missing == list(kinds):
            lacking.append(family.name)
        elif missing:
            lacking.append(f"{family.name} with {' or '.join(missing)}")
    return [f"Not run: {'; '.join(lacking)}.", ""] if lacking else []


def main(arguments: Sequence[str] | None = None, description: str | None = None) -> int:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a folder of `radapt run` or `radapt adapt`")
    parser.add_argument("--out", type=Path, required=True, help="the Markdown file to write")
    parser.add_argument("--keep", type=Path, metavar="PAGE", help="take sections of other data sets from this page")
    parser.add_argument("--published", type=Path, help="a CSV of published figures")
    asked = parser.parse_args(arguments)
    from radapt.durable import write_text
    from radapt.errors import DataError, UsageError

    try:
        rows = unique(row for run in asked.runs for row in read_rows(run))
        commands = dict(command_of(run) for run in asked.runs)
        kept = sections_of(asked.keep.read_text(encoding="utf-8")) if asked.keep else {}
        published = Published.read(asked.published) if asked.published else []
    except (DataError, UsageError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for name in sorted({row.cohort for row in rows} - {name for each in DATA_SETS for name in each.cohorts}):
        print(f"The cohort {name!r} belongs to no data set of this page and is left out.", file=sys.stderr)
    write_text(asked.out, page(rows, published, commands, kept))
    return 0
