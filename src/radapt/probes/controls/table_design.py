"""Columns of a table as numbers: imputed, one-hot encoded, and left out, by the training cases alone."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from radapt.cohorts.metadata import MISSING_WORDS

Table = Mapping[str, np.ndarray]
"""Column -> (N,): text (object), or numbers (float64, NaN where missing)."""

NUMERIC_SHARE = 0.9
"""A text column is numeric if so many of its training values are numbers; its other values are missing."""

LEAST_OF_LEVEL = 2
"""A category of fewer training patients has no column of its own: nothing can be learned about it."""

_DICOM_AGE = re.compile(r"(\d{1,3})[yY]")


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


def as_text(cells: np.ndarray) -> np.ndarray:
    """(n,) object: each value as stripped text, '' if it is missing."""
    stripped = [str(cell).strip() for cell in cells]
    return np.asarray(["" if text.casefold() in MISSING_WORDS else text for text in stripped], dtype=object)


def as_numbers(cells: np.ndarray) -> np.ndarray:
    """(n,) float64: each value as a number, NaN if it is missing, infinite or a word. `045Y` is 45, as DICOM writes
    ages."""
    if cells.dtype != object:
        return np.where(np.isfinite(cells), cells, np.nan).astype(np.float64)
    return np.asarray([_number(text) for text in as_text(cells)], dtype=np.float64)


def _number(text: str) -> float:
    if match := _DICOM_AGE.fullmatch(text):
        return float(match[1])
    try:
        value = float(text)
    except ValueError:
        return float("nan")
    return value if np.isfinite(value) else float("nan")


def is_numeric(cells: np.ndarray) -> bool:
    """Whether a column holds numbers, by its values that are not missing."""
    if cells.dtype != object:
        return True
    present = int((as_text(cells) != "").sum())
    return bool(present) and int(np.isfinite(as_numbers(cells)).sum()) >= NUMERIC_SHARE * present


def levels_of(cells: np.ndarray, patients: Sequence[object] | np.ndarray) -> tuple[str, ...]:
    """The categories of a column that at least `LEAST_OF_LEVEL` patients have, in order."""
    seen: dict[str, set[object]] = {}
    for text, patient in zip(as_text(cells), patients, strict=True):
        if text:
            seen.setdefault(text, set()).add(patient)
    return tuple(sorted(text for text, own in seen.items() if len(own) >= LEAST_OF_LEVEL))
