"""Several sets of results for the same cases, and what exchanging patients between any two of them does.

A metric of sums over cases needs the sums of every set once, whatever the number of pairs: exchanging patients moves
their share of the sums. The difference of two AUROCs is even linear in the signs of the patients, so that one vector
for each pair is all that its permutation test needs.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
import pandas as pd

from radapt.errors import DataError
from radapt.metrics.bootstrap import Numbers
from radapt.metrics.comparison.ranks import mid_ranks
from radapt.metrics.panel import MultiLabel, SingleLabel
from radapt.metrics.score import decides_otherwise, panel_of
from radapt.metrics.segmentation_summary import SUMMARY, LabelMapPanel, check_cases
from radapt.metrics.validation import Predictions, checked

TALLIED = (
    "balanced_accuracy", "mcc", "f1", "accuracy", "quadratic_kappa", "sensitivity", "specificity", "log_loss", "brier",
    "ece",
)  # fmt: skip
"""The metrics of a classification that need sums over cases alone."""

Exchanged = Numbers
"""(P,) by metric: the first set minus the second after each of P exchanges of patients."""


class Exchange(Protocol):
    """P exchanges of patients, prepared for every set."""

    def difference(self, first: int, second: int) -> Exchanged:
        """Set `first` minus set `second` once the patients have changed places, for every metric that is quick."""


class ResultSets(Protocol):
    """K sets of results for the same cases of `units` patients."""

    @property
    def units(self) -> int: ...
    @property
    def count(self) -> int: ...
    def numbers(self, number: int, weights: np.ndarray) -> Numbers:
        """Every metric (R,) of one set under each column of `weights` (U, R)."""

    def exchanged(self, swapped: np.ndarray) -> Exchange:
        """What follows if the patients change places that are 1 in each column of `swapped` (U, P)."""

    def cases(self, metric: str, first: int, second: int) -> int:
        """How many cases two sets have in a metric."""


class PredictionSets:
    """Sets of predictions; arguments as of `radapt.metrics.score_paired`. `metrics` names those to compute, None: all.

    Raises DataError as `score` does.
    """

    def __init__(
        self,
        truth: np.ndarray,
        probabilities: Sequence[np.ndarray],
        patients: Sequence[object] | np.ndarray,
        *,
        task: str,
        outputs: Sequence[str],
        ordered: bool = False,
        decisions: Sequence[np.ndarray | None] | None = None,
        metrics: Collection[str] | None = None,
    ) -> None:
        outputs = [str(name) for name in outputs]
        decided = decisions or [None] * len(probabilities)
        self.given = [
            checked(truth, each, patients, task, len(outputs), own)
            for each, own in zip(probabilities, decided, strict=True)
        ]
        if not self.given:
            raise DataError("There are no predictions to compare; expected at least one set.")
        both = any(decides_otherwise(given) for given in self.given)
        self.panels = [panel_of(given, task, outputs, ordered, both=both, only=metrics) for given in self.given]
        self.units, self.count = self.given[0].units, len(self.given)
        self.rankings = [_ranks(given, panel) for given, panel in zip(self.given, self.panels, strict=True)]
        self._moves: dict[tuple[int, int], np.ndarray] = {}

    def numbers(self, number: int, weights: np.ndarray) -> Numbers:
        return self.panels[number].numbers(weights)

    def exchanged(self, swapped: np.ndarray) -> "PredictionExchange":
        return PredictionExchange(self, swapped)

    def moves(self, first: int, second: int) -> np.ndarray:
        """(outputs, U) what each patient adds to the difference of two AUROCs, of every output."""
        if (first, second) not in self._moves:
            sides = zip(self.rankings[first], self.rankings[second], strict=True)
            self._moves[first, second] = np.stack([one.moves(other, self.units) for one, other in sides])
        return self._moves[first, second]

    def cases(self, metric: str, first: int, second: int) -> int:
        known = self.given[first].known
        return int(known.reshape(len(known), -1).any(axis=1).sum())


class PredictionExchange:
    """See `Exchange`: every metric in `TALLIED`, and AUROC."""

    def __init__(self, sets: PredictionSets, swapped: np.ndarray) -> None:
        self._sets, self._signs = sets, 1 - 2 * swapped
        self._metrics = [metric for metric in sets.panels[0].metrics if metric.name in TALLIED]
        tallied, everyone = sets.panels if self._metrics else (), np.ones((sets.units, 1))
        self._moved = [[task.tally.totals(swapped) for task in panel.tasks] for panel in tallied]
        self._whole = [[task.tally.totals(everyone) for task in panel.tasks] for panel in tallied]

    def difference(self, first: int, second: int) -> Exchanged:
        found = self._ranked(first, second)
        if self._metrics:
            one, other = self._side(first, second), self._side(second, first)
            found |= {name: one[name] - other[name] for name in one}
        return found

    def _side(self, own: int, other: int) -> Numbers:
        totals = [
            whole - left + came
            for whole, left, came in zip(self._whole[own], self._moved[own], self._moved[other], strict=True)
        ]
        return self._sets.panels[own].numbers_of_totals(totals, self._metrics)

    def _ranked(self, first: int, second: int) -> Exchanged:
        moves, panel = self._sets.moves(first, second), self._sets.panels[first]
        each = moves @ self._signs
        single = isinstance(panel, SingleLabel) and len(panel.outputs) == 2
        over = each[1] if single else each[panel.defined].mean(axis=0) if panel.defined.any() else each[0] * np.nan
        return {f"auroc:{name}": row for name, row in zip(panel.outputs, each, strict=True)} | {"auroc": over}


class Ranks:
    """The known cases (n,) of one output by one method: their ranks, which are positive, and their patients."""

    def __init__(self, positive: np.ndarray, scores: np.ndarray, unit: np.ndarray) -> None:
        order = np.unique(scores, return_inverse=True)[1] if len(scores) else np.zeros(0, dtype=np.int64)
        self.rank = (2 * mid_ranks(order)).astype(np.int64)  # twice the rank is whole
        self.positive, self.unit = positive, unit
        self.below = {kind: self._below(positive == kind) for kind in (True, False)}

    def _below(self, cases: np.ndarray) -> np.ndarray:
        """(2n,) by twice the rank, how many of `cases` are below it, equal ones counting half."""
        counts = np.bincount(self.rank[cases], minlength=2 * len(self.rank) + 1)
        return np.cumsum(counts) - counts / 2

    def moves(self, other: "Ranks", units: int) -> np.ndarray:
        """(U,) what each patient adds to the AUROC of this method minus that of the other, and takes from it where it
        changes places.

        Let s_i = 1 if case i keeps its place and -1 if not, a and b its ranks by the two methods, and w(x, y) = 1, 1/2
        or 0 as x is above, equal to or below y. Of a positive i and a negative j the difference counts
        (s_i + s_j) / 2 [w(a_i, a_j) - w(b_i, b_j)] + (s_i - s_j) / 2 [w(a_i, b_j) - w(b_i, a_j)]: it is linear in s.
        """
        positive = self.positive
        pairs = int(positive.sum()) * int((~positive).sum())
        if not pairs:
            return np.full(units, np.nan)
        a, b, amount = self.rank, other.rank, np.empty(len(positive))
        of_a, of_b = self.below[False], other.below[False]
        up, down = a[positive], b[positive]
        amount[positive] = of_a[up] - of_b[down] + of_b[up] - of_a[down]
        # As many positives are above a negative as are not below it; the number of all of them cancels.
        of_a, of_b = self.below[True], other.below[True]
        up, down = a[~positive], b[~positive]
        amount[~positive] = of_b[down] - of_a[up] + of_a[down] - of_b[up]
        return np.bincount(self.unit, weights=amount, minlength=units) / (2 * pairs)


def _ranks(given: Predictions, panel: SingleLabel | MultiLabel) -> list[Ranks]:
    found = []
    for index in range(len(panel.outputs)):
        known = given.known[:, index] if given.truth.ndim == 2 else given.known
        truth = given.truth[known, index] == 1 if given.truth.ndim == 2 else given.truth[known] == index
        found.append(Ranks(truth, given.probabilities[known, index], given.unit[known]))
    return found


class LabelMapSets:
    """Sets of tables of the same cases, as `radapt.metrics.summarise` takes them. Raises DataError as it does, and for
    tables of other cases. `metrics` are those to compute."""

    def __init__(
        self, tables: Sequence[pd.DataFrame], *, labels: Sequence[str], metrics: Collection[str] = tuple(SUMMARY)
    ) -> None:
        names = [str(one) for one in labels]
        keys = [set(zip(table["case"].astype(str), table["label"].astype(str), strict=True)) for table in tables]
        if not keys:
            raise DataError("There are no label maps to compare; expected at least one table.")
        for other in keys[1:]:
            if odd := sorted(other ^ keys[0]):
                raise DataError(f"Case {odd[0][0]!r}, label {odd[0][1]!r} is in one of two tables only.")
        for table in tables:
            check_cases(table, names)
        order = [table.sort_values(["patient", "case", "label"], kind="stable") for table in tables]
        self.panels = [LabelMapPanel.of(table.reset_index(drop=True), names, metrics) for table in order]
        self.units, self.count = self.panels[0].units, len(self.panels)

    def numbers(self, number: int, weights: np.ndarray) -> Numbers:
        return self.panels[number].numbers(weights)

    def exchanged(self, swapped: np.ndarray) -> "LabelMapExchange":
        return LabelMapExchange(self.panels, swapped)

    def cases(self, metric: str, first: int, second: int) -> int:
        entered = [self.panels[number] for number in (first, second)]
        return sum(len(np.unique(panel.case[panel.entered(metric)])) for panel in entered) // 2


class LabelMapExchange:
    """See `Exchange`: every metric of label maps."""

    def __init__(self, panels: Sequence[LabelMapPanel], swapped: np.ndarray) -> None:
        self._panels = panels
        self._moved = [panel.sums(swapped) for panel in panels]
        self._whole = [panel.sums(np.ones((panel.units, 1))) for panel in panels]

    def difference(self, first: int, second: int) -> Exchanged:
        panels = self._panels[first], self._panels[second]
        defined = {name: panels[0].defined(name) | panels[1].defined(name) for name in panels[0].names}
        one, other = (
            panels[0].numbers_of_sums(self._whole[a] - self._moved[a] + self._moved[b], defined)
            for a, b in ((first, second), (second, first))
        )
        return {name: one[name] - other[name] for name in one}
