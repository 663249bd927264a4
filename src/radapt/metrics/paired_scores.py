"""Several answers to the same questions, scored on the same patients, so that their numbers can be subtracted.

What patients have in common then cancels: the interval of a difference, or of any other sum over the answers, is found
by taking it in every replicate. Every set of answers is scored under the same draws of patients.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radapt.errors import DataError
from radapt.metrics.bootstrap import percentile_interval
from radapt.metrics.score import RESAMPLES, panel_of, replicates_of, scored
from radapt.metrics.validation import checked


@dataclass(frozen=True, eq=False)
class Together:
    """The numbers of K sets of answers to the same N cases.

    `tables` are K tables as `radapt.metrics.score` gives them. `values` (K,) and `drawn` (K, R) are each kept number
    and its replicates, NaN where it is undefined; column r of every number and every set is of the same patients. R is
    0 with fewer than two patients. `patients` says how many entered each number.
    """

    tables: tuple[pd.DataFrame, ...]
    values: Mapping[str, np.ndarray]
    drawn: Mapping[str, np.ndarray]
    patients: Mapping[str, int]

    def combined(
        self, name: str, sum_of: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, list[tuple[float, float]]]:
        """(P,) values of a combination of the K sets' number `name`, with the 95 % interval of each.

        `sum_of` maps (K, R) to (P, R). Intervals as in `radapt.metrics.score`: NaN where undefined.
        """
        value = sum_of(self.values[name][:, None])[:, 0]
        drawn = sum_of(self.drawn[name])
        # One patient drawn again and again never varies: an interval of no width would claim certainty.
        known = self.patients[name] > 1
        ends = [percentile_interval(row) if known else (float("nan"), float("nan")) for row in drawn]
        return value, ends


def score_together(
    truth: np.ndarray,
    probabilities: np.ndarray | Sequence[np.ndarray],
    patients: Sequence[object] | np.ndarray,
    *,
    task: str,
    outputs: Sequence[str],
    ordered: bool = False,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    keep: Collection[str] = (),
) -> Together:
    """Score K sets of answers `probabilities` (K, N, outputs) to the same cases; the rest as `radapt.metrics.score`.

    `keep` names the numbers whose replicates are kept. Each table has the digits that `score` would give from one and
    the same state of the generator. Raises DataError as `score` does, and without any set of answers.
    """
    if not len(probabilities):
        raise DataError("There are no answers to score; expected at least one set of them, (sets, cases, outputs).")
    outputs, seed = [str(name) for name in outputs], int(rng.integers(2**63))
    tables, values, drawn = [], [], []
    for answers in probabilities:
        given = checked(truth, answers, patients, task, len(outputs))
        panel = panel_of(given, task, outputs, ordered)
        replicated = replicates_of(panel, given, len(outputs), np.random.default_rng(seed), resamples)
        table, found = scored(given, panel, replicated)
        tables.append(table)
        values.append(found)
        drawn.append({name: replicated.get(name, np.empty(0)) for name in keep if name in found})
    kept = list(drawn[0])
    counts = tables[0].set_index("metric")["n_patients"]
    return Together(
        tuple(tables),
        {name: np.array([found[name] for found in values]) for name in kept},
        {name: np.stack([found[name] for found in drawn]) for name in kept},
        {name: int(counts[name]) for name in kept},
    )
