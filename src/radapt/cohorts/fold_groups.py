"""Which cases inner folds keep together, such as all of a hospital."""

from dataclasses import dataclass

import numpy as np

from radapt.cohorts.cohort import Cohort
from radapt.cohorts.metadata import SITE, metadata_table
from radapt.errors import UsageError, suggest

AUTO, PATIENT = "auto", "patient"
"""By site where the cohort leaves sites out in turn, otherwise by patient; and always by patient."""


@dataclass(frozen=True, eq=False)
class FoldGroups:
    """The group (N,) of every case by the values of a `column`; cases without a value are the group ''."""

    column: str
    groups: np.ndarray


def fold_groups(cohort: Cohort, by: str = AUTO) -> FoldGroups | None:
    """The groups that inner folds leave out whole: by the column `by` of the table, `auto` or `patient` (None).

    A site is of the group that it is merged with in the folds of the cohort. Raises UsageError for an unknown column.
    """
    rule = cohort.fold_rule
    by_site = rule is not None and rule.by_site
    if by == PATIENT or (by == AUTO and not by_site):
        return None
    name, table = SITE if by == AUTO else by, metadata_table(cohort)
    if name not in table:
        raise UsageError(
            f"inner_folds = {name!r} is no column of cohort {cohort.name!r}; expected {AUTO}, {PATIENT} or a column of "
            f"its table. {suggest(name, (AUTO, PATIENT, *table))}"
        )
    merge = rule.merge if rule is not None and name == SITE else {}
    return FoldGroups(name, np.asarray([merge.get(value, value) for value in table[name]], dtype=object))


def named_column(by: str) -> bool:
    """Whether `by` names a column, whose values then decide results."""
    return by not in (AUTO, PATIENT)
