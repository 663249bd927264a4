"""What the first screen says of results of other tools, paired by patient."""

from radapt.metrics.comparison import Draws
from radapt.reports.formatting import counted, defined, shown
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.method_comparison import MethodComparison, compare_methods
from radapt.reports.metric_info import metric_of


def foreign_sentences(board: Leaderboard, metric: str, best: LeaderboardRow) -> str:
    """The verdict on the method `best` against each other tool that has the metric; '' without any, and on val."""
    if board.is_selection_split or board.is_part:
        return ""
    rows = [row for row in board.foreign.get(metric, ()) if defined(row.value)]
    return " ".join(_sentence(board, metric, best, row) for row in rows)


def _sentence(board: Leaderboard, metric: str, best: LeaderboardRow, row: LeaderboardRow) -> str:
    margin = row.method.cells[0].foreign.get("margin")
    name = row.method.phrase
    if not all(cell.predictions is not None for cell in best.method.cells):
        return f"Not compared with {name}: the predictions of {best.method.phrase} are not stored."
    draws = Draws(margin=None if margin is None else float(margin))
    one = compare_methods(board, metric, [(best, row)], draws=draws)[0]
    found = one.difference
    numbers = f"[{shown(found.ci_low)}, {shown(found.ci_high)}], {counted(found.n_patients, board.unit)}"
    return f"{verdict_words(one, name, draws.margin)}: {metric_of(metric).title} {shown(found.difference)} {numbers}."


def verdict_words(one: MethodComparison, name: str, margin: float | None) -> str:
    """The verdict on the first method against the one called `name`."""
    within = "" if margin is None else f"{margin:g}"
    return {
        "better": f"Better than {name}",
        "worse": f"Worse than {name}",
        "equivalent": f"Equivalent to {name} within {within}",
        "non-inferior": f"Non-inferior to {name} at {within}",
        "undecided": f"Neither better nor worse than {name}"
        + (f", and not shown to be non-inferior at {within}" if within else ""),
    }[one.verdict]
