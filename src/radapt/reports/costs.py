"""What each way of adapting cost: how much of the model was trained, memory and time, beside what it achieved."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.methods import Method
from radapt.reports.numbers import DASH, defined, lasting
from radapt.reports.run_folder import Run

COLUMNS = ("trained_parameters", "trained_share", "peak_memory_mb", "minutes")


@dataclass(frozen=True)
class Cost:
    """What one contestant's fitting took, as the mean over its cells; NaN where a protocol has nothing to say.

    `trained_share` is of the whole model, a frozen encoder included. `standing` is its number on the first test set.
    """

    contestant: Method
    trained_parameters: float
    trained_share: float
    peak_memory_mb: float
    minutes: float
    standing: LeaderboardRow | None

    @property
    def trained(self) -> str:
        count = self.trained_parameters
        if not defined(count):
            return DASH
        return f"{count / 1e6:,.2f} million" if count >= 1e5 else f"{count:,.0f}"

    @property
    def share(self) -> str:
        """In percent with two digits that say something."""
        if not defined(self.trained_share):
            return DASH
        percent = 100 * self.trained_share
        return f"{percent:.3g} %"

    @property
    def memory(self) -> str:
        megabytes = self.peak_memory_mb
        if not defined(megabytes):
            return DASH
        return f"{megabytes:,.0f} MB" if megabytes < 10_000 else f"{megabytes / 1000:,.1f} GB"

    @property
    def time(self) -> str:
        return lasting(60 * self.minutes)


def costs(run: Run, known: Iterable[Method], tests: Sequence[Leaderboard]) -> tuple[Cost, ...]:
    """One row per contestant with anything to say, in the order of the first test set; empty if nobody has.

    Contestants of learning curves are left out: what they cost depends on the size of a draw.
    """
    cells = run.results.drop_duplicates("cell").set_index("cell")[list(COLUMNS)].astype(float)
    board = tests[0] if tests else None
    order = {one.contestant.key: one for one in (board.metrics.get(board.primary or "", ()) if board else ())}
    found = []
    for one in known:
        own = cells.loc[[cell.id for cell in one.cells if cell.id in cells.index]]
        if not one.few and len(own) and bool(own.notna().any(axis=None)):
            numbers = {name: _mean(own[name].to_numpy()) for name in COLUMNS}
            found.append(Cost(one, **numbers, standing=order.get(one.key)))
    place = {key: index for index, key in enumerate(order)}
    return tuple(sorted(found, key=lambda cost: place.get(cost.contestant.key, len(place))))


def cost_chart(found: Sequence[Cost], tests: Sequence[Leaderboard]) -> list[dict[str, Any]]:
    """Per test set the models whose trained share is known: what the page's script draws.

    A model of no trained parameter is left to the table: it has no place on an axis of powers of ten.
    """
    drawn = [cost for cost in found if cost.trained_share > 0]
    sets = []
    for board in tests:
        models = [_model(cost, board) for cost in drawn]
        models = [model for model in models if model["numbers"]]
        if models:
            sets.append({"split": board.split, "models": models})
    return sets


def _model(cost: Cost, board: Leaderboard) -> dict[str, Any]:
    numbers = {}
    for metric, standings in board.metrics.items():
        for standing in standings:
            if standing.contestant.key == cost.contestant.key and defined(standing.value):
                ends = (standing.value, standing.ci_low, standing.ci_high)
                numbers[metric] = [round(end, 5) if defined(end) else None for end in ends]
    one = cost.contestant
    return {
        "backbone": one.backbone,
        "method": one.method,
        "percent": 100 * cost.trained_share,
        "words": f"{cost.trained} trained ({cost.share}), {cost.memory}, {cost.time}",
        "numbers": numbers,
    }


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
