"""The training of an adaptation as small line plots, from its `adapt.json`: losses and collapse checks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from radapt.reports.formatting import MINUS
from radapt.reports.methods import Method
from radapt.reports.run_folder import CellRecord, Facts

WIDTH, HEIGHT = 100, 40
"""Size of a plot in its own units; the page stretches it."""
MOST_POINTS = 240
MOST_METHODS = 8
_TITLES = {
    "loss": "Loss",
    "lr": "Learning rate",
    "score": "Validation score",
    "dino": "DINO",
    "ibot": "iBOT",
    "koleo": "KoLeo",
    "lesion": "Lesion patches",
    "supervised": "Supervised",
    "consistency": "Consistency",
    "rank": "Effective rank of features",
    "spread": "Spread of features",
    "information": "Mutual information of image and prototype",
    "teacher_entropy": "Entropy of the teacher",
    "knn": "kNN accuracy on labelled training cases",
}
_NOT_DRAWN = ("epoch", "step", "good")


@dataclass(frozen=True)
class StepSeries:
    """One quantity over the training steps. `lines` are stretches without gaps, as SVG points."""

    title: str
    lines: tuple[str, ...]
    first: str
    last: str
    low: str
    high: str


@dataclass(frozen=True)
class TrainingHistory:
    """The training of one adaptation.

    `stopped` says why training stopped early, or is empty. `restored_at` is then the x position (0 to `WIDTH`) of the
    last good step, from which the weights were restored.
    """

    facts: Facts
    losses: tuple[StepSeries, ...]
    checks: tuple[StepSeries, ...]
    steps: int
    stopped: str
    good_step: int
    restored_at: float | None

    @property
    def notes(self) -> list[str]:
        return [str(note) for note in self.facts.get("notes") or ()]


def training_history(facts: Facts) -> TrainingHistory:
    """The training that an `adapt.json` describes; missing entries are left out."""
    trained = facts.get("trained") or {}
    history, checks = list(trained.get("history") or ()), list(trained.get("checks") or ())
    last = max([1, *(int(entry.get("step") or 0) for entry in [*history, *checks])])
    stopped = str(trained.get("stopped") or "")
    good_step = int(trained.get("good_step") or 0)
    return TrainingHistory(
        facts=facts,
        losses=_all_series(history, last),
        checks=_all_series(checks, last),
        steps=int(trained.get("steps") or last),
        stopped=stopped,
        good_step=good_step,
        restored_at=_x(good_step, last) if stopped else None,
    )


def training_histories(methods: Sequence[Method]) -> tuple[tuple[Method, CellRecord, TrainingHistory], ...]:
    """The first adapted cell of each method, for at most `MOST_METHODS` methods."""
    histories = []
    for method in methods:
        cell = next((cell for cell in method.cells if cell.adaptation is not None), None)
        if cell is not None and cell.adaptation is not None:
            histories.append((method, cell, training_history(cell.adaptation)))
    return tuple(histories[:MOST_METHODS])


def _all_series(entries: Sequence[Mapping[str, Any]], last: int) -> tuple[StepSeries, ...]:
    names = dict.fromkeys(name for entry in entries for name in entry if name not in _NOT_DRAWN)
    series = (
        _series(name, [(int(entry.get("step") or 0), entry.get(name)) for entry in entries], last) for name in names
    )
    return tuple(drawn for drawn in series if drawn is not None)


def _series(name: str, points: Sequence[tuple[int, Any]], last: int) -> StepSeries | None:
    values = [float(value) for _, value in points if _is_number(value)]
    if not values:
        return None
    low, high = min(values), max(values)
    every = max(1, math.ceil(len(points) / MOST_POINTS))
    lines: list[list[str]] = [[]]
    for index, (step, value) in enumerate(points):
        if not _is_number(value):
            lines.append([])
        elif index % every == 0 or index == len(points) - 1:
            lines[-1].append(f"{_x(step, last)},{_y(float(value), low, high)}")
    title = _TITLES.get(name, name.replace("_", " "))
    labels = (_short(number) for number in (values[0], values[-1], low, high))
    return StepSeries(title, tuple(" ".join(line) for line in lines if line), *labels)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _x(step: int, last: int) -> float:
    return round(WIDTH * step / last, 2)


def _y(value: float, low: float, high: float) -> float:
    return round(HEIGHT * (1 - (value - low) / (high - low)), 2) if high > low else HEIGHT / 2


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", MINUS)
