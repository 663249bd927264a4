"""radapt compare: is one method better than another, paired by patient."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import typer


class Interval(StrEnum):
    """The kinds of 95 % intervals, as `radapt.metrics.comparison.IntervalMethod`."""

    expanded = "expanded"
    percentile = "percentile"
    bca = "bca"


def compare(
    source: Path = typer.Argument(..., metavar="RUN|TABLE", help="A run folder, or a table with a row per case."),
    names: list[str] = typer.Argument(
        None, metavar="[A B|RUN]...", help="Two methods of RUN, by name in the report or a part of it; or more runs."
    ),
    on: str = typer.Option(None, help="TABLE: the column that names the case."),
    a: str = typer.Option(None, help="TABLE: the column with the numbers of the first method."),
    b: str = typer.Option(None, help="TABLE: the column with those of the second."),
    patient: str = typer.Option(None, help="TABLE: the column that names the patient. Without it each case is one."),
    smaller_is_better: bool = typer.Option(False, "--smaller-is-better", help="TABLE: of distances, errors, losses."),
    cohort: str = typer.Option(None, help="RUN: the cohort, if there are several."),
    split: str = typer.Option(None, help="RUN: the test set, if there are several."),
    metric: str = typer.Option(None, help="RUN: the metric, such as mcc or dice:tumour; default: the leading one."),
    margin: float = typer.Option(None, min=0, help="How much worse A may be and still count as non-inferior."),
    permutations: int = typer.Option(9999, min=9999, help="Exchanges of patients in the test."),
    resamples: int = typer.Option(9999, min=1000, help="Draws of patients for the interval."),
    interval: Interval = typer.Option(
        Interval.expanded, help="Percentile interval expanded for few patients, plain percentile, or BCa (Efron 1987)."
    ),
    seed: int = typer.Option(0, min=0, help="Of the random draws."),
    json_file: Path = typer.Option(None, "--json", help="Also write the result to this file, as one object."),
) -> None:
    """Compare two methods on the same cases: their difference, its 95 % interval and p-value, by patient.

    RUN A B compares two methods of a study. RUN alone compares the leading method with each of the others and adjusts
    the p-values for their number (Holm); all pairs are in RUN/comparisons.parquet. Several runs, or one with several
    cohorts, are compared over the cohorts by Wilcoxon's signed-rank test. TABLE --on COLUMN --a COLUMN --b COLUMN
    compares two columns of numbers of any table, such as the Dice of two programs.
    """
    from radapt.cli.comparisons import ColumnNames, compare_columns, compare_runs
    from radapt.durable import write_json
    from radapt.errors import UsageError
    from radapt.metrics.comparison import Draws

    draws = Draws(seed, resamples, permutations, margin, interval.value)
    if source.is_dir():
        _refuse({"on": on, "a": a, "b": b, "patient": patient, "smaller-is-better": smaller_is_better or None},
                f"{source} is a run folder: name the two methods as RUN A B, without")  # fmt: skip
        found = compare_runs(source, names or [], draws, cohort=cohort, split=split, metric=metric)
    else:
        if names or on is None or a is None or b is None:
            raise UsageError(
                f"{source} is not a folder. A table needs --on, --a and --b: the columns with the case and the two "
                "methods' numbers. Two methods of a study: radapt compare RUN A B, with the folder of `radapt run`."
            )
        _refuse({"cohort": cohort, "split": split, "metric": metric},
                f"{source} is a table, whose columns are the numbers that are compared; drop")  # fmt: skip
        columns = ColumnNames(on, a, b, patient)
        found = compare_columns(source, columns, draws, smaller_is_better=smaller_is_better)
    typer.echo(found.text)
    if json_file is not None:
        write_json(json_file, found.record)


def _refuse(options: Mapping[str, object], why: str) -> None:
    from radapt.errors import UsageError

    if given := [f"--{name}" for name, value in options.items() if value is not None]:
        raise UsageError(f"{why} {', '.join(given)}.")
