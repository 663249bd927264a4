"""The answers to every subset of sequences, each distinct question asked once.

A case that lacks a sequence is asked the same question by every subset that differs in that sequence alone, so that
only the subset's share in what the case has needs an answer: Σ 2^(sequences of the case) - 1 of them and not cases ×
2^M.
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
    """What was answered to each of the 2^M subsets for the n cases at `rows`.

    A subset is a number whose bit m says whether it has `modalities[m]`. `has` (n,) is the subset that each case has,
    `table` (2^M, n, outputs) the answer to each subset of that; row 0 is the prior, the answer without any image. What
    is not part of what a case has is NaN and never read.
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
        """Ask `predict` for every subset of the `modalities`, once for all cases that have all of it.

        `prior` is (outputs,), or (N, outputs) with one for each case of the cohort.

        Raises UsageError for a sequence the cohort does not know or more than 12, DataError for answers of another
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
        asked = [np.flatnonzero((has & subset) == subset) for subset in range(len(table))]
        with progress(sum(map(len, asked[1:])), "scoring subsets of sequences", "answers") as advance:
            for subset in range(1, len(table)):
                which = asked[subset]
                if len(which):
                    chosen = tuple(name for name, there in zip(names, inside[subset], strict=True) if there)
                    table[subset, which] = _answered(predict(rows[which], chosen), len(which), prior.shape[-1])
                    advance(len(which))
        return cls(names, rows, has, table)

    def of(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The distinct answers (K, n, outputs) to the cases `which` (n,) of these, and which of them each subset gets.

        The second is (2^M,): subsets that differ in sequences none of the cases has share one.
        """
        asked = np.arange(len(self.table))[:, None] & self.has[which]  # (2^M, n): the subset of each case's own
        distinct, place = np.unique(asked, axis=0, return_inverse=True)
        return self.table[distinct, which], place.ravel()


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


def _answered(probabilities: np.ndarray, cases: int, outputs: int) -> np.ndarray:
    if np.shape(probabilities) != (cases, outputs):
        raise DataError(
            f"A subset of sequences was answered with shape {np.shape(probabilities)}; expected {(cases, outputs)}: "
            "cases × outputs."
        )
    return probabilities
