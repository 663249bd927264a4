"""Data for the plots that the page's script draws: plain numbers, no layout."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from radapt.reports.cell_scores import CellScore
from radapt.reports.classification_curves import ClassificationPredictions, reliability, roc_lines
from radapt.reports.formatting import defined
from radapt.reports.leaderboard import Leaderboard
from radapt.reports.methods import Method
from radapt.reports.metric_info import metric_of


def forest_plot(boards: Iterable[Leaderboard]) -> dict[str, Any]:
    """Every cell of a cohort with its interval: {rows, sets: [{split, points}]}.

    A point is [row, metric, value, low, high, seed and repeat]. The rows are the methods, in the order of the first
    test set.
    """
    boards = [board for board in boards if not board.is_selection_split]
    methods: dict[str, Method] = {}
    for board in boards:
        for row in board.metrics.get(board.primary or "", ()):
            methods.setdefault(row.method.key, row.method)
    position = {key: index for index, key in enumerate(methods)}
    sets = [{"split": board.split, "points": _points(board, position)} for board in boards]
    return {
        "rows": [{"backbone": method.backbone, "method": method.protocol_and_size} for method in methods.values()],
        "sets": [entry for entry in sets if entry["points"]],
    }


def _points(board: Leaderboard, position: Mapping[str, int]) -> list[list[Any]]:
    return [
        [position[row.method.key], metric, *map(_number, (score.value, score.ci_low, score.ci_high)), _tag(score)]
        for metric, rows in board.metrics.items()
        for row in rows
        for score in row.scores
        if defined(score.value)
    ]


def _tag(score: CellScore) -> str:
    """Seed and repeat, which tell the cells of one method apart."""
    named = (("seed", score.seed), ("repeat", score.repeat))
    return ", ".join(f"{name} {number}" for name, number in named if number is not None)


PredictionSets = Mapping[str, tuple[ClassificationPredictions, ...]]
"""The predictions of the best methods, by test set."""


def roc_plots(sets: PredictionSets) -> list[dict[str, Any]]:
    """ROC curves per test set: [{split, models: [{name, tag, lines}]}]; test sets without any are left out."""
    return _per_test_set(sets, "lines", roc_lines)


def reliability_plots(sets: PredictionSets) -> list[dict[str, Any]]:
    """Reliability bins per test set: [{split, models: [{name, tag, bins}]}]; test sets without any are left out."""
    return _per_test_set(sets, "bins", reliability)


def _per_test_set(
    sets: PredictionSets, key: str, drawn: Callable[[ClassificationPredictions], Any]
) -> list[dict[str, Any]]:
    plots = []
    for split, predictions in sets.items():
        models = [{**_model(own), key: drawn(own)} for own in predictions]
        models = [model for model in models if model[key]]
        if models:
            plots.append({"split": split, "models": models})
    return plots


def metric_facts(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The facts about each metric that the script needs."""
    metrics = {name: metric_of(name) for name in names}
    return {
        name: {
            "title": metric.title,
            "chance": metric.chance,
            "smaller": metric.smaller_is_better,
            "digits": metric.digits,
        }
        for name, metric in metrics.items()
    }


def _model(predictions: ClassificationPredictions) -> dict[str, str]:
    several = len(predictions.method.cells) > 1
    seed = predictions.cell.facts.get("seed")
    return {"name": predictions.method.name, "tag": f"seed {seed}" if several and seed is not None else ""}


def _number(value: float) -> float | None:
    return round(value, 6) if defined(value) else None
