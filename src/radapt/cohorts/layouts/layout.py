"""What every layout is: a name, a way to recognise it, and a way to read it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from radapt.cohorts.draft import CohortDraft, ScanOptions


class Recognise(Protocol):
    def __call__(self, root: Path) -> str | None:
        """What was seen at `root` (a file or a folder) that makes it this layout; None if it is not."""


class Read(Protocol):
    def __call__(self, root: Path, options: ScanOptions) -> CohortDraft:
        """A draft of the cohort at `root`. Raises DataError where the data are not what the layout needs."""


@dataclass(frozen=True)
class Layout:
    """A folder layout. `by_content` marks one without files of its own (an index, a JSON); it is asked only
    if no layout with such files has been recognised, since its images could be part of any of them.
    `columns` are the roles for which the user may choose a column or field.
    """

    name: str
    what: str
    recognise: Recognise
    read: Read
    by_content: bool = False
    columns: tuple[str, ...] = ()
