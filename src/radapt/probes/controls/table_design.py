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

    def knows(self, cells: np.ndarray) -> np.ndarray:
        """(n,) bool: which cells are numbers."""
        return np.isfinite(as_numbers(cells))


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories, one-hot. Missing values and categories that are not among the `levels` are all 0.

    Letter case does not matter, nor whether a category is written as its first letter (`F` for `female`), as long as
    one level alone is meant.
    """

    name: str
    levels: tuple[str, ...]

    @property
    def width(self) -> int:
        return len(self.levels)

    def encode(self, cells: np.ndarray) -> np.ndarray:
        """(n,) -> float32 (n, width)"""
        meant = np.asarray([self._level(text) for text in as_text(cells)], dtype=object)
        return (meant[:, None] == np.asarray(self.levels, dtype=object)[None]).astype(np.float32)

    def knows(self, cells: np.ndarray) -> np.ndarray:
        """(n,) bool: which cells are one of the levels."""
        return np.asarray([self._level(text) in self.levels for text in as_text(cells)], dtype=bool)

    def _level(self, text: str) -> str:
        """The level that is meant; the text itself if none is, or several may be."""
        if text in self.levels or not text:
            return text
        plain = text.casefold()
        same = [level for level in self.levels if level.casefold() == plain]
        alike = same or [
            level for level in self.levels if 1 in (len(plain), len(level)) and level[0].casefold() == plain[0]
        ]
        return alike[0] if len(alike) == 1 else text


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

    def known(self, table: Table, cases: int) -> np.ndarray:
        """(N,) bool: which of the `cases` of a table have a known value in any of the columns."""
        own = [column.knows(table[column.name]) for column in self.columns if column.name in table]
        return np.logical_or.reduce([np.zeros(cases, dtype=bool), *own])

    def unknown(self, table: Table, row: int) -> tuple[str, ...]:
        """The columns of which the case at `row` has no value, or one that training did not have; of those, with the
        value."""
        found = []
        for column in self.columns:
            cell = table[column.name][[row]] if column.name in table else np.full(1, "", dtype=object)
            if not column.knows(cell)[0]:
                value = as_text(cell)[0]
                found.append(f"{column.name} ({value!r})" if value else column.name)
        return tuple(found)

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
