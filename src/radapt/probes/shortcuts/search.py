"""Which columns of a table can be read from the features and predict the label, so that a model may learn these."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t as student

from radapt.metrics.bootstrap import CHUNK, Numbers, expanded_interval, replicates, units_of
from radapt.metrics.comparison import holm
from radapt.metrics.subgroups import Groups
from radapt.probes.shortcuts.association import answers, association, predictable, rates_out_of_fold
from radapt.probes.shortcuts.readability import GroupTarget, Source, out_of_fold, readability

FOLDS = 5
LEAST_PATIENTS = 10
"""Of a group that the features are asked to recognise."""

_CHANCE, _ALPHA = 0.5, 0.05
_PAIRED = np.sqrt(2.0)
"""Where the features say nothing, the score of a case by a linear probe is a sum over the training cases, and each pair
of patients enters the out-of-fold AUROC twice, once from each side. A bootstrap of the answers sees them as independent
and its standard error is too small by √2 (measured: 1.4 in 60 simulated studies)."""


@dataclass(frozen=True, eq=False)
class LabelledCases:
    """n cases: `labels` (n,) class indices or (n, F) findings with NaN unknown, the names of the `outputs`, and
    `patients` (n,)."""

    labels: np.ndarray
    outputs: tuple[str, ...]
    patients: np.ndarray


@dataclass(frozen=True, eq=False)
class ProbedCases:
    """n labelled cases and their `rows` (n,) among those of the features, whose matrix `source` gives."""

    source: Source
    rows: np.ndarray
    labelled: LabelledCases


@dataclass(frozen=True)
class Shortcut:
    """How well a column can be read from the features, and the label from it: AUROCs, chance 0.5, NaN if undefined.

    `readable` is of the groups from the features among cases with the same label, the mean over groups. `label` is of
    the label from the column alone, the mean over outputs; `strongest` is the output that it predicts most clearly,
    with its own. `p` is the larger of both questions; `p_holm` is adjusted for the columns.
    """

    column: str
    n_groups: int
    n_patients: int
    n_cases: int
    readable: float
    readable_low: float
    readable_high: float
    label: float
    label_low: float
    label_high: float
    strongest: str
    strongest_value: float
    strongest_low: float
    strongest_high: float
    p: float
    p_holm: float = float("nan")

    @property
    def is_shortcut(self) -> bool:
        """Whether the column can be read from the features, and the label from the column, both beyond chance."""
        return self.p_holm < _ALPHA


@dataclass(frozen=True, eq=False)
class ShortcutSearch:
    """The columns that are asked about, in folds by patient; `targets` are the groups that probes learn, by column.

    `logits` (n, groups) are the answers of the probes, out of fold: with them the search is repeated without features.
    """

    cases: LabelledCases
    columns: tuple[Groups, ...]
    targets: tuple[tuple[GroupTarget, ...], ...]
    folds: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, cases: LabelledCases, columns: Sequence[Groups], rng: np.random.Generator) -> "ShortcutSearch":
        folds = _folds(*units_of(cases.patients), rng)
        kept = tuple(one for each in columns if len((one := _with_patients(each, cases.patients)).names) > 1)
        return cls(cases, kept, tuple(_targets(one, cases.labels) for one in kept), tuple(folds))

    def logits(self, source: Source, rows: np.ndarray) -> np.ndarray:
        """The answers of probes fitted on features."""
        return out_of_fold(source, rows, [each for own in self.targets for each in own], self.folds)

    def shortcuts(self, logits: np.ndarray, rng: np.random.Generator, resamples: int) -> tuple[Shortcut, ...]:
        """What the answers of the probes say of each column."""
        cases, (unit, units) = self.cases, units_of(self.cases.patients)
        asked: dict[tuple[int, str], Callable[[np.ndarray], np.ndarray]] = {}
        start = 0
        for at, (column, own) in enumerate(zip(self.columns, self.targets, strict=True)):
            asked[at, ""] = readability(own, logits[:, start : start + len(own)], unit, units)
            start += len(own)
            for name, truth in answers(cases.labels, cases.outputs).items():
                if predictable(np.where(column.of_row == "", np.nan, truth), cases.patients):
                    rates = rates_out_of_fold(truth, column.of_row, self.folds)
                    asked[at, name] = association(truth, rates, column.of_row, unit, units)
        drawn = _drawn(asked, units, len(cases.patients), rng, resamples)
        found = [_shortcut(at, column, cases, drawn) for at, column in enumerate(self.columns)]
        adjusted = holm([one.p for one in found])
        return tuple(replace(one, p_holm=float(p)) for one, p in zip(found, adjusted, strict=True))


def find_shortcuts(
    cases: ProbedCases, columns: Sequence[Groups], *, rng: np.random.Generator, resamples: int
) -> tuple[Shortcut, ...]:
    """Ask of every column whether its groups can be read from the features, and whether it predicts the label.

    Both are answered out of fold, in folds by patient; intervals and tests are of a bootstrap by patient. Groups of
    fewer than ten patients are left out, and columns with fewer than two others. A column that the label decides
    differs nowhere among cases of one label, and has no `readable`. The same state of `rng` gives the same result.
    """
    search = ShortcutSearch.of(cases.labelled, columns, rng)
    return search.shortcuts(search.logits(cases.source, cases.rows), rng, resamples) if search.columns else ()


def _folds(unit: np.ndarray, units: int, rng: np.random.Generator) -> list[np.ndarray]:
    of_unit = rng.permutation(units) % FOLDS
    return [of_unit[unit] == fold for fold in range(FOLDS)]


def _with_patients(column: Groups, patients: np.ndarray) -> Groups:
    """The column without groups of few patients."""
    kept = [name for name in column.names if len(set(patients[column.of_row == name])) >= LEAST_PATIENTS]
    of_row = np.asarray([name if name in kept else "" for name in column.of_row], dtype=object)
    return Groups(column.column, of_row, tuple(kept))


def _targets(column: Groups, labels: np.ndarray) -> tuple[GroupTarget, ...]:
    """Of two groups the first, of more each against all others."""
    names = column.names[:1] if len(column.names) == 2 else column.names
    return tuple(GroupTarget.of(column.column, column.of_row, name, labels) for name in names)


Drawn = dict[tuple[int, str], tuple[float, np.ndarray]]
"""Of each column, by its place, and output ('' for the readability) the value and its replicates (R,)."""


def _drawn(
    asked: dict[tuple[int, str], Callable[[np.ndarray], np.ndarray]],
    units: int,
    cases: int,
    rng: np.random.Generator,
    resamples: int,
) -> Drawn:
    def numbers(weights: np.ndarray) -> Numbers:
        return {str(at): ask(weights) for at, ask in enumerate(asked.values())}

    whole = numbers(np.ones((units, 1)))
    drawn = replicates(numbers, units, rng, resamples if units > 1 else 0, max(1, CHUNK // max(cases, 1)))
    nothing = np.empty(0)
    return {key: (float(whole[str(at)][0]), drawn.get(str(at), nothing)) for at, key in enumerate(asked)}


def _shortcut(at: int, column: Groups, cases: LabelledCases, drawn: Drawn) -> Shortcut:
    known = column.of_row != ""
    patients = len(set(cases.patients[known]))
    least = min(len(set(cases.patients[column.of_row == name])) for name in column.names)
    readable, reads = drawn[at, ""]
    reads = readable + _PAIRED * (reads - readable)
    p_read = _p_value(readable, reads, least)
    by_output = {name: own for (place, name), own in drawn.items() if place == at and name}
    mean, means, strongest, of_strongest, p_label = _of_label(by_output, least)
    low, high = expanded_interval(readable, reads, least)
    ends = expanded_interval(mean, means, least)
    strongest_ends = expanded_interval(*of_strongest, least)
    return Shortcut(
        column.column, len(column.names), patients, int(known.sum()), readable, low, high, mean, *ends,
        strongest, of_strongest[0], *strongest_ends, float(np.maximum(p_read, p_label)),
    )  # fmt: skip


def _of_label(
    by_output: dict[str, tuple[float, np.ndarray]], least: int
) -> tuple[float, np.ndarray, str, tuple[float, np.ndarray], float]:
    """The mean over outputs with its replicates, the clearest output with its own, and p adjusted for the outputs."""
    nothing = float("nan"), np.empty(0)
    if not by_output:
        return (*nothing, "", nothing, float("nan"))
    tests = {name: _p_value(*own, least) for name, own in by_output.items()}
    adjusted = dict(zip(tests, holm(list(tests.values())), strict=True))
    strongest = min(tests, key=lambda name: (np.nan_to_num(tests[name], nan=2.0), -by_output[name][0]))
    mean = float(np.mean([value for value, _ in by_output.values()]))
    means = np.mean([own for _, own in by_output.values()], axis=0)
    return mean, means, strongest, by_output[strongest], float(adjusted[strongest])


def _p_value(value: float, drawn: np.ndarray, units: int) -> float:
    """Two-sided, of an AUROC; 1 at or below chance."""
    if np.isnan(value) or 2 * np.isfinite(drawn).sum() < max(len(drawn), 1):
        return float("nan")
    error = float(np.nanstd(drawn)) * np.sqrt(units / (units - 1))
    if value <= _CHANCE or error == 0:
        return 1.0 if value <= _CHANCE else 0.0
    return float(2 * student.sf((value - _CHANCE) / error, units - 1))
