"""Inference from every subset of sequences, each distinct input once.

Subsets that differ only in a missing sequence give a case the same input, so only the subsets of its available
sequences are predicted: Σ 2^(sequences of the case) - 1 predictions instead of cases × 2^M.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError, UsageError, suggest
from radapt.metrics.shapley import check_players, members
from radapt.progress import ProgressMaker, silent

Predict = Callable[[np.ndarray, tuple[str, ...]], np.ndarray]
"""(rows (n,), names of sequences) → probabilities (n, outputs), as if the other sequences were missing."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Predictions from each of the 2^M subsets of sequences for the n cases at `rows`.

    A subset is an integer whose bit m says whether it has `modalities[m]`. `has` (n,) is the subset of available
    sequences of each case, `table` (2^M, n, outputs) the predictions from its subsets; row 0 is the prior, the
    prediction without any image. Entries of subsets with a missing sequence are NaN and never read.
    """

    modalities: tuple[str, ...]
    rows: np.ndarray
    has: np.ndarray
    table: np.ndarray

    @classmethod
    def ask(
        cls,
        predict: Predict,
        cohort: Cohort,
        modalities: Sequence[str],
        rows: np.ndarray,
        prior: np.ndarray,
        progress: ProgressMaker = silent,
    ) -> "Answers":
        """Call `predict` for every subset of the `modalities`, once for all cases that have the whole subset.

        `prior` is (outputs,), or (N, outputs) with one for each case of the cohort.

        Raises UsageError for a sequence the cohort does not have or more than 12, DataError for predictions of another
        shape.
        """
        names = check_modalities(cohort, modalities)
        prior = np.asarray(prior, dtype=np.float64)
        prior = prior[rows] if prior.shape == (len(cohort), len(cohort.outputs)) else prior
        if prior.shape[-1:] != (len(cohort.outputs),) or prior.ndim > 2:
            raise DataError(f"The prior has shape {prior.shape}; expected one share for each of {cohort.outputs}.")
        columns = np.asarray([cohort.modalities.index(name) for name in names])
        present = cohort.presence[rows][:, columns]  # (n, M)
        has = present @ (1 << np.arange(len(names)))  # (n,)
        table = np.full((2 ** len(names), len(rows), prior.shape[-1]), np.nan)
        table[0] = prior
        inside = members(len(names))
        complete = [np.flatnonzero((has & subset) == subset) for subset in range(len(table))]
        with progress(sum(map(len, complete[1:])), "scoring subsets of sequences", "answers") as advance:
            for subset in range(1, len(table)):
                which = complete[subset]
                if len(which):
                    chosen = tuple(name for name, member in zip(names, inside[subset], strict=True) if member)
                    table[subset, which] = _checked(predict(rows[which], chosen), len(which), prior.shape[-1])
                    advance(len(which))
        return cls(names, rows, has, table)

    def of(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The distinct predictions (K, n, outputs) for the cases `which` (n,), and the index of each subset among them.

        The second is (2^M,): subsets that differ only in sequences missing in all of the cases share an index.
        """
        distinct, place = distinct_subsets(self.has[which], len(self.table))
        return self.table[distinct, which], place


def distinct_subsets(has: np.ndarray, subsets: int) -> tuple[np.ndarray, np.ndarray]:
    """(K, n) the distinct inputs of n cases with the sequences `has` (n,), and the index (subsets,) of each subset."""
    available = np.arange(subsets)[:, None] & has  # (2^M, n)
    distinct, place = np.unique(available, axis=0, return_inverse=True)
    return distinct, place.ravel()


def check_modalities(cohort: Cohort, modalities: Sequence[str]) -> tuple[str, ...]:
    """The names of the sequences. Raises UsageError for none, one twice, one the cohort lacks, or more than 12."""
    names = tuple(str(name) for name in modalities)
    if not names or len(set(names)) < len(names):
        raise UsageError(f"Sequences to evaluate must be named once each; got {names or 'none'}.")
    for name in names:
        if name not in cohort.modalities:
            raise UsageError(
                f"Cohort {cohort.name!r} has no sequence {name!r} to evaluate. {suggest(name, cohort.modalities)}"
            )
    check_players(len(names))
    return names


def _checked(probabilities: np.ndarray, cases: int, outputs: int) -> np.ndarray:
    if np.shape(probabilities) != (cases, outputs):
        raise DataError(
            f"Predictions from a subset of sequences have shape {np.shape(probabilities)}; expected "
            f"{(cases, outputs)}: cases × outputs."
        )
    return probabilities
