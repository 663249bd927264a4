"""What a metric is: what a reader has to know of it, and for a classification how it is computed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from radapt.metrics.weighted_predictions import WeightedPredictions

Kind = Literal["whole", "per-output", "ranking"]

ARGMAX = " (argmax)"
"""Behind the name of a metric of decisions where it is of the most probable class, though another was decided for."""


def metric_name(row: str) -> str:
    """The metric of a row of a table: that of `f1:tumour`, `mcc (argmax)` and `f1 (argmax):tumour` too."""
    return row.partition(":")[0].removesuffix(ARGMAX)


@dataclass(frozen=True)
class MetricInfo:
    """Name, title, range and direction of a metric. Larger is better, unless `smaller_is_better` or `zero_is_best`.

    `low` and `high` are the ends of its range, `high` None if it has none. `chance` is its value for guessing, None
    if guessing has no fixed value.
    """

    name: str
    title: str
    meaning: str
    low: float = 0.0
    high: float | None = 1.0
    chance: float | None = None
    smaller_is_better: bool = False
    zero_is_best: bool = False
    digits: int = 3

    @property
    def first(self) -> str:
        """Which values rank first."""
        return "nearest 0" if self.zero_is_best else "smallest" if self.smaller_is_better else "largest"

    def loss(self, value: float) -> float:
        """A sort key: smaller is better."""
        return abs(value) if self.zero_is_best else value if self.smaller_is_better else -value


@dataclass(frozen=True, kw_only=True)
class Metric(MetricInfo):
    """A classification metric. A file of `radapt/metrics/classification/`, or an entry point of the group
    `radapt.metrics`, declares one as `METRIC`; `score` then gives it with its interval.

    `compute` maps predictions under R sets of weights to R values at once. `kind` says which:

    - `whole`: (R,) for the task as a whole;
    - `per-output`: (R, outputs), each class against the rest; the row of the task is their mean;
    - `ranking`: the same, but two classes are one question, and the row of the task is that of the second.

    Of several findings each is a task of its own with one output, its presence, or two, absence and presence; the row
    of the task is the mean over findings. A number that needs both kinds of truth (`needs_both`) is averaged over the
    findings that have them. `overall` adds the row of the task, `listed` one row for each output. `ordered_only`:
    defined for ordered classes alone. `of_decisions`: computed from the confusion matrix, so that it depends on which
    class was decided for. Rows are sorted by `place`, then by name.
    """

    compute: Callable[[WeightedPredictions], np.ndarray]
    kind: Kind = "whole"
    overall: bool = True
    listed: bool = False
    needs_both: bool = True
    ordered_only: bool = False
    of_decisions: bool = False
    place: int = 1000

    def of_finding(self, given: WeightedPredictions) -> np.ndarray:
        """(R,) of one finding: of its presence if outputs are listed, else over absence and presence."""
        values = self.compute(given)
        if self.kind == "whole":
            return values
        return values[:, -1] if self.listed else macro(values, np.ones(values.shape[1], dtype=bool))

    def of_classes(self, values: np.ndarray, defined: np.ndarray) -> np.ndarray:
        """(R,) of the task from what `compute` gave; `defined` (C,) are the classes that a mean is taken over."""
        if self.kind == "whole":
            return values
        # Two classes ask one question: is it the second? Averaging over both would change average precision.
        return values[:, -1] if self.averages_no(len(defined)) else macro(values, defined)

    def averages_no(self, classes: int) -> bool:
        """Whether the row of the task is no mean over so many classes."""
        return self.kind == "whole" or (self.kind == "ranking" and classes == 2)


def by_case(
    function: Callable[[np.ndarray, np.ndarray, np.ndarray], float], kind: Kind = "whole", needs_both: bool = True
) -> Callable[[WeightedPredictions], np.ndarray]:
    """The `compute` of a plain function of truth, probabilities and weights of the cases, called once per replicate.

    A `whole` function is given truth (n,) and probabilities (n, C), or of a finding (n,); others truth (n,) of 0 and 1
    and the probability (n,) of each output. Weights (n,) are how often each case was drawn, 0 too. With `needs_both`
    the value is NaN, without a call, where a single kind of truth has weight; else where no case has.
    """

    def value(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> float:
        kinds = len(np.unique(truth[weights > 0]))
        return float(function(truth, probabilities, weights)) if kinds > needs_both else np.nan

    def compute(given: WeightedPredictions) -> np.ndarray:
        columns = given.case_weights.T
        if kind == "whole":
            return np.array([value(given.truth, given.probabilities, weights) for weights in columns])
        outputs = given.outputs
        return np.array([[value(*output, weights) for output in outputs] for weights in columns])

    return compute


def macro(each: np.ndarray, averaged: np.ndarray) -> np.ndarray:
    """(R,) mean of `each` (R, outputs) over the outputs in `averaged`; NaN if there are none.

    A rare output may lose its patients in a bootstrap replicate; the mean is then over the others, as long as more
    than half of them remain. Which remain depends on the patients drawn and never on the predictions.
    """
    values = each[:, averaged]
    counts = np.count_nonzero(~np.isnan(values), axis=1)
    enough = 2 * counts > values.shape[1]
    return np.where(enough, np.nansum(values, axis=1) / np.maximum(counts, 1), np.nan)
