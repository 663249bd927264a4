"""The training cost of each method: trained parameters, memory and time, beside its score."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from radapt.reports.formatting import DASH, defined, duration
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.methods import Method
from radapt.reports.run_folder import Run

COLUMNS = ("trained_parameters", "trained_share", "peak_memory_mb", "minutes")


@dataclass(frozen=True)
class MethodCost:
    """The cost of fitting one method, as the mean over its cells; NaN where the protocol measures none.

    `trained_share` is a share of the whole model, a frozen encoder included. `row` is its row on the first test set.
    """

    method: Method
    trained_parameters: float
    trained_share: float
    peak_memory_mb: float
    minutes: float
    row: LeaderboardRow | None

    @property
    def trained(self) -> str:
        count = self.trained_parameters
        if not defined(count):
            return DASH
        return f"{count / 1e6:,.2f} million" if count >= 1e5 else f"{count:,.0f}"

    @property
    def share(self) -> str:
        """In percent, with three significant digits."""
        if not defined(self.trained_share):
            return DASH
        return f"{100 * self.trained_share:.3g} %"

    @property
    def memory(self) -> str:
        megabytes = self.peak_memory_mb
        if not defined(megabytes):
            return DASH
        return f"{megabytes:,.0f} MB" if megabytes < 10_000 else f"{megabytes / 1000:,.1f} GB"

    @property
    def time(self) -> str:
        return duration(60 * self.minutes)


def method_costs(run: Run, methods: Iterable[Method], tests: Sequence[Leaderboard]) -> tuple[MethodCost, ...]:
    """One row per method with a measured cost, in the order of the first test set.

    Methods of learning curves are left out, because their cost depends on the number of labels.
    """
    cells = run.results.drop_duplicates("cell").set_index("cell")[list(COLUMNS)].astype(float)
    board = tests[0] if tests else None
    rows = {row.method.key: row for row in (board.metrics.get(board.primary or "", ()) if board else ())}
    costs = []
    for method in methods:
        measured = cells.loc[[cell.id for cell in method.cells if cell.id in cells.index]]
        if not method.few_labels and len(measured) and bool(measured.notna().any(axis=None)):
            means = {name: _mean(measured[name].to_numpy()) for name in COLUMNS}
            costs.append(MethodCost(method, **means, row=rows.get(method.key)))
    rank = {key: index for index, key in enumerate(rows)}
    return tuple(sorted(costs, key=lambda cost: rank.get(cost.method.key, len(rank))))


def _mean(values: np.ndarray) -> float:
    measured = values[~np.isnan(values)]
    return float(measured.mean()) if len(measured) else float("nan")
