"""The best methods of a test set as a few lines of text, for the end of a run on a terminal."""

from radapt.reports.formatting import interval, shown
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.metric_info import metric_of

_MOST_ROWS = 10
_MOST_METRICS = 3
_LONGEST = 48


def terminal_table(board: Leaderboard) -> str:
    """The methods in their order by the leading metric, with its 95 % interval, and two more metrics.

    '' if nothing is scored. Controls stand below the methods; more than ten rows are counted.
    """
    primary = board.primary
    if primary is None:
        return ""
    names = list(board.metrics)[:_MOST_METRICS]
    cells = {name: {row.method.key: row for row in board.rows_of(name)} for name in names}
    rows = board.rows_of(primary)
    head = ["method", metric_of(primary).title, "95 % interval", *(metric_of(name).title for name in names[1:])]
    lines = [head, *(_line(row, [cells[name].get(row.method.key) for name in names[1:]]) for row in rows[:_MOST_ROWS])]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    title = f"{board.cohort}, {board.title}:"
    more = [f"  and {len(rows) - _MOST_ROWS} more in the report"] if len(rows) > _MOST_ROWS else []
    return "\n".join([title, *(_aligned(line, widths) for line in lines), *more])


def _line(row: LeaderboardRow, others: list[LeaderboardRow | None]) -> list[str]:
    kind = " (control)" if row.method.control else " (other tool)" if row.method.foreign else ""
    kind = " (pretrained on it)" if row.method.contaminated else kind
    name = f"{row.method.phrase}{kind}"
    return [
        name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…",
        shown(row.value, row.digits),
        interval(row.ci_low, row.ci_high, row.digits),
        *("" if other is None else shown(other.value, other.digits) for other in others),
    ]


def _aligned(cells: list[str], widths: list[int]) -> str:
    first, *rest = (
        cell.ljust(width) if at == 0 else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  " + "  ".join([first, *rest]).rstrip()
