"""Ranks the methods on each test set, per cohort and aim, averaged over seeds and repeats.

A method's value is the mean over its cells, and its interval the mean of their intervals, which covers the test
patients. The spread between cells is reported beside the interval and never added to it. If one cell is undefined, so
is the mean: averaging over the defined cells would reward failures.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product

import numpy as np

from radapt.metrics.metric import ARGMAX
from radapt.reports.cell_scores import CellScore, Scores, scores_of, spread_of
from radapt.reports.formatting import DASH, counted, defined, shown
from radapt.reports.methods import Method, methods_of, prefer_all_labels, split_controls
from radapt.reports.metric_info import metric_of, ordered
from radapt.reports.run_folder import Facts, Run

SELECTION_SPLITS = ("train", "val")
OUT_OF_FOLD = "oof"
"""The split of a cohort with folds that holds every patient once; `oof:fold=<f>` and `oof:site=<s>` are parts of it."""

AIMS = ("classification", "segmentation")


@dataclass(frozen=True)
class LeaderboardRow:
    """One method's score on one test set; NaN if it is undefined or no cell is done."""

    method: Method
    scores: tuple[CellScore, ...]  # one per done cell, in the order of the cells
    digits: int = 3

    @cached_property
    def value(self) -> float:
        return _mean([score.value for score in self.scores])

    @cached_property
    def ci_low(self) -> float:
        return _mean([score.ci_low for score in self.scores])

    @cached_property
    def ci_high(self) -> float:
        return _mean([score.ci_high for score in self.scores])

    @property
    def has_interval(self) -> bool:
        return defined(self.ci_low) and defined(self.ci_high)

    @property
    def done(self) -> int:
        return len(self.scores)

    def counts(self, name: str) -> str:
        """A count over the cells: one number, or the range if cells differ."""
        counts = sorted({getattr(score, name) for score in self.scores})
        if not counts:
            return DASH
        return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,}–{counts[-1]:,}"

    @cached_property
    def spread(self) -> tuple[float, float, float] | None:
        """Minimum, maximum and standard deviation over the cells."""
        return spread_of(self.scores)

    @property
    def unit(self) -> str:
        """What varies between the cells of this method: "seed", "repeat", or "run" for both."""
        if len({score.repeat for score in self.scores}) < 2:
            return "seed"
        return "repeat" if len({score.seed for score in self.scores}) < 2 else "run"

    @property
    def spread_words(self) -> str:
        """The spread over seeds and the number of missing ones; empty for a single cell that is done."""
        phrases = []
        planned, lost = len(self.method.cells), sum(not defined(score.value) for score in self.scores)
        if self.spread is not None:
            low, high, deviation = self.spread
            phrases.append(
                f"{counted(self.done - lost, self.unit)}: {shown(low, self.digits)} to {shown(high, self.digits)}, "
                f"SD {shown(deviation, self.digits)}"
            )
        if 0 < lost < self.done:
            phrases.append(f"undefined for {lost} of {counted(self.done, self.unit)}, so there is no mean")
        if 0 < self.done < planned:
            phrases.append(f"{self.done} of {planned} done")
        return "; ".join(phrases)


@dataclass(frozen=True)
class Leaderboard:
    """The ranked methods on one test set of one cohort, for every metric of one aim.

    `controls`, and `foreign` rows with results of other tools, are not ranked among them; `skipped_controls` {control,
    reason} could not be run on the cohort.
    """

    cohort: str
    split: str
    metrics: Mapping[str, tuple[LeaderboardRow, ...]]
    by_class: Mapping[str, Mapping[str, tuple[LeaderboardRow, ...]]]  # metric family -> class -> rows
    facts: Facts  # of the split, from cohort.json
    aim: str = "classification"
    cohort_facts: Facts = field(default_factory=dict)
    controls: Mapping[str, tuple[LeaderboardRow, ...]] = field(default_factory=dict)
    skipped_controls: tuple[Facts, ...] = ()
    foreign: Mapping[str, tuple[LeaderboardRow, ...]] = field(default_factory=dict)

    @property
    def is_selection_split(self) -> bool:
        """Whether choices were made on this split, so that its scores are optimistic."""
        return self.split in SELECTION_SPLITS

    @property
    def is_part(self) -> bool:
        """Whether it holds one fold or hospital of another split, and is no test set of its own."""
        return is_part(self.split)

    @property
    def title(self) -> str:
        return split_title(self.split)

    @property
    def where(self) -> str:
        """The split, to follow the name of the cohort in a sentence; empty but for folds."""
        if self.split != OUT_OF_FOLD:
            return ""
        how = (self.cohort_facts.get("folds") or {}).get("how")
        return f"every patient tested once, out of fold{f', {how}' if how else ''}"

    @property
    def unit(self) -> str:
        """What splits and intervals count: `patient`, or `image` where patients are unknown."""
        return str(self.cohort_facts.get("unit") or "patient")

    @property
    def primary(self) -> str | None:
        """The leading metric, even if it is undefined here: replacing it by another one would mislead."""
        return next(iter(self.metrics), None)

    @property
    def control_notes(self) -> list[tuple[str, str]]:
        """(control, note) on what the controls left out, each note once; in how many folds, if not in all."""
        rows = next(iter(self.controls.values()), ())
        return [(row.method.phrase, note) for row in rows for note in notes_of(row.method)]

    def rows_of(self, metric: str) -> tuple[LeaderboardRow, ...]:
        """The rows of the methods, of the controls and of other tools."""
        return (*self.metrics.get(metric, ()), *self.controls.get(metric, ()), *self.foreign.get(metric, ()))

    def reason(self, row: LeaderboardRow) -> str:
        """Why a score is undefined, or what a defined one leaves out; empty if neither applies."""
        if row.done == 0:
            return ""
        if defined(row.value):
            undefined, outputs = max(score.n_undefined for score in row.scores), self._outputs
            if not 0 < undefined < outputs:
                return ""
            return f"mean over {outputs - undefined} of {outputs}; {undefined} undefined"
        classifies = self.aim == "classification"
        return f"undefined: {_why_undefined(self.facts) if classifies else _why_no_mask(self.facts)}"

    @property
    def _outputs(self) -> int:
        """The number of classes, findings or structures that a mean covers at most."""
        if self.aim == "classification":
            return len(self.facts.get("outputs") or ())
        return max((len(members) for members in self.by_class.values()), default=0)


def leaderboards(run: Run) -> tuple[Leaderboard, ...]:
    """A leaderboard for each aim and split of each cohort that has scores; train and val come last of their aim.

    Where some methods were trained on all labels, those with few labels appear in the learning curves only.
    """
    methods, scores = methods_of(run), scores_of(run.results)
    boards = []
    for cohort, aim in product(sorted({method.cohort for method in methods}), AIMS):
        own = [method for method in methods if (method.cohort, method.aim) == (cohort, aim)]
        compared, controls = split_controls(own)
        compared = prefer_all_labels(compared)
        foreign = [method for method in own if method.foreign]
        ids = {cell.id for method in (*compared, *controls) for cell in method.cells}
        skipped = tuple(each for each in run.skipped_controls if each.get("cohort") == cohort)
        splits = {split for split, _, cell in scores if cell in ids}
        for split in sorted(splits, key=split_order):
            names = {metric for scored, metric, cell in scores if scored == split and cell in ids}
            board = _leaderboard(aim, split, names, compared, controls, scores, run.cohorts.get(cohort) or {})
            boards.append(
                replace(
                    board,
                    skipped_controls=skipped if aim == "classification" else (),
                    foreign=_foreign_rows(board, foreign, scores),
                )
            )
    return tuple(boards)


def is_part(split: str) -> bool:
    """Whether a split is one fold or hospital of `oof`."""
    return split.startswith(f"{OUT_OF_FOLD}:")


def split_title(split: str) -> str:
    """The name of a split for readers."""
    if split == OUT_OF_FOLD:
        return "out of fold"
    return split.removeprefix(f"{OUT_OF_FOLD}:").replace("=", " ", 1) if is_part(split) else split


def placed(split: str) -> str:
    """`on test`, or `out of fold`, inside a sentence."""
    return split_title(split) if split == OUT_OF_FOLD else f"on {split_title(split)}"


def split_order(split: str) -> tuple[int, str]:
    """Sort key: `test` first, other test sets by name, then train and val."""
    return (2 if split in SELECTION_SPLITS else 0 if split == "test" else 1, split)


def _foreign_rows(
    board: Leaderboard, methods: Sequence[Method], scores: Scores
) -> dict[str, tuple[LeaderboardRow, ...]]:
    """By metric, the rows of other tools that have results on the test set of the board."""
    there = [
        method
        for method in methods
        if any(split == board.split and cell == method.cells[0].id for split, _, cell in scores)
    ]
    return {
        name: ranked(
            name,
            (
                LeaderboardRow(method, (score,) if score else (), metric_of(name).digits)
                for method in there
                for score in [scores.get((board.split, name, method.cells[0].id))]
            ),
        )
        for name in (board.metrics if there else ())
    }


def _leaderboard(
    aim: str,
    split: str,
    names: set[str],
    methods: list[Method],
    controls: list[Method],
    scores: Scores,
    cohort: Facts,
) -> Leaderboard:
    facts = {**(cohort.get("splits") or {}), **(cohort.get("parts") or {})}.get(split) or {}
    members = [*(facts.get("outputs") or ()), *(cohort.get("mask_labels") or {}).values()]

    def rows(metric: str, methods: list[Method]) -> tuple[LeaderboardRow, ...]:
        digits = metric_of(metric).digits
        same = metric.replace(ARGMAX, "")  # what a model decides for is the most probable class where no row says else
        own = [
            (
                method,
                [scores.get((split, metric, cell.id)) or scores.get((split, same, cell.id)) for cell in method.cells],
            )
            for method in methods
        ]
        return ranked(metric, (LeaderboardRow(method, tuple(filter(None, done)), digits) for method, done in own))

    families: dict[str, dict[str, tuple[LeaderboardRow, ...]]] = {}
    for name in _class_order(names, members):
        family, _, member = name.partition(":")
        families.setdefault(family, {})[member] = rows(name, methods)
    metrics = {name: rows(name, methods) for name in ordered(names)}
    beside = {name: rows(name, controls) for name in ordered(names)} if controls else {}
    by_class = {name: families[name] for name in ordered(set(families))}
    return Leaderboard(methods[0].cohort, split, metrics, by_class, facts, aim, cohort, beside)


def notes_of(method: Method) -> list[str]:
    """The notes of a method's fits but for how choices were made, each once; in how many folds, if not in all."""
    fits = [fit for cell in method.cells for fit in (cell.facts.get("fit"), *(cell.facts.get("folds") or {}).values())]
    said = [tuple(fit.get("notes") or ()) for fit in fits if fit]
    counts = Counter(note for notes in said for note in notes if not note.startswith("Chosen by"))
    return [
        note if count == len(said) else f"{note} (In {count} of {len(said)} fits.)" for note, count in counts.items()
    ]


def _class_order(names: set[str], outputs: list[str]) -> list[str]:
    """The metrics of a single class or structure, in the cohort's order."""
    position = {str(name): index for index, name in enumerate(outputs)}
    of_class = [name for name in names if ":" in name]
    return sorted(of_class, key=lambda name: (position.get(name.partition(":")[2], len(position)), name))


def ranked(metric: str, rows: Iterable[LeaderboardRow]) -> tuple[LeaderboardRow, ...]:
    """Best first, then those whose pretraining lists the data set, undefined rows, and rows without a done cell."""
    loss = metric_of(metric).loss

    def key(row: LeaderboardRow) -> tuple[int, float, str]:
        if defined(row.value):
            return (int(row.method.contaminated), loss(row.value), row.method.name)
        return (2 if row.done else 3, 0.0, row.method.name)

    return tuple(sorted(rows, key=key))


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _why_undefined(facts: Facts) -> str:
    """Why a ranking metric is undefined on this split, from the counts of its labels."""
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
    return "no case here has what it measures"
