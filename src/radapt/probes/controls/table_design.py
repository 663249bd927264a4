"""Columns of a table as numbers: imputed, one-hot encoded, and left out, by the training cases alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from radapt.cohorts.metadata import as_numbers, as_text

Table = Mapping[str, np.ndarray]
"""Column -> (N,): text (object), or numbers (float64, NaN where missing)."""

LEAST_OF_LEVEL = 2
"""A category of fewer training patients has no column of its own: nothing can be learned about it."""


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers. Missing ones are the training `median`, with an indicator if training has any."""

    name: str
    median: float
    has_missing: bool

    @property
    def width(self) -> int:
        return 1 + self.has_missing

    def encode(self, cells: np.ndarray) -> np.ndarray:
        """(n,) -> float32 (n, width)"""
        numbers = as_numbers(cells)
        missing = np.isnan(numbers)
        columns = [np.where(missing, self.median, numbers), missing.astype(np.float64)]
        return np.stack(columns[: self.width], axis=1).astype(np.float32)


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories, one-hot. Missing values and categories that are not among the `levels` are all 0."""

    name: str
    levels: tuple[str, ...]

    @property
    def width(self) -> int:
        return len(self.levels)

    def encode(self, cells: np.ndarray) -> np.ndarray:
        """(n,) -> float32 (n, width)"""
        return (as_text(cells)[:, None] == np.asarray(self.levels, dtype=object)[None]).astype(np.float32)


Column = NumberColumn | CategoryColumn


@dataclass(frozen=True)
class TableDesign:
    """How cells become the columns of a matrix, and `notes` on the columns that were left out."""

    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """At least 1: without any column the matrix is a column of zeros, from which a model learns the prior."""
        return max(1, sum(column.width for column in self.columns))

    def encode(self, table: Table, rows: np.ndarray) -> np.ndarray:
        """float32 (n, width) without NaN. A column that the table lacks is missing in every case."""
        parts = []
        for column in self.columns:
            cells = table.get(column.name)
            parts.append(column.encode(np.full(len(rows), "", dtype=object) if cells is None else cells[rows]))
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(rows), 1), dtype=np.float32)

    @property
    def facts(self) -> dict[str, Any]:
        """JSON-like."""
        return {"columns": [asdict(column) for column in self.columns]}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "TableDesign":
        return cls(tuple(_column(entry) for entry in facts["columns"]))


def _column(entry: Mapping[str, Any]) -> Column:
    if "levels" in entry:
        return CategoryColumn(entry["name"], tuple(entry["levels"]))
    return NumberColumn(entry["name"], float(entry["median"]), bool(entry["has_missing"]))


def levels_of(cells: np.ndarray, patients: Sequence[object] | np.ndarray) -> tuple[str, ...]:
    """The categories of a column that at least `LEAST_OF_LEVEL` patients have, in order."""
    seen: dict[str, set[object]] = {}
    for text, patient in zip(as_text(cells), patients, strict=True):
        if text:
            seen.setdefault(text, set()).add(patient)
    return tuple(sorted(text for text, own in seen.items() if len(own) >= LEAST_OF_LEVEL))
