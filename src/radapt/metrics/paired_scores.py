"""Paired scores: several sets of predictions or label maps for the same cases, in the same bootstrap replicates.

Variation between patients then cancels in a difference: its interval, or that of any other linear combination, comes
from taking the difference in every replicate.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radapt.errors import DataError
from radapt.metrics.bootstrap import expanded_interval
from radapt.metrics.score import RESAMPLES, panel_of, replicates_of, scored
from radapt.metrics.segmentation_summary import summarised
from radapt.metrics.validation import checked

Scored = tuple[pd.DataFrame, dict[str, float], Mapping[str, np.ndarray]]
"""The table of one set of predictions, every value by its name, and the replicates (R,) of every metric."""


@dataclass(frozen=True, eq=False)
class PairedScores:
    """The metrics of K sets of predictions or label maps for the same N cases.

    `tables` are K tables as `radapt.metrics.score` or `summarise` gives them. `values` (K,) and `drawn` (K, R) hold
    each kept metric and its replicates, NaN where it is undefined; column r is the same draw of patients for every
    metric and every set. R is 0 with fewer than two patients. `patients` is the number of patients that entered each
    metric of the first set.
    """

    tables: tuple[pd.DataFrame, ...]
    values: Mapping[str, np.ndarray]
    drawn: Mapping[str, np.ndarray]
    patients: Mapping[str, int]

    def combined(
        self, name: str, sum_of: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, list[tuple[float, float]]]:
        """(P,) linear combinations of metric `name` of the K sets, with the 95 % interval of each.

        `sum_of` maps (K, R) to (P, R). Intervals are those of `radapt compare`, NaN where undefined (see
        `expanded_interval`).
        """
        value = sum_of(self.values[name][:, None])[:, 0]
        drawn, patients = sum_of(self.drawn[name]), self.patients[name]
        return value, [expanded_interval(one, row, patients) for one, row in zip(value, drawn, strict=True)]


def score_paired(
    truth: np.ndarray,
    probabilities: np.ndarray | Sequence[np.ndarray],
    patients: Sequence[object] | np.ndarray,
    *,
    task: str,
    outputs: Sequence[str],
    ordered: bool = False,
    decisions: Sequence[np.ndarray] | None = None,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    keep: Collection[str] = (),
) -> PairedScores:
    """Score K sets of predictions `probabilities` (K, N, outputs) for the same cases; else as `radapt.metrics.score`.

    `decisions` are one set for each of predictions, as in `score`. `keep` names the metrics whose replicates are kept.
    Each table equals that of `score` with the same state of the generator. Raises DataError as `score` does, and
    without any set of predictions.
    """
    if not len(probabilities):
        raise DataError("There are no predictions to score; expected at least one set, (sets, cases, outputs).")
    outputs, seed = [str(name) for name in outputs], int(rng.integers(2**63))

    def sets() -> Iterator[Scored]:
        for number, predictions in enumerate(probabilities):
            decided = None if decisions is None else decisions[number]
            given = checked(truth, predictions, patients, task, len(outputs), decided)
            panel = panel_of(given, task, outputs, ordered)
            replicated = replicates_of(panel.numbers, given, np.random.default_rng(seed), resamples)
            yield *scored(given, panel, replicated), replicated

    return _paired(sets(), keep)


def summarise_paired(
    tables: Sequence[pd.DataFrame],
    *,
    labels: Sequence[str],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    keep: Collection[str] = (),
) -> PairedScores:
    """Summarise K tables of the same cases, such as those of K models; else as `radapt.metrics.summarise`.

    The tables differ in what was predicted, never in cases, patients and truth. `keep` names the metrics whose
    replicates are kept. Raises DataError as `summarise` does, and without any table.
    """
    if not tables:
        raise DataError("There are no cases to summarise; expected at least one table.")
    seed = int(rng.integers(2**63))
    return _paired(
        (summarised(table, labels=labels, rng=np.random.default_rng(seed), resamples=resamples) for table in tables),
        keep,
    )


def _paired(sets: Iterable[Scored], keep: Collection[str]) -> PairedScores:
    tables, values, drawn = [], [], []
    for table, numbers, replicated in sets:
        tables.append(table)
        values.append(numbers)
        drawn.append({name: replicated.get(name, np.empty(0)) for name in keep if name in numbers})
    kept = list(drawn[0])
    counts = tables[0].set_index("metric")["n_patients"]
    return PairedScores(
        tuple(tables),
        {name: np.array([numbers[name] for numbers in values]) for name in kept},
        {name: np.stack([replicated[name] for replicated in drawn]) for name in kept},
        {name: int(counts[name]) for name in kept},
    )
