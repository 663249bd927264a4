"""The stored predictions of one model from every subset of sequences: a row per case and subset of its sequences.

Columns: `case`, `patient`, `site`, `split`, `has_<sequence>`, then those of `predictions.parquet`. Subsets with a
sequence that a case lacks are not in the table: they give the same input as the one without it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

HAS = "has_"
"""Before the name of a sequence: the column that says whether a subset has it."""


@dataclass(frozen=True, eq=False)
class SubsetTable:
    """A subset is an integer whose bit m says whether it has `modalities[m]`; `subset` and `place` say, for each row of
    `rows`, which one it is and to which of the n `cases` it belongs."""

    rows: pd.DataFrame
    cases: pd.DataFrame
    place: np.ndarray
    subset: np.ndarray

    @classmethod
    def of(cls, rows: pd.DataFrame) -> "SubsetTable":
        place, names = pd.factorize(rows["case"])
        first = np.zeros(len(names), dtype=np.int64)
        first[place[::-1]] = np.arange(len(rows))[::-1]
        has = rows[[f"{HAS}{name}" for name in modalities_in(rows)]].to_numpy(bool)
        return cls(rows, rows.iloc[first].reset_index(drop=True), place, has @ (1 << np.arange(has.shape[1])))

    @property
    def modalities(self) -> tuple[str, ...]:
        return modalities_in(self.rows)

    @cached_property
    def has(self) -> np.ndarray:
        """(n,) the subset of all available sequences of each case."""
        found = np.zeros(len(self.cases), dtype=np.int64)
        np.bitwise_or.at(found, self.place, self.subset)
        return found

    def spread(self, values: np.ndarray) -> np.ndarray:
        """(2^M, n, ...) of `values` (rows, ...), one row per case and subset; 0 where a sequence is missing."""
        found = np.zeros((2 ** len(self.modalities), len(self.cases), *values.shape[1:]), dtype=values.dtype)
        found[self.subset, self.place] = values
        return found

    def groups(self) -> Iterator[tuple[str, str | None, np.ndarray]]:
        """(split, site, places among the cases): every split, then each of its sites where there are several."""
        words, sites = self.cases["split"].to_numpy(), self.cases["site"].to_numpy(dtype=object)
        for split in sorted(set(words), key=_order):
            inside = np.flatnonzero(words == split)
            yield split, None, inside
            own = sorted({site for site in sites[inside] if isinstance(site, str)})
            for site in own if len(own) > 1 else ():
                yield split, site, inside[sites[inside] == site]


def modalities_in(rows: pd.DataFrame) -> tuple[str, ...]:
    """The sequences of the model, in its order."""
    return tuple(str(name).removeprefix(HAS) for name in rows if str(name).startswith(HAS))


def _order(split: str) -> tuple[int, str]:
    return ("val", "test", split, "train").index(split), split
