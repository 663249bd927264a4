"""Who stands where: the cells of one contestant summed up over seeds and repeats, per cohort, aim and test set.

A contestant's number is the mean over its cells; its interval is the mean of theirs, which says how sure the test
patients make us; how far the cells themselves lie apart is kept beside it and never mixed in. If any of its cells is
undefined, so is the mean: averaging over the cells that happened to work would reward failing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import pandas as pd

from radapt.reports.methods import Method, contestants, without_few
from radapt.reports.numbers import DASH, counted, defined, metric_of, ordered, shown
from radapt.reports.run_folder import Facts, Run

CHOOSING = ("train", "val")
AIMS = ("classification", "segmentation")
COUNTS = ("n_patients", "n_scored", "n_unscored", "n_undefined")


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
class LeaderboardRow:
    """One contestant's number on one test set: NaN where it is undefined or no cell is done."""

    contestant: Method
    rows: tuple[Row, ...]  # one per done cell, in the order of the cells
    digits: int = 3

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
                f"{counted(self.done - lost, self.unit)}: {shown(low, self.digits)} to {shown(high, self.digits)}, "
                f"SD {shown(deviation, self.digits)}"
            )
        if 0 < lost < self.done:
            parts.append(f"undefined for {lost} of {counted(self.done, self.unit)}, so no mean is given")
        if 0 < self.done < planned:
            parts.append(f"{self.done} of {planned} done")
        return "; ".join(parts)


@dataclass(frozen=True)
class Leaderboard:
    """The standings on one test set of one cohort, for every metric of one aim."""

    cohort: str
    split: str
    metrics: Mapping[str, tuple[LeaderboardRow, ...]]
    by_class: Mapping[str, Mapping[str, tuple[LeaderboardRow, ...]]]  # family -> class -> standings
    facts: Facts  # of the split, from cohort.json
    aim: str = "classification"

    @property
    def choosing(self) -> bool:
        """Choices were made on this split, so its numbers are too good."""
        return self.split in CHOOSING

    @property
    def primary(self) -> str | None:
        """The metric that leads, whether or not it is defined here: another one in its place would mislead."""
        return next(iter(self.metrics), None)

    def reason(self, standing: LeaderboardRow) -> str:
        """Why a number is undefined, or what was left out of a defined one; empty if nothing was."""
        if standing.done == 0:
            return ""
        if defined(standing.value):
            count, of = max(row.n_undefined for row in standing.rows), self._outputs
            return f"mean over {of - count} of {of}; {count} undefined" if 0 < count < of else ""
        return f"undefined: {_why(self.facts) if self.aim == 'classification' else _why_no_mask(self.facts)}"

    @property
    def _outputs(self) -> int:
        """How many classes, findings or structures a number of this board is at most a mean over."""
        if self.aim == "classification":
            return len(self.facts.get("outputs") or ())
        return max((len(members) for members in self.by_class.values()), default=0)


def boards(run: Run) -> tuple[Leaderboard, ...]:
    """A board for each aim and test set of each cohort that has numbers; splits that chose come last of their aim.

    Contestants that learned from few labels are left to the learning curves where others learned from all.
    """
    known, rows = contestants(run), rows_of(run.results)
    found = []
    for cohort, aim in product(sorted({one.cohort for one in known}), AIMS):
        own = without_few(one for one in known if (one.cohort, one.aim) == (cohort, aim))
        ids = {cell.id for one in own for cell in one.cells}
        splits = {split for split, _, cell in rows if cell in ids}
        for split in sorted(splits, key=split_order):
            names = {metric for place, metric, cell in rows if place == split and cell in ids}
            found.append(_board(aim, split, names, own, rows, run.cohorts.get(cohort) or {}))
    return tuple(found)


Rows = Mapping[tuple[str, str, str], Row]  # by split, metric and cell


def rows_of(results: pd.DataFrame) -> Rows:
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


def _board(aim: str, split: str, names: set[str], own: list[Method], rows: Rows, cohort: Facts) -> Leaderboard:
    facts = (cohort.get("splits") or {}).get(split) or {}
    members = [*(facts.get("outputs") or ()), *(cohort.get("mask_labels") or {}).values()]

    def standings(metric: str) -> tuple[LeaderboardRow, ...]:
        found = ((one, [rows.get((split, metric, cell.id)) for cell in one.cells]) for one in own)
        digits = metric_of(metric).digits
        return ranked(metric, (LeaderboardRow(one, tuple(row for row in its if row), digits) for one, its in found))

    families: dict[str, dict[str, tuple[LeaderboardRow, ...]]] = {}
    for name in _class_order(names, members):
        family, _, member = name.partition(":")
        families.setdefault(family, {})[member] = standings(name)
    metrics = {name: standings(name) for name in ordered(names)}
    by_class = {name: families[name] for name in ordered(set(families))}
    return Leaderboard(own[0].cohort, split, metrics, by_class, facts, aim)


def _class_order(names: set[str], outputs: list[str]) -> list[str]:
    """Metrics of one class or structure each, in the cohort's order."""
    place = {str(name): index for index, name in enumerate(outputs)}
    own = [name for name in names if ":" in name]
    return sorted(own, key=lambda name: (place.get(name.partition(":")[2], len(place)), name))


def ranked(metric: str, standings: Iterable[LeaderboardRow]) -> tuple[LeaderboardRow, ...]:
    """Best first; undefined ones, then those with nothing done, at the end in the order of their names."""
    loss = metric_of(metric).loss

    def place(standing: LeaderboardRow) -> tuple[int, float, str]:
        if defined(standing.value):
            return (0, loss(standing.value), standing.contestant.name)
        return (1 if standing.done else 2, 0.0, standing.contestant.name)

    return tuple(sorted(standings, key=place))


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


def _why_no_mask(facts: Facts) -> str:
    if facts.get("masked") == 0:
        return "no case here has a mask"
    return "the cases here do not have what it asks for"
