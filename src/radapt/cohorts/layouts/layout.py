"""The interface of a layout: its name, a function that recognises it, and one that reads it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from radapt.cohorts.draft import CohortDraft, ScanOptions


class Recognise(Protocol):
    def __call__(self, root: Path) -> str | None:
        """What identifies `root` (a file or a folder) as this layout, in words; None if it is another."""


class Read(Protocol):
    def __call__(self, root: Path, options: ScanOptions) -> CohortDraft:
        """A draft of the cohort at `root`. Raises DataError if the data do not fit the layout."""


ROLES = ("label", "site", "patient", "split")
"""What a column of a layout's own table can be."""


@dataclass(frozen=True)
class Layout:
    """A folder layout; a file of this folder declares one as `LAYOUT`.

    `by_content` marks a layout without characteristic files (an index, a JSON); it is tried only if no layout with such
    files is recognised, because its images could belong to any of them. A `public` layout is that of one public data
    set, known by the names of its files; it goes before all others. `columns` are the roles for which the user may
    choose a column or field.
    """

    name: str
    what: str
    recognise: Recognise
    read: Read
    by_content: bool = False
    columns: tuple[str, ...] = ()
    public: bool = False
