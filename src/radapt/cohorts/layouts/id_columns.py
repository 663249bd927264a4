"""Which column of a table names the cases: a running number beside the ids may name them all, too, in other rows."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from radapt.cohorts.layouts.tables import is_patient_word

_OF_CASES = re.compile(
    r"(?:case|study|studie|fall|image|img|bild|file|filename|datei|scan|sample)(?:_?(?:id|nr|no|name|number|nummer))?",
)
_ID = re.compile(r"(?:.*_)?(?:id|ids|identifier|mrn)")
_NEAR = 0.9
"""A column that names this share of what the best one names is a rival."""


@dataclass(frozen=True)
class IdColumn:
    """The column that names the cases by `key` (`case`, `patient` or `image`).

    `rivals` are the columns, this one among them, that name nearly as many cases but in other rows, and whose names do
    not say which holds the ids; empty if it is clear.
    """

    column: str
    key: str
    rivals: tuple[str, ...] = ()

    def words(self) -> str:
        """What is unclear."""
        return f"the columns {' and '.join(map(repr, self.rivals))} all name the cases, but each in other rows"


def id_column(
    hits: Mapping[tuple[str, str], int], rows: Callable[[str, str], Sequence[object]], first: tuple[str, str]
) -> IdColumn:
    """Choose between `first` and the other (column, key) of `hits`, which counts the cases that each names.

    `rows` gives the row of each case by a column and key, None without one.
    """
    near = [name for name, count in hits.items() if name[0] != first[0] and count >= max(_NEAR * hits[first], 1)]
    others = {name[0]: name for name in reversed(near) if _differ(rows(*name), rows(*first))}
    if not others:
        return IdColumn(*first)
    likely = most_like_ids([first[0], *others])
    if len(likely) == 1:
        return IdColumn(*others.get(likely[0], first))
    return IdColumn(*first, rivals=tuple(sorted([first[0], *others])))


def most_like_ids(columns: Sequence[str]) -> list[str]:
    """The columns whose names say most clearly that they hold ids: of patients or cases, else any; all if none does."""
    for says in (_is_of_cases, lambda name: bool(_ID.fullmatch(_plain(name)))):
        if found := [name for name in columns if says(name)]:
            return found
    return list(columns)


def _is_of_cases(name: str) -> bool:
    return is_patient_word(name) or bool(_OF_CASES.fullmatch(_plain(name)))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")


def _differ(first: Sequence[object], other: Sequence[object]) -> bool:
    return any(a is not None and b is not None and a != b for a, b in zip(first, other, strict=True))
