"""Columns of a draft that could be sites or folds, and what to do about small sites and numbered splits."""

import re
from collections.abc import Sequence

import pandas as pd

from radapt.cohorts.columns import RESERVED
from radapt.cohorts.draft import CohortDraft
from radapt.errors import DataError

_SITE_WORDS = (
    "siteid", "sitename", "hospital", "hospitalid", "hospitalname", "center", "centerid", "centre", "centreid",
    "institution", "institutionid", "institutionname", "institute", "clinic",
)  # fmt: skip

_FOLD_WORDS = ("fold", "folds", "kfold", "cvfold", "foldid", "foldnumber", "foldnr")
_MOST_FOLDS = 20
_FEW_PATIENTS = 5


def proposed_site(table: pd.DataFrame) -> list[str]:
    """A note on the column that probably names the hospital, by its name, and because several rows share a value; []
    where sites are known."""
    column = None if "site" in table else _called(table, _SITE_WORDS)
    count = 0 if column is None else _values(table[column])
    if column is None or not 1 < count <= len(table) / 2:
        return []
    return [f"Sites are not given; column {column!r} with {count} values could hold them: --site {column}."]


def proposed_folds(table: pd.DataFrame) -> list[str]:
    """A note on the column that probably holds folds, by its name, and because it has few values."""
    column = _called(table, _FOLD_WORDS)
    count = 0 if column is None else _values(table[column])
    if not 1 < count <= _MOST_FOLDS:
        return []
    return [
        f"Column {column!r} with {count} values could hold folds, in which every patient is tested once: --folds "
        f"column:{column}."
    ]


def _called(table: pd.DataFrame, words: Sequence[str]) -> str | None:
    """The column of the first of the words that one is called, whatever its case and marks."""
    plain = {re.sub(r"[\W_]+", "", str(name).casefold()): str(name) for name in table.columns}
    return next((plain[word] for word in words if word in plain), None)


def _values(column: pd.Series) -> int:
    return int(column.str.strip().replace("", None).nunique())


def refuse_numbered_splits(draft: CohortDraft) -> None:
    """Raise DataError if the splits are the numbers of folds, each of which would be a test set and none train."""
    words = sorted(set(draft.table["split"]) - {""})
    if len(words) > 1 and all(word.isdecimal() for word in words):
        raise DataError(
            f"The split of {draft.name} is a number, {', '.join(words[:4])}{', …' if len(words) > 4 else ''}; expected "
            "train, val or test. If these are folds, give --folds column:split; --redraw draws new splits."
        )


def small_sites(table: pd.DataFrame) -> list[str]:
    """A note on hospitals whose few patients make a fold of their own, and how to join them to another."""
    counts = table.groupby("site")["patient"].nunique().drop("", errors="ignore").sort_index()
    few = counts[counts < _FEW_PATIENTS]
    if few.empty or len(few) == len(counts):
        return []
    listed = ", ".join(f"{site} {count}" for site, count in few.items())
    example = f"{few.index[0]}: {counts.drop(few.index).idxmin()}"
    return [
        f"Hospitals with few patients are folds of their own: {listed}. To test one together with another, write "
        f"`merge: {{{example}}}` below `by: site` in cohort.yaml."
    ]


def needs_sites(option: str, table: pd.DataFrame) -> str:
    """That sites are unknown, and which columns could hold them: some rows share a value, and not all have the same."""
    own = [name for name in table.columns if name not in RESERVED and ":" not in name]
    shared = [name for name in own if 1 < table[name].nunique() <= len(table) / 2]
    which = f" Columns it could be: {', '.join(shared)}." if shared else ""
    return f"{option} needs sites; name the column that holds them with --site.{which}"
