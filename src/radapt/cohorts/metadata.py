"""The metadata of a cohort: the columns of its table that are neither image, mask, label nor split."""

import re
from collections.abc import Iterable

import numpy as np

from radapt.cohorts.cohort import Cohort
from radapt.digests import digest

SITE = "site"

MISSING_WORDS = frozenset(
    ("", "-", "--", "?", ".", "na", "n/a", "nan", "nat", "none", "null", "unknown", "unk", "missing", "not available")
)
"""What counts as no value, in any letter case."""

NUMERIC_SHARE = 0.9
"""A column is numeric if so many of its values are numbers; its other values are missing."""

_DICOM_AGE = re.compile(r"(\d{1,3})[yY]|(\d{3})([MWD])")
_PER_YEAR = {"M": 12, "W": 365.25 / 7, "D": 365.25}
_IN_BRACKETS = re.compile(r"\s*[(\[](?!\s*(?:mon|week|day|woche|tag))[^()\[\]]*[)\]]\s*$", re.IGNORECASE)
_AGE = ("age", "ageyears", "ageinyears", "ageatdiagnosis", "ageatscan", "patientage")
_SEX = ("sex", "gender", "patientsex", "patientgender")


def metadata_columns(cohort: Cohort) -> tuple[str, ...]:
    """The names of the metadata columns in the order of the table, then `site` if any case has one."""
    names = dict.fromkeys(name for case in cohort for name in case.metadata)
    return (*names, *((SITE,) if any(case.site for case in cohort) else ()))


def metadata_table(cohort: Cohort) -> dict[str, np.ndarray]:
    """The metadata as text: column -> (N,) object, '' where a case has no value."""
    table = {name: [case.metadata.get(name, "").strip() for case in cohort] for name in metadata_columns(cohort)}
    if SITE in table:
        table[SITE] = [case.site or "" for case in cohort]
    return {name: np.asarray(cells, dtype=object) for name, cells in table.items()}


def varied_columns(cohort: Cohort) -> tuple[str, ...]:
    """The columns with at least two values, but for those that define the folds of the cohort (see `fold_columns`)."""
    without = fold_columns(cohort)
    return tuple(
        name for name, cells in metadata_table(cohort).items() if name not in without and len(values_of(cells)) > 1
    )


def values_of(cells: np.ndarray) -> set[str]:
    """The distinct values of a column, without what counts as missing."""
    return {text for text in cells if text.casefold() not in MISSING_WORDS}


def fold_columns(cohort: Cohort) -> dict[str, str]:
    """The columns that define the folds, and why they say nothing about a fold that is held out."""
    rule = cohort.fold_rule
    if rule is None:
        return {}
    if rule.by_site:
        return {SITE: "each site is held out in turn, so it says nothing about the one that is tested"}
    return {} if rule.column is None else {rule.column: "it names the folds"}


def metadata_digest(cohort: Cohort) -> str:
    """A digest of all metadata, which decide the results of protocols that read them."""
    return digest({name: cells.tolist() for name, cells in metadata_table(cohort).items()})


def age_and_sex(cohort: Cohort) -> tuple[str | None, str | None]:
    """The columns of age and sex, by the usual names (`age`, `Patient Age (years)`, `Sex (m/f)`); None without one.

    A unit or a key in brackets is not part of the name, but for an age in months, weeks or days.
    """
    plain = {_plain_name(name): name for name in reversed(metadata_columns(cohort))}
    age, sex = (next((plain[word] for word in words if word in plain), None) for words in (_AGE, _SEX))
    return age, sex


def column_like(name: str, columns: Iterable[str]) -> str | None:
    """The one of the `columns` that another table calls `name`: that of the same name, else the first with another of
    the usual names if `name` is one of age or of sex. None if there is none."""
    given = list(columns)
    if name in given:
        return name
    known = {_plain_name(column): column for column in reversed(given)}
    words = next((words for words in (_AGE, _SEX) if _plain_name(name) in words), ())
    return next((known[word] for word in words if word in known), None)


def _plain_name(column: str) -> str:
    return "".join(filter(str.isalnum, _IN_BRACKETS.sub("", column).casefold()))


def as_text(cells: np.ndarray) -> np.ndarray:
    """(n,) object: each value as stripped text, '' if it is missing."""
    stripped = [str(cell).strip() for cell in cells]
    return np.asarray(["" if text.casefold() in MISSING_WORDS else text for text in stripped], dtype=object)


def as_numbers(cells: np.ndarray) -> np.ndarray:
    """(n,) float64: each value as a number, NaN if it is missing, infinite or a word.

    Ages as DICOM writes them are in years: `045Y` is 45, `018M` is 1.5, and so with weeks and days.
    """
    if cells.dtype != object:
        return np.where(np.isfinite(cells), cells, np.nan).astype(np.float64)
    return np.asarray([_number(text) for text in as_text(cells)], dtype=np.float64)


def _number(text: str) -> float:
    if match := _DICOM_AGE.fullmatch(text):
        return float(match[1]) if match[1] else float(match[2]) / _PER_YEAR[match[3]]
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
