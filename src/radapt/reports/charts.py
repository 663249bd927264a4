"""What the page's script draws: plain numbers, no layout."""

from collections.abc import Iterable, Mapping
from typing import Any

from radapt.reports.curves import Judged, reliability, roc_lines
from radapt.reports.leaderboard import Leaderboard, Row
from radapt.reports.methods import Method
from radapt.reports.numbers import defined, metric_of


def forest(boards: Iterable[Leaderboard]) -> dict[str, Any]:
    """Every cell of a cohort with its interval: {metrics, rows, sets: [{split, points}]}.

    A point is [row, metric, value, low, high, what differs]; the rows are the contestants, the best of the
    first test set first.
    """
    boards = [board for board in boards if not board.choosing]
    order: dict[str, Method] = {}
    for board in boards:
        for standing in board.metrics.get(board.primary or "", ()):
            order.setdefault(standing.contestant.key, standing.contestant)
    place = {key: index for index, key in enumerate(order)}
    sets = [{"split": board.split, "points": _points(board, place)} for board in boards]
    return {
        "rows": [{"backbone": one.backbone, "method": one.method} for one in order.values()],
        "sets": [entry for entry in sets if entry["points"]],
    }


def _points(board: Leaderboard, place: Mapping[str, int]) -> list[list[Any]]:
    return [
        [place[standing.contestant.key], metric, *map(_number, (row.value, row.ci_low, row.ci_high)), _tag(row)]
        for metric, standings in board.metrics.items()
        for standing in standings
        for row in standing.rows
        if defined(row.value)
    ]


def _tag(row: Row) -> str:
    """What tells the cells of one contestant apart."""
    named = (("seed", row.seed), ("repeat", row.repeat))
    return ", ".join(f"{name} {number}" for name, number in named if number is not None)


def rocs(sets: Mapping[str, tuple[Judged, ...]]) -> list[dict[str, Any]]:
    """ROC curves per test set: [{split, models: [{name, tag, lines}]}]; test sets without any are left out."""
    found = []
    for split, models in sets.items():
        lines = [{**_model(one), "lines": roc_lines(one)} for one in models]
        lines = [model for model in lines if model["lines"]]
        if lines:
            found.append({"split": split, "models": lines})
    return found


def reliabilities(sets: Mapping[str, tuple[Judged, ...]]) -> list[dict[str, Any]]:
    """Reliability bins per test set: [{split, models: [{name, tag, bins}]}]."""
    found = []
    for split, models in sets.items():
        bins = [{**_model(one), "bins": reliability(one)} for one in models]
        bins = [model for model in bins if model["bins"]]
        if bins:
            found.append({"split": split, "models": bins})
    return found


def metric_facts(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What the script needs to know of each metric."""
    known = {name: metric_of(name) for name in names}
    return {
        name: {
            "title": metric.title,
            "chance": metric.chance,
            "smaller": metric.smaller_is_better,
            "digits": metric.digits,
        }
        for name, metric in known.items()
    }


def _model(one: Judged) -> dict[str, str]:
    several = len(one.contestant.cells) > 1
    seed = one.cell.facts.get("seed")
    return {"name": one.contestant.name, "tag": f"seed {seed}" if several and seed is not None else ""}


def _number(value: float) -> float | None:
    return round(value, 6) if defined(value) else None
