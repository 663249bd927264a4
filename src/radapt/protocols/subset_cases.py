"""One segmentation model, evaluated on every subset of its sequences: its metrics, and what each sequence contributes.

As for a classifier (see `subsets`), with Dice in place of MCC. A case that has no sequence of a subset has an empty
label map: Dice 0 for each structure it has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radapt.cohorts.cohort import Cohort
from radapt.metrics.paired_scores import summarise_paired
from radapt.metrics.shapley import members
from radapt.protocols.subsets import SubsetResult, contribution_rows, groups_of, subset_rows

HAS = "has_"
"""Before the name of a sequence: the column that says whether a subset has it."""


@dataclass(frozen=True, eq=False)
class SubsetCases:
    """What was measured of label maps from each subset of the sequences that a case has.

    `table` has a row per case with a mask, subset of its available sequences and label: `case`, `patient`,
    `has_<sequence>` of every sequence of the model in its order, and the columns of `case_numbers`. The subset without
    any sequence is the empty label map.
    """

    table: pd.DataFrame

    @property
    def modalities(self) -> tuple[str, ...]:
        """The sequences of the model."""
        return tuple(str(name).removeprefix(HAS) for name in self.table if str(name).startswith(HAS))

    def within(self, modalities: Sequence[str]) -> pd.DataFrame:
        """The table with the columns `has_<sequence>` of `modalities`, a superset of its own, as the number `subset`
        whose bit m says whether it has `modalities[m]`."""
        columns = [f"{HAS}{name}" for name in modalities]
        has = self.table.reindex(columns=columns, fill_value=False).to_numpy(bool)
        others = self.table.drop(columns=[f"{HAS}{name}" for name in self.modalities])
        return others.assign(subset=has @ (1 << np.arange(len(columns))))


@dataclass(frozen=True, eq=False)
class _Lookup:
    """The rows of `table`, K labels for each of the n cases at `rows` and each subset of `has` (n,) of a case."""

    table: pd.DataFrame
    labels: tuple[str, ...]
    rows: np.ndarray
    has: np.ndarray
    start: dict[tuple[int, int], int]

    @classmethod
    def of(cls, parts: Sequence[SubsetCases], cohort: Cohort, modalities: Sequence[str]) -> "_Lookup":
        table = pd.concat([part.within(modalities) for part in parts], ignore_index=True)
        place = {case.case: row for row, case in enumerate(cohort)}
        row, subset = table["case"].map(place).to_numpy(), table["subset"].to_numpy()
        labels = tuple(dict.fromkeys(table["label"]))
        order = np.lexsort((pd.Index(labels).get_indexer(pd.Index(table["label"])), subset, row))
        table, keys = table.iloc[order], np.stack([row[order], subset[order]], axis=1)[:: len(labels)]
        start = {(int(row), int(subset)): number * len(labels) for number, (row, subset) in enumerate(keys)}
        rows, last = np.unique(keys[::-1, 0], return_index=True)  # all available sequences are the highest number
        return cls(table, labels, rows, keys[::-1, 1][last], start)

    def tables(self, which: np.ndarray, subsets: int) -> tuple[list[pd.DataFrame], np.ndarray]:
        """The distinct tables of the cases `which` (n,), and the index of each of the `subsets` among them.

        Subsets that differ only in sequences missing in all of the cases share a table.
        """
        available = np.arange(subsets)[:, None] & self.has[which]  # (2^M, n)
        distinct, place = np.unique(available, axis=0, return_inverse=True)
        return [self._rows(which, subset) for subset in distinct], place.ravel()

    def _rows(self, which: np.ndarray, subset: np.ndarray) -> pd.DataFrame:
        cases = zip(self.rows[which].tolist(), subset.tolist(), strict=True)
        start = np.asarray([self.start[case] for case in cases])
        return self.table.iloc[(start[:, None] + np.arange(len(self.labels))).ravel()].reset_index(drop=True)


def score_subset_cases(
    parts: Sequence[SubsetCases], cohort: Cohort, rng: np.random.Generator, resamples: int
) -> SubsetResult:
    """Score label maps from every subset of sequences: of one model, or of the models of folds, each for its own cases.

    The metrics of a subset are those of `summarise` over all cases, as if its other sequences were missing; a model
    that does not read a sequence predicts without it. Shapley values and costs of absence are of `dice` and, for each
    structure, `dice:<label>`. Without any sequence the label map is empty: Dice is 0, and NaN if no case has the
    structure, and so are then its Shapley values. All subsets are scored on the same draws of patients.
    """
    names = [name for name in cohort.modalities if any(name in part.modalities for part in parts)]
    found, subsets = _Lookup.of(parts, cohort, names), len(members(len(names)))
    keep = ("dice", *(f"dice:{label}" for label in found.labels))
    tables = []
    groups = list(groups_of(cohort, found.rows))
    for (split, site, which), own in zip(groups, rng.spawn(len(groups)), strict=True):
        distinct, place = found.tables(which, subsets)
        paired = summarise_paired(distinct, labels=found.labels, rng=own, resamples=resamples, keep=keep)
        given = (paired, place, found.has[which], tuple(names), {"split": split, "site": site})
        tables.append((subset_rows(*given), *contribution_rows(*given)))
    return SubsetResult(*(pd.concat(part, ignore_index=True) for part in zip(*tables, strict=True)))
