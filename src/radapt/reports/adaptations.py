"""How an adaptation went, from the `adapt.json` it left: its losses, the checks of its health, what it was made of."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from radapt.reports.methods import Method
from radapt.reports.numbers import MINUS
from radapt.reports.run_folder import Cell, Facts

WIDTH, HEIGHT = 100, 40
"""Of a drawing, in its own units; the page stretches it."""
MOST_POINTS = 240
MOST_CONTESTANTS = 8
_TITLES = {
    "loss": "Loss",
    "lr": "Learning rate",
    "score": "Score on val",
    "dino": "DINO",
    "ibot": "iBOT",
    "koleo": "KoLeo",
    "lesion": "Lesions",
    "supervised": "Labels",
    "consistency": "Consistency",
    "rank": "Effective rank of features",
    "spread": "Spread of features",
    "information": "What the teacher tells of an image",
    "teacher_entropy": "Indecision of the teacher",
    "knn": "kNN accuracy on labelled training cases",
}
_NOT_DRAWN = ("epoch", "step", "good")


@dataclass(frozen=True)
class Series:
    """One number over the steps: `lines` are stretches without gaps, as SVG points; `marks` are places of steps that
    matter."""

    title: str
    lines: tuple[str, ...]
    first: str
    last: str
    low: str
    high: str


@dataclass(frozen=True)
class Adaptation:
    """What a page shows. `back` and `end` are places (0 to `WIDTH`) of the last good step and of the last one, where
    training stopped for its health."""

    facts: Facts
    losses: tuple[Series, ...]
    health: tuple[Series, ...]
    steps: int
    stopped: str
    good_step: int
    back: float | None

    @property
    def notes(self) -> list[str]:
        return [str(note) for note in self.facts.get("notes") or ()]


def adaptation_of(facts: Facts) -> Adaptation:
    """The adaptation that an `adapt.json` describes; whatever it lacks is left out."""
    trained = facts.get("trained") or {}
    history, checks = list(trained.get("history") or ()), list(trained.get("checks") or ())
    last = max([1, *(int(entry.get("step") or 0) for entry in [*history, *checks])])
    stopped = str(trained.get("stopped") or "")
    good = int(trained.get("good_step") or 0)
    return Adaptation(
        facts=facts,
        losses=_series(history, last),
        health=_series(checks, last),
        steps=int(trained.get("steps") or last),
        stopped=stopped,
        good_step=good,
        back=_across(good, last) if stopped else None,
    )


def adaptations(known: Sequence[Method]) -> tuple[tuple[Method, Cell, Adaptation], ...]:
    """Of each contestant the first cell that was adapted."""
    found = []
    for one in known:
        cell = next((cell for cell in one.cells if cell.adaptation is not None), None)
        if cell is not None and cell.adaptation is not None:
            found.append((one, cell, adaptation_of(cell.adaptation)))
    return tuple(found[:MOST_CONTESTANTS])


def _series(entries: Sequence[Mapping[str, Any]], last: int) -> tuple[Series, ...]:
    names = dict.fromkeys(name for entry in entries for name in entry if name not in _NOT_DRAWN)
    drawn = (_one(name, [(int(entry.get("step") or 0), entry.get(name)) for entry in entries], last) for name in names)
    return tuple(series for series in drawn if series is not None)


def _one(name: str, points: Sequence[tuple[int, Any]], last: int) -> Series | None:
    numbers = [(step, float(value)) for step, value in points if _is_number(value)]
    if not numbers:
        return None
    values = [value for _, value in numbers]
    low, high = min(values), max(values)
    every = max(1, math.ceil(len(points) / MOST_POINTS))
    lines: list[list[str]] = [[]]
    for place, (step, value) in enumerate(points):
        if not _is_number(value):
            lines.append([])
        elif place % every == 0 or place == len(points) - 1:
            lines[-1].append(f"{_across(step, last)},{_up(float(value), low, high)}")
    title = _TITLES.get(name, name.replace("_", " "))
    ends = (_brief(number) for number in (values[0], values[-1], low, high))
    return Series(title, tuple(" ".join(line) for line in lines if line), *ends)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _across(step: int, last: int) -> float:
    return round(WIDTH * step / last, 2)


def _up(value: float, low: float, high: float) -> float:
    return round(HEIGHT * (1 - (value - low) / (high - low)), 2) if high > low else HEIGHT / 2


def _brief(value: float) -> str:
    return f"{value:.3g}".replace("-", MINUS)
