"""What `radapt compare` answers: of two columns of a table, or of methods of a run."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from radapt.cli.answer import Answer, Flat
from radapt.cli.table_rows import numbers_of, read_rows, refuse_rows, require_column, says_nothing
from radapt.errors import DataError, UsageError, suggest
from radapt.metrics.comparison import Difference, Draws, Verdict, compare_pairs, paired_means
from radapt.metrics.metric import metric_name
from radapt.reports.formatting import counted, shown
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow, leaderboards
from radapt.reports.method_comparison import (
    MethodComparison,
    compare_methods,
    find_board,
    find_method,
    runs_of,
)
from radapt.reports.metric_info import metric_of
from radapt.reports.over_cohorts import over_cohorts, refuse_a_cohort_twice
from radapt.reports.run_folder import read_run

_INTERVALS = {"bca": "bias-corrected and accelerated (BCa)", "percentile": "the plain percentile interval"}


@dataclass(frozen=True)
class ColumnNames:
    """The columns of a table: of the case, the two methods' numbers, and the patient, None if there is none."""

    case: str
    a: str
    b: str
    patient: str | None = None


def compare_columns(file: Path, columns: ColumnNames, draws: Draws, *, smaller_is_better: bool = False) -> Answer:
    """The mean of column a minus that of column b, over the cases that have both.

    Raises UsageError for a column that is not there, and DataError for a case named twice, a number that is none, a
    case without a patient, and where no case has both numbers.
    """
    table, rows = _read(file, columns)
    # By case, so that the draws do not depend on the order of the rows.
    order = table[columns.case].str.strip().sort_values(kind="stable").index
    table, rows = table.loc[order].reset_index(drop=True), [rows[at] for at in order]
    cases = table[columns.case].str.strip()
    refuse_rows(cases == "", rows, file, f"names no case in column {columns.case!r}")
    refuse_rows(cases.duplicated(), rows, file, "names a case that an earlier row names; expected one row per case")
    first, second = (numbers_of(table[name], rows, file) for name in (columns.a, columns.b))
    patients = cases if columns.patient is None else table[columns.patient].str.strip()
    both = first.notna() & second.notna()
    refuse_rows(both & says_nothing(patients), rows, file, f"names no patient in column {columns.patient!r}")
    if not both.any():
        raise DataError(f"{file}: no case has a number both in {columns.a!r} and in {columns.b!r}.")
    pair = paired_means(first[both].to_numpy(), second[both].to_numpy(), patients[both].to_numpy(dtype=object))
    difference = compare_pairs([pair], draws, smaller_is_better=smaller_is_better)
    left_out = int((~both).sum())
    lines = _lines(columns.a, columns.b, difference, difference.verdict(draws.margin), draws.margin)
    if columns.patient is None:
        lines.append("Each case counts as a patient; if patients have several, name their column with --patient.")
    if left_out:
        lines.append(f"{counted(left_out, 'case')} without a number in one of the two columns left out.")
    record = _record(columns.a, columns.b, difference, difference.verdict(draws.margin), draws)
    return Answer("\n".join(lines), record | {"n_left_out": left_out, "unit": columns.patient or columns.case})


def compare_runs(
    folder: Path,
    names: Sequence[str],
    draws: Draws,
    *,
    cohort: str | None = None,
    split: str | None = None,
    metric: str | None = None,
) -> Answer:
    """Two methods of a run by `names`; without any the leading one against the others, or, where the run has several
    cohorts and none is chosen, every method over these; over those of more runs where `names` are run folders.

    Raises UsageError for names that do not fit.
    """
    more = [Path(name) for name in names]
    several = bool(more) and all((run / "study.yaml").is_file() for run in more)
    if names and not several:
        if len(names) != 2:
            raise UsageError(
                "Name two methods, A and B, or none to compare the leading one with each of the others, or more run "
                f"folders. Given: {', '.join(names)}."
            )
        return compare_run(folder, (names[0], names[1]), draws, cohort=cohort, split=split, metric=metric)
    of_run = [leaderboards(read_run(run)) for run in (folder, *more)]
    if not several and (cohort or split or len({board.cohort for board in of_run[0]}) < 2):
        return compare_run(folder, None, draws, cohort=cohort, split=split, metric=metric)
    if chosen := [f"--{name}" for name, value in (("cohort", cohort), ("split", split)) if value is not None]:
        raise UsageError(f"Runs are compared over all their cohorts, by the first test set of each; drop {chosen[0]}.")
    if draws.interval != "expanded":
        raise UsageError("Wilcoxon's test over cohorts has no interval; drop --interval.")
    refuse_a_cohort_twice(of_run)
    return _over_cohorts([board for boards in of_run for board in boards], metric)


def _over_cohorts(boards: Sequence[Leaderboard], metric: str | None) -> Answer:
    views = over_cohorts(boards)
    if not views:
        raise UsageError("No two methods are on two cohorts alike. Choose one cohort with --cohort.")
    view = next((view for view in views if metric in (None, view.metric)), None)
    if view is None:
        names = ", ".join(view.metric for view in views)
        raise UsageError(f"The metric {metric!r} is not on two cohorts. {suggest(str(metric), names.split(', '))}")
    digits = metric_of(view.metric).digits
    lines = [f"{view.title} over {counted(len(view.cohorts), 'cohort')} ({', '.join(view.cohorts)}):"]
    lines += [f"  mean rank {shown(rank, 2)}, mean {shown(value, digits)}: {name}" for name, rank, value in view.ranked]
    lines += [
        f"{pair.a} − {pair.b}: {shown(pair.difference, digits)} in the mean, better on {pair.a_better} and worse on "
        f"{pair.b_better} of {pair.n_cohorts}; p = {_p(pair.p)}, adjusted for {pair.comparisons} (Holm) "
        f"{_p(pair.p_holm)}: {pair.verdict}"
        for pair in view.pairs
    ]
    if view.left_out:
        lines.append(f"Without a value on every cohort, or pretrained on one: {', '.join(view.left_out)}.")
    return Answer("\n".join([*lines, view.sentence]), asdict(view.pairs[0]))


def compare_run(
    folder: Path,
    named: tuple[str, str] | None,
    draws: Draws,
    *,
    cohort: str | None = None,
    split: str | None = None,
    metric: str | None = None,
) -> Answer:
    """Two methods of a run, or with `named` None the leading one against each of the others.

    Raises UsageError for a name that does not fit.
    """
    board, metric = find_board(leaderboards(read_run(folder)), cohort, split, metric)
    if named is not None:
        pairs = [(find_method(board, metric, named[0]), find_method(board, metric, named[1]))]
    else:
        rows = [row for row in board.rows_of(metric) if row.done]
        if len(rows) < 2:
            raise UsageError(f"{folder} has fewer than two finished methods on {board.cohort}, {board.split}.")
        pairs = [(rows[0], other) for other in rows[1:]]
    found = compare_methods(board, metric, pairs, draws=draws)
    title = f"{metric_of(metric).title} on {board.cohort}, {board.title}:"
    lines = [title, *(line for one in found for line in _method_lines(one, draws.margin, len(found)))]
    several = {row.method.key: row for pair in pairs for row in pair if row.done > 1}
    lines += [line for row in several.values() if (line := _runs_line(board, metric, row))]
    if board.unit == "image":
        lines.append("Patients unknown: the interval and the test count images.")
    first = found[0]
    names = first.first.method.phrase, first.second.method.phrase
    wider = first.over_training
    record = _record(*names, first.difference, first.verdict, draws) | {
        "training_low": None if wider is None else wider.ci_low,
        "training_high": None if wider is None else wider.ci_high,
        "p_training": None if wider is None else wider.p,
        "metric": metric,
        "cohort": board.cohort,
    }
    return Answer("\n".join(lines), record | {"split": board.split, "comparisons": len(found), "p_holm": first.holm})


def _read(file: Path, columns: ColumnNames) -> tuple[pd.DataFrame, list[int]]:
    table, rows = read_rows(file, "a table (CSV, TSV or parquet) or a run folder")
    for name in (columns.case, columns.a, columns.b, columns.patient):
        if name is not None:
            require_column(table, name, file)
    return table, rows


def _method_lines(one: MethodComparison, margin: float | None, family: int) -> list[str]:
    lines = _lines(one.first.method.phrase, one.second.method.phrase, one.difference, one.verdict, margin)
    if family > 1:
        lines[1] += f"; adjusted for {family} comparisons (Holm) p = {_p(one.holm)}"
    if np.isfinite(one.delong):
        lines[1] += f"; DeLong's test p = {_p(one.delong)}"
    if one.over_training is not None:
        wider = one.over_training
        lines.append(
            f"  Over other training runs too: [{wider.ci_low:+.4f}, {wider.ci_high:+.4f}], p = {_p(wider.p)}; the "
            "interval above is of these runs, over other patients."
        )
    elif one.first.done == one.second.done == 1:
        lines.append("  One training run each: another run may differ by more.")
    return lines


def _runs_line(board: Leaderboard, metric: str, row: LeaderboardRow) -> str:
    """What another run of a method with several would show; '' if that cannot be said."""
    parts = runs_of(board, metric, row)
    if parts is None or np.isnan(parts.next_low):
        return ""
    info = metric_of(metric_name(metric))
    high = np.inf if info.high is None else info.high
    low, high = (float(np.clip(end, info.low, high)) for end in (parts.next_low, parts.next_high))
    return (
        f"{row.method.phrase}, {counted(parts.n_runs, row.unit)}: SD {parts.patients:.4f} over patients, "
        f"{parts.runs:.4f} over training runs; with another {row.unit} you would see {low:.4f} to {high:.4f}."
    )


def _lines(a: str, b: str, found: Difference, verdict: Verdict, margin: float | None) -> list[str]:
    number = _formatter(found)
    moved, low, high = (number(value, "+") for value in (found.difference, found.ci_low, found.ci_high))
    how = "every exchange of patients counted" if found.exact else "patients exchanged at random"
    sentences = {
        "better": f"{a} is better.",
        "worse": f"{a} is worse.",
        "equivalent": f"Neither is better, and they differ by less than {margin:g}." if margin is not None else "",
        "non-inferior": f"{a} is not shown to be better, but is worse by less than {margin:g}."
        if margin is not None
        else "",
        "undecided": "Which one is better is undecided."
        if margin is None
        else f"Which one is better is undecided, and {a} may be worse by {margin:g} or more.",
    }
    lines = [
        f"{a} {number(found.first)}, {b} {number(found.second)}: difference {moved} [{low}, {high}], "
        f"{counted(found.n_patients, 'patient')}, {counted(found.n_cases, 'case')}",
        f"  {sentences[verdict]} p = {_p(found.p)} ({how})",
    ]
    if found.n_patients < 6:
        lines.append(
            f"  Five patients or fewer cannot show a difference: of {found.n_patients} the smallest p-value is "
            f"{2.0 ** (1 - found.n_patients):g}."
        )
    if found.interval == "bca" and found.n_patients > 1 and np.isnan(found.ci_low) and np.isfinite(found.difference):
        lines.append("  These patients have no BCa interval; --interval expanded needs less of them.")
    elif found.interval != "expanded":
        lines.append(f"  The interval is {_INTERVALS[found.interval]}.")
    if np.isfinite(found.detectable) and found.detectable > 0 and verdict not in ("better", "worse"):
        lines.append(
            f"  With {counted(found.n_patients, 'patient')} a difference of {number(found.detectable)} would be seen "
            "in 8 of 10 such studies."
        )
    return lines


def _formatter(found: Difference) -> Callable[..., str]:
    """Four decimals, or four digits for numbers that are too small or too large for them."""
    largest = max(abs(found.first), abs(found.second))
    kind = ".4f" if largest == 0 or np.isnan(largest) or 1e-3 <= largest < 1e6 else ".4g"
    return lambda value, sign="": f"{value:{sign}{kind}}"


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 or np.isnan(value) else "< 0.0001"


def _record(a: str, b: str, found: Difference, verdict: Verdict, draws: Draws) -> Flat:
    return {
        "a": a, "b": b, "mean_a": found.first, "mean_b": found.second, "difference": found.difference,
        "ci_low": _finite(found.ci_low), "ci_high": _finite(found.ci_high), "p": _finite(found.p),
        "n_patients": found.n_patients, "n_cases": found.n_cases, "detectable": _finite(found.detectable),
        "verdict": verdict, "margin": draws.margin, "interval": found.interval,
        "permutations": 2**found.n_patients if found.exact else draws.permutations, "exact": found.exact,
    }  # fmt: skip


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
