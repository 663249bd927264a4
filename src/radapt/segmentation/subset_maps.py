"""The subsets of sequences that a case is segmented from, and their columns in a table."""

from collections.abc import Sequence

import pandas as pd

from radapt.metrics.shapley import members
from radapt.protocols.subset_table import HAS


def all_subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """The 2^M - 1 subsets with a sequence, all sequences first."""
    inside = members(len(modalities))[:0:-1]
    return [tuple(name for name, there in zip(modalities, row, strict=True) if there) for row in inside]


def has_columns(table: pd.DataFrame, modalities: Sequence[str], subset: Sequence[str]) -> pd.DataFrame:
    """The rows of a case as those of a subset of the model's `modalities` (see `SubsetCases`)."""
    return table.assign(**{f"{HAS}{name}": name in subset for name in modalities})
