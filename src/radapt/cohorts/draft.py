"""A cohort draft: what a layout reads, before splits are drawn and paths made relative."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from radapt.cohorts.cohort import Kind
from radapt.cohorts.cohort_file import Fractions
from radapt.cohorts.fold_rule import FoldRule
from radapt.cohorts.modalities.patterns import ModalityPattern
from radapt.cohorts.modalities.series_facts import SeriesFacts
from radapt.progress import ProgressMaker, silent


@dataclass(frozen=True)
class ScanOptions:
    """The options of `scan`.

    `label` (several: one finding each), `site`, `patient`, `split` and `case` name columns of the source's table, and
    `sheet` a sheet of it. `labels` is a table to join on its column `on`, in which these columns are looked for first.
    `modalities` are patterns of the names of images (see `modalities.patterns`).
    `patient_regex` extracts the patient from a file name, or from its path inside the source if the pattern holds a `/`
    or not every file name matches (its first group, or the whole match). `external` holds SITE
    or SITE=NAME for sites that become separate test sets. `redraw` ignores the source's splits. `folds` asks for
    folds in place of splits, which are then ignored, too. `progress` reports the progress of long work.
    """

    name: str | None = None
    kind: Kind | None = None
    label: tuple[str, ...] = ()
    site: str | None = None
    patient: str | None = None
    split: str | None = None
    case: str | None = None
    sheet: str | None = None
    labels: Path | None = None
    on: str | None = None
    modalities: tuple[ModalityPattern, ...] = ()
    patient_regex: str | None = None
    external: tuple[str, ...] = ()
    redraw: bool = False
    folds: FoldRule | None = None
    seed: int = 0
    fractions: Fractions = field(default_factory=Fractions)
    progress: ProgressMaker = silent


@dataclass(repr=False)
class CohortDraft:
    """A cohort before it is written.

    `table` has the columns of the contract, all text, '' for nothing; its locations (`image…`, `mask`) are absolute.
    `source_table` is the table of the source, and `rows` the line of each case in it (header = 1, None without a line),
    for messages. `notes` tell the user what was assumed or left out. `made` are the folders created to unpack an
    archive, innermost first. `patients_unknown` counts the cases whose patient is not given, so that the image counts
    as one; `proposal` is the pattern of a patient in the names that groups them, '' without one. `originals` maps the
    pseudonyms of patients to their ids in DICOM headers, which are private and never written with the cohort.
    `series` holds what DICOM headers say of a location; `suggestions` what `--modality` could join.
    `scanned` is the source that was given to `scan`.
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
    source_table: Path | None = None
    rows: list[int | None] = field(default_factory=list)
    made: tuple[Path, ...] = ()
    folds: FoldRule | None = None
    patients_unknown: int = 0
    proposal: str = ""
    originals: Mapping[str, str] = field(default_factory=dict, repr=False)
    series: Mapping[str, SeriesFacts] = field(default_factory=dict, repr=False)
    suggestions: tuple[str, ...] = ()
    scanned: Path | None = None

    def __repr__(self) -> str:
        return f"CohortDraft({self.name!r}, layout {self.layout}, {len(self.table)} cases, {len(self.notes)} notes)"

    @property
    def modalities(self) -> list[str]:
        """The image columns."""
        return [name for name in self.table.columns if name == "image" or name.startswith("image:")]

    @property
    def first_images(self) -> list[str]:
        """The location of the first image of each case."""
        return first_of_each([self.table[name] for name in self.modalities])

    @property
    def lines(self) -> list[int | None]:
        """`rows`, or None for every case without a source table."""
        return self.rows or [None] * len(self.table)

    @property
    def findings(self) -> list[str]:
        return [name.removeprefix("label:") for name in self.table.columns if name.startswith("label:")]


def first_of_each(columns: Sequence[Iterable[str]]) -> list[str]:
    """The first cell of each row that is not empty, else ''; a backward fill of pandas takes a minute for 10^5 rows."""
    return [next((text for text in cells if text), "") for cells in zip(*columns, strict=True)]


def text_table(rows: list[dict[str, str]]) -> pd.DataFrame:
    """A table of text from rows with different keys; a missing key is ''."""
    return pd.DataFrame(rows, dtype=object).fillna("").astype(object)
