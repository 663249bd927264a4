"""Groups of patients by a column of the cohort's table: site, sex, bands of age, scanner, view.

Words, and numbers of few values, are groups as they stand; values that few patients have become `other`. Other numbers
are cut into bands: ages every 20 years, the rest at their thirds. A band of few patients joins its smaller neighbour.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from radapt.cohorts.cohort import Cohort
from radapt.cohorts.metadata import age_and_sex, as_numbers, as_text, fold_columns, is_numeric, metadata_table

LEAST_PATIENTS = 10
"""Patients of a group of its own."""

OTHER = "other"
_MOST_GROUPS = 12  # of a column that is not named
_FEW_VALUES = 6  # up to which numbers are groups as they stand, such as grades
_AGES = (20.0, 40.0, 60.0, 80.0)
_ID_PATIENTS = 20  # from which whole numbers that all differ are an identifier


@dataclass(frozen=True, eq=False)
class Grouping:
    """The group (N,) of every case by one column, '' where the table has no value; `names` of the groups in order."""

    column: str
    groups: np.ndarray
    names: tuple[str, ...]


def groupings(cohort: Cohort, columns: Sequence[str] | None = None) -> tuple[Grouping, ...]:
    """The groups by each of `columns`; None: by every column of the table with two groups of `LEAST_PATIENTS` at least.

    Of columns that are not named those are left out that have more than 12 such groups, in which more than half of the
    patients are `other` (free text), that look like identifiers, and the column of the folds unless it is the site.
    A named column that the cohort lacks, or that has a single group, gives none.
    """
    table, patients = metadata_table(cohort), np.asarray(cohort.patients)
    age, _ = age_and_sex(cohort)
    left_out = set() if columns is not None else fold_columns(cohort).keys() - {"site"}
    wanted = [name for name in (table if columns is None else columns) if name in table and name not in left_out]
    found = [_grouping(name, table[name], patients, is_age=name == age) for name in wanted]
    return tuple(each for each in found if _is_useful(each, patients, named=columns is not None))


def group_table(cohort: Cohort, found: Iterable[Grouping]) -> pd.DataFrame:
    """A row per case: `case`, and its group by each column, as ordered categories; missing where there is no value."""
    columns = {
        each.column: pd.Categorical([name or None for name in each.groups], categories=list(each.names), ordered=True)
        for each in found
    }
    return pd.DataFrame({"case": [case.case for case in cohort], **columns})


def _grouping(name: str, cells: np.ndarray, patients: np.ndarray, *, is_age: bool) -> Grouping:
    numbers = as_numbers(cells)
    distinct = np.unique(numbers[np.isfinite(numbers)])
    if not is_numeric(cells) or (len(distinct) <= _FEW_VALUES and not is_age):
        return _of_words(name, as_text(cells), patients)
    if not is_age and _identifies(numbers, patients):
        return Grouping(name, np.full(len(cells), "", dtype=object), ())
    edges = _AGES if is_age else np.unique(np.nanquantile(numbers, [1 / 3, 2 / 3]))
    return _of_bands(name, numbers, edges, patients, is_age=is_age)


def _of_words(name: str, text: np.ndarray, patients: np.ndarray) -> Grouping:
    counts = {value: len(set(patients[text == value])) for value in sorted(set(text)) if value}
    kept = [value for value, count in counts.items() if count >= LEAST_PATIENTS]
    if len(kept) + 1 == len(counts):  # a single rare value keeps its name
        kept = list(counts)
    groups = np.asarray([value if not value or value in kept else OTHER for value in text], dtype=object)
    rest = [OTHER] if OTHER in groups and OTHER not in kept else []
    return Grouping(name, groups, (*_in_order(kept), *rest))


def _in_order(values: list[str]) -> list[str]:
    numbers = as_numbers(np.asarray(values, dtype=object))
    return sorted(values) if np.isnan(numbers).any() else [values[at] for at in np.argsort(numbers, kind="stable")]


def _of_bands(
    name: str, numbers: np.ndarray, edges: Sequence[float] | np.ndarray, patients: np.ndarray, *, is_age: bool
) -> Grouping:
    """Bands that begin (ages), or end, at the edges."""
    known = np.isfinite(numbers)
    bounds = [float(edge) for edge in edges]

    def band(edges: list[float]) -> np.ndarray:
        return np.searchsorted(edges, numbers[known], side="right" if is_age else "left")

    while bounds:
        sizes = [len(set(patients[known][band(bounds) == at])) for at in range(len(bounds) + 1)]
        least = int(np.argmin(sizes))
        if sizes[least] >= LEAST_PATIENTS:
            break
        beside = [at for at in (least - 1, least + 1) if 0 <= at < len(sizes)]
        del bounds[min(least, min(beside, key=lambda at: sizes[at]))]
    names = _ages(bounds) if is_age else _spans(bounds)
    groups = np.full(len(numbers), "", dtype=object)
    groups[known] = np.asarray(names, dtype=object)[band(bounds)]
    return Grouping(name, groups, tuple(names))


def _ages(bounds: list[float]) -> list[str]:
    if not bounds:
        return ["every age"]
    inner = [f"{low:g}–{high - 1:g}" for low, high in pairwise(bounds)]
    return [f"under {bounds[0]:g}", *inner, f"{bounds[-1]:g} and over"]


def _spans(bounds: list[float]) -> list[str]:
    if not bounds:
        return ["every value"]
    inner = [f"over {low:.4g} to {high:.4g}" for low, high in pairwise(bounds)]
    return [f"up to {bounds[0]:.4g}", *inner, f"over {bounds[-1]:.4g}"]


def _identifies(numbers: np.ndarray, patients: np.ndarray) -> bool:
    """Whether whole numbers differ between all of at least 20 patients."""
    known = np.isfinite(numbers)
    own = set(zip(numbers[known].tolist(), patients[known].tolist(), strict=True))
    whole = bool((numbers[known] == np.round(numbers[known])).all())
    people = {patient for _, patient in own}
    return whole and len(people) >= _ID_PATIENTS and len({number for number, _ in own}) == len(own)


def _is_useful(found: Grouping, patients: np.ndarray, *, named: bool) -> bool:
    sizes = {name: len(set(patients[found.groups == name])) for name in found.names}
    if named:
        return len(sizes) > 1
    large = [name for name, size in sizes.items() if size >= LEAST_PATIENTS]
    rest = sizes.get(OTHER, 0)
    return 2 <= len(large) <= _MOST_GROUPS and 2 * rest <= sum(sizes.values())
