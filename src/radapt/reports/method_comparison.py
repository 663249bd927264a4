"""Whether one method of a run is better than another, paired by patient."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radapt.errors import DataError, UsageError
from radapt.metrics.bootstrap import multiplicities
from radapt.metrics.comparison import (
    Difference,
    Draws,
    OverTraining,
    Pair,
    VarianceParts,
    Verdict,
    compare_pairs,
    delong,
    holm,
    over_training,
    paired_label_maps,
    paired_predictions,
    variance_parts,
)
from radapt.metrics.metric import metric_name
from radapt.reports.case_tables import are_of_same_cases, case_tables, class_or_finding_arrays, in_common
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.metric_info import metric_of

_ALPHA = 0.05

COLUMNS = (
    "cohort", "split", "metric", "a", "b", "value_a", "value_b", "difference", "ci_low", "ci_high", "p", "p_holm",
    "comparisons", "n_patients", "n_cases", "detectable", "training_low", "training_high", "p_training", "verdict",
    "interval",
)  # fmt: skip


@dataclass(frozen=True)
class MethodComparison:
    """`first` minus `second` on a test set. `delong` is the p-value of DeLong's test, NaN where it does not apply:
    for other metrics than the AUROC of one question, and for several seeds. `holm` is `p` adjusted for the family.
    `over_training` is over other training runs too, None unless both methods have several."""

    first: LeaderboardRow
    second: LeaderboardRow
    metric: str
    difference: Difference
    delong: float
    holm: float
    verdict: Verdict
    over_training: OverTraining | None = None


def find_board(
    boards: Sequence[Leaderboard], cohort: str | None, split: str | None, metric: str | None
) -> tuple[Leaderboard, str]:
    """The leaderboard of the cohort and test set, and the metric to compare by; what is None is chosen if one is left.

    Never a split that choices were made on, unless named. Raises UsageError if none, or more than one, fits.
    """
    fitting = [board for board in boards if cohort in (None, board.cohort) and split in (None, board.split)]
    if metric is not None:
        fitting = [board for board in fitting if metric in board.metrics or metric in _by_class(board)]
    if split is None:
        fitting = [board for board in fitting if not board.is_selection_split and not board.is_part]
    if len(fitting) != 1:
        every = "; ".join(f"--cohort {board.cohort} --split {board.split}" for board in fitting or boards)
        what = "Several test sets fit" if fitting else "No test set fits"
        raise UsageError(f"{what}. Choose with --cohort, --split and --metric. There are: {every or 'none'}.")
    board = fitting[0]
    return board, metric or board.primary or ""


def find_method(board: Leaderboard, metric: str, text: str) -> LeaderboardRow:
    """The method called `text`: its name in the report, or a part of it that no other has. Controls count too.

    Raises UsageError if none, or more than one, fits; the message lists the names.
    """
    rows = board.rows_of(metric) or board.rows_of(metric_name(metric))
    wanted = _plain(text)
    exact = [row for row in rows if wanted in (_plain(row.method.name), _plain(row.method.phrase))]
    fitting = exact or [row for row in rows if wanted in _plain(row.method.name) or wanted in _plain(row.method.phrase)]
    if len(fitting) == 1:
        return fitting[0]
    what = f"{len(fitting)} methods fit" if fitting else "No method fits"
    names = "; ".join(row.method.phrase for row in fitting or rows)
    raise UsageError(f"{what} {text!r} on {board.cohort}, {board.split}. There are: {names or 'none'}.")


def compare_methods(
    board: Leaderboard,
    metric: str,
    pairs: Sequence[tuple[LeaderboardRow, LeaderboardRow]],
    *,
    draws: Draws = Draws(),
) -> list[MethodComparison]:
    """Each pair's comparison, p-values adjusted for all of them (Holm).

    Seeds of a method are averaged as in the leaderboard. A method is better or worse only if this holds over other
    training runs too, where both have several. Another tool is compared on the cases that both have. Raises
    DataError where predictions are not stored, or are not of the same cases.
    """
    found = [_compare(board, metric, *pair, draws) for pair in pairs]
    adjusted = holm([difference.p for difference, _ in found])
    return [
        concluded(*pair, metric, difference, float(p), len(pairs), exact=exact, margin=draws.margin)
        for pair, (difference, exact), p in zip(pairs, found, adjusted, strict=True)
    ]


def concluded(
    first: LeaderboardRow,
    second: LeaderboardRow,
    metric: str,
    difference: Difference,
    adjusted: float,
    comparisons: int,
    *,
    exact: float = float("nan"),
    margin: float | None = None,
) -> MethodComparison:
    """A comparison with its verdict.

    Among several comparisons a method is better or worse only if the adjusted p-value, where there is one, says so too;
    one without a test is undecided there. With several training runs of both the interval over them must say so too.
    """
    wider = over_training(difference, *([score.value for score in row.scores] for row in (first, second)))
    verdict = difference.verdict(margin)
    shown = adjusted < _ALPHA if comparisons > 1 else not adjusted >= _ALPHA
    shown = shown and (wider is None or wider.excludes_zero)
    verdict = verdict if shown or verdict not in ("better", "worse") else "undecided"
    return MethodComparison(first, second, metric, difference, exact, adjusted, verdict, wider)


def comparison_table(board: Leaderboard, comparisons: Sequence[tuple[MethodComparison, int]]) -> pd.DataFrame:
    """The rows of `comparisons.parquet`; beside each comparison the number that its p-value is adjusted for."""
    rows = [
        (
            board.cohort, board.split, one.metric, one.first.method.phrase, one.second.method.phrase,
            one.difference.first, one.difference.second, one.difference.difference, one.difference.ci_low,
            one.difference.ci_high, one.difference.p, one.holm, count, one.difference.n_patients,
            one.difference.n_cases, one.difference.detectable, *_training(one.over_training), one.verdict,
            one.difference.interval,
        )
        for one, count in comparisons
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _training(found: OverTraining | None) -> tuple[float, float, float]:
    return (np.nan, np.nan, np.nan) if found is None else (found.ci_low, found.ci_high, found.p)


def _compare(
    board: Leaderboard, metric: str, first: LeaderboardRow, second: LeaderboardRow, draws: Draws
) -> tuple[Difference, float]:
    tables = [case_tables(board, row) for row in (first, second)]
    for row, stored in zip((first, second), tables, strict=True):
        if not stored:
            raise DataError(f"The predictions of {row.method.phrase} are not stored; run the study again.")
    if first.method.foreign or second.method.foreign:
        joined = in_common([*tables[0], *tables[1]])
        if not len(joined[0]):
            raise DataError(f"{first.method.phrase} and {second.method.phrase} have no case in common.")
        tables = [joined[: len(tables[0])], joined[len(tables[0]) :]]
    if board.aim == "classification" and not are_of_same_cases([*tables[0], *tables[1]]):
        raise DataError(f"{first.method.phrase} and {second.method.phrase} were not tested on the same cases.")
    # The i-th seed of one stands beside the i-th of the other; the shorter list starts again.
    count = max(map(len, tables))
    beside = [tuple(stored[i % len(stored)] for stored in tables) for i in range(count)]
    pairs = [_pair(board, metric, *each) for each in beside]
    difference = compare_pairs(pairs, draws, smaller_is_better=metric_of(metric_name(metric)).smaller_is_better)
    return difference, _delong(board, metric, *beside[0]) if count == 1 else float("nan")


def runs_of(board: Leaderboard, metric: str, row: LeaderboardRow) -> VarianceParts | None:
    """How much the metric of a method varies over patients and training runs; None if its predictions are not stored.

    From 500 draws of patients; their standard deviation is then known to 3 %.
    """
    tables = case_tables(board, row)
    if not tables or (board.aim == "classification" and not are_of_same_cases(tables)):
        return None
    pairs = [_pair(board, metric, table, table) for table in tables]
    units = pairs[0].units
    times = multiplicities(np.random.default_rng(0), units, 500).T
    weights = np.concatenate([np.ones((units, 1)), times], axis=1)
    found = np.stack([pair.values(np.concatenate([weights, 0 * weights])) for pair in pairs])
    return variance_parts(found[:, 0], found[:, 1:], units)


def _pair(board: Leaderboard, metric: str, first: pd.DataFrame, second: pd.DataFrame) -> Pair:
    if board.aim == "segmentation":
        labels = list(dict.fromkeys(first["label"].astype(str)))
        sides = [table.reset_index(drop=True) for table in (first, second)]
        return paired_label_maps(metric, *sides, labels=labels)
    outputs = _outputs(board)
    second = second.loc[first.index]
    (truth, one, decided), (_, other, decided_too) = (
        class_or_finding_arrays(each, outputs) for each in (first, second)
    )
    both = None if decided is None or decided_too is None else (decided, decided_too)
    return paired_predictions(
        metric, truth, (one, other), list(first["patient"]), task=str(board.cohort_facts.get("task")),
        outputs=outputs, decisions=both,
    )  # fmt: skip


def _delong(board: Leaderboard, metric: str, first: pd.DataFrame, second: pd.DataFrame) -> float:
    name, _, output = metric.partition(":")
    outputs = _outputs(board)
    if board.aim != "classification" or name != "auroc" or (not output and len(outputs) != 2) or "truth" not in first:
        return float("nan")
    positive = output or outputs[1]
    second = second.loc[first.index]
    one, other = (each[f"p_{positive}"].to_numpy(np.float64) for each in (first, second))
    return delong((first["truth"] == positive).to_numpy(int), one, other, list(first["patient"])).p


def _outputs(board: Leaderboard) -> tuple[str, ...]:
    return tuple(str(name) for name in board.facts.get("outputs") or ())


def _by_class(board: Leaderboard) -> set[str]:
    return {f"{family}:{name}" for family, members in board.by_class.items() for name in members}


def _plain(text: str) -> str:
    return " ".join(text.casefold().replace("·", " ").replace(" with ", " ").split())
