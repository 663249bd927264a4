"""Who stands where: the cells of one contestant summed up over seeds and repeats, per cohort and test set.

A contestant is all that differs in nothing but seed and repeat. Its number is the mean over its cells; its
interval is the mean of theirs, which says how sure the test patients make us; how far the cells themselves lie
apart is kept beside it and never mixed in. If any of its cells is undefined, so is the mean: averaging over the
cells that happened to work would reward failing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from radapt.digests import digest
from radapt.reports.numbers import DASH, counted, defined, metric_of, ordered, shown
from radapt.reports.run_folder import Cell, Facts, Run

CHOOSING = ("train", "val")
COUNTS = ("n_patients", "n_scored", "n_unscored", "n_undefined")


@dataclass(frozen=True)
class Contestant:
    """A backbone with a protocol (and shots) on a cohort, and its cells over seeds and repeats."""

    key: str
    cohort: str
    backbone: str
    protocol: str
    shots: int | None
    cells: tuple[Cell, ...]

    @property
    def method(self) -> str:
        """The protocol, with the number of shots where there is one."""
        return self.protocol if self.shots is None else f"{self.protocol}, {counted(self.shots, 'shot')}"

    @property
    def name(self) -> str:
        return f"{self.backbone} · {self.method}"

    def count(self, state: str) -> int:
        return sum(cell.state == state for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Row:
    """One cell's number: a row of `results.parquet`. NaN where undefined; a count is 0 where the table has none."""

    cell: str
    seed: int | None
    repeat: int | None
    value: float
    ci_low: float
    ci_high: float
    n_patients: int
    n_scored: int
    n_unscored: int
    n_undefined: int


@dataclass(frozen=True)
class Standing:
    """One contestant's number on one test set: NaN where it is undefined or no cell is done."""

    contestant: Contestant
    rows: tuple[Row, ...]  # one per done cell, in the order of the cells

    @cached_property
    def value(self) -> float:
        return _mean([row.value for row in self.rows])

    @cached_property
    def ci_low(self) -> float:
        return _mean([row.ci_low for row in self.rows])

    @cached_property
    def ci_high(self) -> float:
        return _mean([row.ci_high for row in self.rows])

    @property
    def has_interval(self) -> bool:
        return defined(self.ci_low) and defined(self.ci_high)

    @property
    def done(self) -> int:
        return len(self.rows)

    def counts(self, name: str) -> str:
        """A count over the cells: one number, or the range where seeds differ."""
        found = sorted({getattr(row, name) for row in self.rows})
        if not found:
            return DASH
        return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,}–{found[-1]:,}"

    @cached_property
    def spread(self) -> tuple[float, float, float] | None:
        """Smallest, largest and standard deviation (n - 1) of the defined cells, None for fewer than two."""
        values = [row.value for row in self.rows if defined(row.value)]
        return None if len(values) < 2 else (min(values), max(values), float(np.std(values, ddof=1)))

    @property
    def unit(self) -> str:
        """What the cells of this contestant differ in."""
        if len({row.repeat for row in self.rows}) < 2:
            return "seed"
        return "repeat" if len({row.seed for row in self.rows}) < 2 else "run"

    @property
    def spread_words(self) -> str:
        """How far the seeds lie apart, and which of them are missing; empty for one cell that is done."""
        parts = []
        planned, lost = len(self.contestant.cells), sum(not defined(row.value) for row in self.rows)
        if self.spread is not None:
            low, high, deviation = self.spread
            parts.append(
                f"{counted(self.done - lost, self.unit)}: {shown(low)} to {shown(high)}, SD {shown(deviation)}"
            )
        if 0 < lost < self.done:
            parts.append(f"undefined for {lost} of {counted(self.done, self.unit)}, so no mean is given")
        if 0 < self.done < planned:
            parts.append(f"{self.done} of {planned} done")
        return "; ".join(parts)


@dataclass(frozen=True)
class Board:
    """The standings on one test set of one cohort, for every metric."""

    cohort: str
    split: str
    metrics: Mapping[str, tuple[Standing, ...]]
    by_class: Mapping[str, Mapping[str, tuple[Standing, ...]]]  # family -> class -> standings
    facts: Facts  # of the split, from cohort.json

    @property
    def choosing(self) -> bool:
        """Choices were made on this split, so its numbers are too good."""
        return self.split in CHOOSING

    @property
    def primary(self) -> str | None:
        """The metric that leads, whether or not it is defined here: another one in its place would mislead."""
        return next(iter(self.metrics), None)

    def reason(self, standing: Standing) -> str:
        """Why a number is undefined, or what was left out of a defined one; empty if nothing was."""
        if standing.done == 0:
            return ""
        if defined(standing.value):
            count, of = max(row.n_undefined for row in standing.rows), len(self.facts.get("outputs") or ())
            return f"mean over {of - count} of {of}; {count} undefined" if 0 < count < of else ""
        return f"undefined: {_why(self.facts)}"


def contestants(run: Run) -> tuple[Contestant, ...]:
    """Every contestant of the run, in the order of its names, with its cells by seed and repeat."""
    groups: dict[str, list[Cell]] = {}
    for cell in run.cells:
        groups.setdefault(_key(cell), []).append(cell)
    found = []
    for key, cells in groups.items():
        first = cells[0]
        shots = first.facts.get("shots")
        found.append(
            Contestant(
                key=key,
                cohort=first.cohort,
                backbone=first.backbone,
                protocol=first.protocol,
                shots=None if shots is None else int(shots),
                cells=tuple(sorted(cells, key=lambda cell: cell.order)),
            )
        )
    return tuple(sorted(found, key=lambda one: (one.cohort, one.backbone, one.protocol, one.shots or 0, one.key)))


def boards(run: Run) -> tuple[Board, ...]:
    """A board for each test set of each cohort that has numbers; splits that chose come last in their cohort."""
    known, rows = contestants(run), _rows(run.results)
    found = []
    for cohort in sorted({one.cohort for one in known}):
        own = [one for one in known if one.cohort == cohort]
        ids = {cell.id for one in own for cell in one.cells}
        splits = {split for split, _, cell in rows if cell in ids}
        for split in sorted(splits, key=split_order):
            facts = ((run.cohorts.get(cohort) or {}).get("splits") or {}).get(split) or {}
            names = {metric for place, metric, cell in rows if place == split and cell in ids}
            found.append(_board(cohort, split, names, own, rows, facts))
    return tuple(found)


_Rows = Mapping[tuple[str, str, str], Row]  # by split, metric and cell


def _rows(results: pd.DataFrame) -> _Rows:
    """Every row of the results, in one pass: asking a table for each number again would take seconds."""
    names = ("split", "metric", "cell", "seed", "repeat", "value", "ci_low", "ci_high", *COUNTS)
    columns = [results[name].astype(object).where(results[name].notna(), None).tolist() for name in names]
    found = {}
    for split, metric, cell, seed, repeat, value, low, high, *counts in zip(*columns, strict=True):
        numbers = [float("nan") if number is None else float(number) for number in (value, low, high)]
        which = [None if number is None else int(number) for number in (seed, repeat)]
        row = Row(str(cell), *which, *numbers, *(int(count or 0) for count in counts))  # type: ignore[arg-type]
        found[str(split), str(metric), str(cell)] = row
    return found


def split_order(split: str) -> tuple[int, str]:
    """`test` first, other test sets by name, then the splits choices were made on."""
    return (2 if split in CHOOSING else 0 if split == "test" else 1, split)


def _board(cohort: str, split: str, names: set[str], own: list[Contestant], rows: _Rows, facts: Facts) -> Board:
    def standings(metric: str) -> tuple[Standing, ...]:
        found = ((one, (rows.get((split, metric, cell.id)) for cell in one.cells)) for one in own)
        return ranked(metric, (Standing(one, tuple(row for row in its if row is not None)) for one, its in found))

    families: dict[str, dict[str, tuple[Standing, ...]]] = {}
    for name in _class_order(names, list(facts.get("outputs") or ())):
        family, _, member = name.partition(":")
        families.setdefault(family, {})[member] = standings(name)
    metrics = {name: standings(name) for name in ordered(names)}
    return Board(cohort, split, metrics, {name: families[name] for name in ordered(set(families))}, facts)


def _class_order(names: set[str], outputs: list[str]) -> list[str]:
    """Per-class metrics in the cohort's order of classes."""
    place = {str(name): index for index, name in enumerate(outputs)}
    own = [name for name in names if ":" in name]
    return sorted(own, key=lambda name: (place.get(name.partition(":")[2], len(place)), name))


def ranked(metric: str, standings: Iterable[Standing]) -> tuple[Standing, ...]:
    """Best first; undefined ones, then those with nothing done, at the end in the order of their names."""
    sign = 1.0 if metric_of(metric).smaller_is_better else -1.0

    def place(standing: Standing) -> tuple[int, float, str]:
        if defined(standing.value):
            return (0, sign * standing.value, standing.contestant.name)
        return (1 if standing.done else 2, 0.0, standing.contestant.name)

    return tuple(sorted(standings, key=place))


def _key(cell: Cell) -> str:
    """What makes two cells the same contestant: everything but seed and repeat."""
    names = ("cohort", "backbone", "protocol", "options", "label", "shots", "image", "pooling")
    return digest({name: cell.facts.get(name) for name in names})


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _why(facts: Facts) -> str:
    """The reason a ranking number has none on this split, read off the split's counts."""
    outputs = facts.get("outputs") or {}
    if facts.get("labelled") == 0:
        return "no case here is labelled"
    positive = [name for name, counts in outputs.items() if (counts or {}).get("positive")]
    if outputs and len(positive) == 1 and len(outputs) > 1:
        return f"every labelled case here is {positive[0]!r}"
    if outputs and all(not ((c or {}).get("positive") and (c or {}).get("negative")) for c in outputs.values()):
        return "no class or finding has both positive and negative cases here"
    return "the cases here do not determine it"
