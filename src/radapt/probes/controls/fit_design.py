"""Which columns of a table say something that is not the label itself, as the training cases show."""

from collections.abc import Iterable

import numpy as np

from radapt.cohorts.metadata import as_numbers, as_text, is_numeric
from radapt.errors import counted
from radapt.probes.controls.table_design import (
    CategoryColumn,
    Column,
    NumberColumn,
    Table,
    TableDesign,
    levels_of,
)

ID_PATIENTS = 20
"""From so many training patients on a column of whole numbers that all differ is an identifier: ages repeat."""

PER_VALUE = 4
"""A column of words decides the label if each of its values goes with one label and has so many cases on average."""

STRONG = 0.25
"""Share of the uncertainty about the label that a column removes, above which a note asks what it is. IDH status has
0.28 of the molecular subtype of a glioma, sex less than 0.01."""

_NAMED = 5
"""Columns that a note names; it counts the others."""


def fit_design(table: Table, rows: np.ndarray, labels: np.ndarray, patients: np.ndarray) -> TableDesign:
    """The design of the columns of `table` for the labelled training cases `rows` (n,).

    `labels` (N,) class indices or (N, F) findings with NaN unknown, and `patients` (N,) of all cases, of which only the
    training rows are read. Left out, with a note: columns that are empty or constant in training, and of those of text
    identifiers (a value of its own for each patient) and columns that repeat the label. Columns of floats are measured
    in images, which no label is copied into.
    """
    columns: list[Column] = []
    left_out: dict[str, list[str]] = {}
    strong = []
    for name, whole in table.items():
        cells, own = whole[rows], patients[rows]
        numeric = is_numeric(cells)
        values = _values(cells, numeric)
        why = _why_not(name, cells, values, numeric, labels[rows], own)
        column = None if why else _column(name, cells, numeric, own)
        if column is None:
            left_out.setdefault(why or "it has no value that two training patients share", []).append(name)
            continue
        columns.append(column)
        if cells.dtype == object and (share := certainty(values, labels[rows])) >= STRONG:
            strong.append(f"{name!r} ({share:.0%})")
    notes = [_left_out_note(names, why) for why, names in left_out.items()]
    if strong:
        notes.append(
            f"Removes much of the uncertainty about the label on its own: {', '.join(strong)}. If it is known only "
            "after the diagnosis, leave it out, as in {metadata: {without: […]}}."
        )
    if not columns:
        notes.append("No column is left, so every patient has the probabilities of the training set.")
    return TableDesign(tuple(columns), tuple(notes))


def _left_out_note(names: list[str], why: str) -> str:
    shown = ", ".join(repr(name) for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{counted(len(names), 'column')} left out ({shown}{more}): {why}."


def _column(name: str, cells: np.ndarray, numeric: bool, patients: np.ndarray) -> Column | None:
    if not numeric:
        levels = levels_of(cells, patients)
        return CategoryColumn(name, levels) if levels else None
    numbers = as_numbers(cells)
    return NumberColumn(name, float(np.nanmedian(numbers)), bool(np.isnan(numbers).any()))


def _values(cells: np.ndarray, numeric: bool) -> np.ndarray:
    """(n,) int64: a number for each distinct value, -1 where it is missing."""
    if numeric:
        numbers = as_numbers(cells)
        present = np.isfinite(numbers)
        found = np.unique(numbers[present], return_inverse=True)[1]
    else:
        text = as_text(cells)
        present = text != ""
        found = np.unique(text[present].astype(str), return_inverse=True)[1]
    values = np.full(len(cells), -1, dtype=np.int64)
    values[present] = found
    return values


def _why_not(
    name: str, cells: np.ndarray, values: np.ndarray, numeric: bool, labels: np.ndarray, patients: np.ndarray
) -> str:
    """Why a column is left out; '' if it is not. Ages and fractions are never identifiers."""
    present = values >= 0
    distinct = int(values.max(initial=-1)) + 1
    if not present.any():
        return "empty in every training case"
    if distinct == 1:
        return "has a single value in training"
    if cells.dtype != object:
        return ""
    if repeats_label(values, numeric, labels):
        return "repeats the label, or part of it, in training"
    measured = "age" in name.casefold() or (numeric and not _whole(cells))
    if not measured and _identifies(values, distinct, ID_PATIENTS if numeric else 2, patients):
        return "has a value of its own for each patient, as an identifier has"
    return ""


def _whole(cells: np.ndarray) -> bool:
    numbers = as_numbers(cells)
    numbers = numbers[np.isfinite(numbers)]
    return bool((numbers == np.round(numbers)).all())


def _identifies(values: np.ndarray, distinct: int, least: int, patients: np.ndarray) -> bool:
    """Whether no two of at least `least` patients share a value."""
    present = values >= 0
    pairs = set(zip(values[present].tolist(), patients[present].tolist(), strict=True))
    return len(pairs) == distinct and len({patient for _, patient in pairs}) >= least


def repeats_label(values: np.ndarray, numeric: bool, labels: np.ndarray) -> bool:
    """Whether the values (n,), -1 missing, are the label under other names, or part of it.

    That is so if the label decides the value (of two values or more), or if the values of a column of words, of
    `PER_VALUE` cases each on average, decide the label. Of findings one is enough. A numeric column that decides the
    label by a threshold is a predictor, not a copy.
    """
    for answers in _answers(labels):
        known = (values >= 0) & (answers >= 0)
        pairs = set(zip(values[known].tolist(), answers[known].tolist(), strict=True))
        distinct, classes = len({value for value, _ in pairs}), len({answer for _, answer in pairs})
        if distinct < 2 or classes < 2:
            continue
        label_decides = len(pairs) == classes
        value_decides = len(pairs) == distinct and not numeric and PER_VALUE * distinct <= known.sum()
        if (label_decides or value_decides) and known.sum() >= PER_VALUE * min(distinct, classes):
            return True
    return False


def certainty(values: np.ndarray, labels: np.ndarray) -> float:
    """The share of the entropy of the label that values (n,), -1 missing, remove: Theil's U, 0 to 1.

    Of findings the largest; 0 where a label has no entropy, or with fewer than `PER_VALUE` cases per value, which
    would say something by chance.
    """
    shares = [0.0]
    for answers in _answers(labels):
        known = (values >= 0) & (answers >= 0)
        if known.sum() < max(1, PER_VALUE * len(set(values[known].tolist()))):
            continue
        table = np.zeros((values.max() + 1, answers.max() + 1))
        np.add.at(table, (values[known], answers[known]), 1)
        whole = _entropy(table.sum(axis=0))
        if whole > 0:
            inside = sum(row.sum() / table.sum() * _entropy(row) for row in table if row.sum())
            shares.append(float(1 - inside / whole))
    return max(shares)


def _entropy(counts: np.ndarray) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def _answers(labels: np.ndarray) -> Iterable[np.ndarray]:
    """(n,) int64 of the label, or of each finding; -1 where it is unknown."""
    if labels.ndim == 1:
        return [labels]
    return [np.nan_to_num(column, nan=-1).astype(np.int64) for column in labels.T]
