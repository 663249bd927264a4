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
from radapt.protocols.prediction_columns import case_columns
from radapt.protocols.subset_inference import distinct_subsets
from radapt.protocols.subset_table import HAS, SubsetTable, modalities_in
from radapt.protocols.subsets import SubsetResult, contribution_rows, subset_rows


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
        return modalities_in(self.table)


@dataclass(frozen=True, eq=False)
class _Lookup:
    """The rows of a stored table, K labels for each case and each subset of its sequences."""

    stored: SubsetTable
    labels: tuple[str, ...]
    start: dict[tuple[int, int], int]

    @classmethod
    def of(cls, predictions: pd.DataFrame) -> "_Lookup":
        stored, labels = SubsetTable.of(predictions), tuple(dict.fromkeys(predictions["label"]))
        order = np.lexsort((pd.Index(labels).get_indexer(pd.Index(predictions["label"])), stored.subset, stored.place))
        stored = SubsetTable.of(predictions.iloc[order])
        keys = zip(stored.place[:: len(labels)].tolist(), stored.subset[:: len(labels)].tolist(), strict=True)
        return cls(stored, labels, {key: number * len(labels) for number, key in enumerate(keys)})

    def tables(self, which: np.ndarray, subsets: int) -> tuple[list[pd.DataFrame], np.ndarray]:
        """The distinct tables of the cases `which` (n,), and the index of each of the `subsets` among them.

        Subsets that differ only in sequences missing in all of the cases share a table.
        """
        distinct, place = distinct_subsets(self.stored.has[which], subsets)
        return [self._rows(which, subset) for subset in distinct], place

    def _rows(self, which: np.ndarray, subset: np.ndarray) -> pd.DataFrame:
        start = np.asarray([self.start[case] for case in zip(which.tolist(), subset.tolist(), strict=True)])
        return self.stored.rows.iloc[(start[:, None] + np.arange(len(self.labels))).ravel()].reset_index(drop=True)


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
    table = pd.concat([part.table for part in parts], ignore_index=True)
    place = {case.case: row for row, case in enumerate(cohort)}
    rows = table["case"].map(place).to_numpy()
    has = {name: table.get(f"{HAS}{name}", pd.Series(False, table.index)).fillna(False).astype(bool) for name in names}
    columns = case_columns(cohort, rows) | {f"{HAS}{name}": own for name, own in has.items()}
    numbers = [str(name) for name in table if name not in columns and not str(name).startswith(HAS)]
    predictions = pd.DataFrame(columns | {name: table[name] for name in numbers})
    order = np.argsort(rows, kind="stable")
    return scores_of_subset_cases(predictions.iloc[order].reset_index(drop=True), rng, resamples)


def scores_of_subset_cases(predictions: pd.DataFrame, rng: np.random.Generator, resamples: int) -> SubsetResult:
    """The same from the stored `predictions`, a row per case, subset of its sequences and label."""
    found = _Lookup.of(predictions)
    stored, names = found.stored, found.stored.modalities
    keep, subsets = ("dice", *(f"dice:{label}" for label in found.labels)), len(members(len(names)))
    tables, groups = [], list(stored.groups())
    for (split, site, which), own in zip(groups, rng.spawn(len(groups)), strict=True):
        distinct, place = found.tables(which, subsets)
        paired = summarise_paired(distinct, labels=found.labels, rng=own, resamples=resamples, keep=keep)
        given = (paired, place, stored.has[which], names, {"split": split, "site": site})
        tables.append((subset_rows(*given), *contribution_rows(*given)))
    scores, shapley, absence = (pd.concat(part, ignore_index=True) for part in zip(*tables, strict=True))
    return SubsetResult(scores, shapley, absence, predictions)
