"""A cohort that is about to be written: what a layout found, before splits are drawn and paths made relative."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from radapt.cohorts.cohort import Kind
from radapt.cohorts.config import Fractions
from radapt.progress import ProgressMaker, silent


@dataclass(frozen=True)
class ScanOptions:
    """What the user of `scan` may say.

    `label` (several: one finding each), `site`, `patient` and `split` name columns of the layout's own table.
    `patient_regex` finds the patient in a file name (its first group, or all it matches). `external` holds
    SITE or SITE=NAME for sites that become test sets of their own. `redraw` sets the layout's own splits
    aside. `progress` shows how far work on many files has come.
    """

    name: str | None = None
    kind: Kind | None = None
    label: tuple[str, ...] = ()
    site: str | None = None
    patient: str | None = None
    split: str | None = None
    patient_regex: str | None = None
    external: tuple[str, ...] = ()
    redraw: bool = False
    seed: int = 0
    fractions: Fractions = field(default_factory=Fractions)
    progress: ProgressMaker = silent


@dataclass
class CohortDraft:
    """A cohort in the making.

    `table` has the columns of the contract, all text, '' for nothing; its locations (`image…`, `mask`) are
    absolute. `told_by` is the source's own table, and `rows` the line in it of each case (header = 1, None if it has
    none), for messages. `notes` tell the user what was decided or left out. `made` are the folders
    that were made to unpack an archive into, innermost first.
    """

    name: str
    layout: str
    table: pd.DataFrame
    kind: Kind | None = None
    classes: tuple[str, ...] = ()
    ordered: bool = False
    mask_labels: Mapping[int, str] = field(default_factory=dict)
    source: Mapping[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    told_by: Path | None = None
    rows: list[int | None] = field(default_factory=list)
    made: tuple[Path, ...] = ()

    @property
    def modalities(self) -> list[str]:
        """The image columns."""
        return [name for name in self.table.columns if name == "image" or name.startswith("image:")]

    @property
    def lines(self) -> list[int | None]:
        """`rows`, also where no table is behind the cases."""
        return self.rows or [None] * len(self.table)

    @property
    def findings(self) -> list[str]:
        return [name.removeprefix("label:") for name in self.table.columns if name.startswith("label:")]


def text_table(rows: list[dict[str, str]]) -> pd.DataFrame:
    """Rows with different keys → a table of text; a key that a row lacks is ''."""
    return pd.DataFrame(rows, dtype=object).fillna("").astype(object)
