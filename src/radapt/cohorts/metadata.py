"""The metadata of a cohort: the columns of its table that are neither image, mask, label nor split."""

import numpy as np

from radapt.cohorts.cohort import Cohort
from radapt.digests import digest

SITE = "site"

MISSING_WORDS = frozenset(
    ("", "-", "--", "?", ".", "na", "n/a", "nan", "nat", "none", "null", "unknown", "unk", "missing", "not available")
)
"""What counts as no value, in any letter case."""

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
    """The columns of age and sex, by the usual names (`age`, `Patient Age`, `sex`, `gender`); None if there is none."""
    plain = {"".join(filter(str.isalnum, name.casefold())): name for name in reversed(metadata_columns(cohort))}
    age, sex = (next((plain[word] for word in words if word in plain), None) for words in (_AGE, _SEX))
    return age, sex
