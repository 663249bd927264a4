"""What radapt knows about a public data set: its facts, and how its files and tables are named.

Patterns are regular expressions on the path inside the data set, with `/`, from any folder on; their named groups say
what a file is. `patient`, `case`, `label`, `split` and `site` are the columns of these names, `sequence` is that of an
image, `structure` that of a mask; every other group is metadata.
"""

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from radapt.parsing.strict_yaml import StrictModel, read_yaml

CARDS = Path(__file__).with_name("datasets")


def _compiles(text: str) -> str:
    re.compile(text)  # pydantic turns re.error, a ValueError, into a message with the line of the file
    return text


Pattern = Annotated[str, AfterValidator(_compiles)]


class FilePattern(StrictModel):
    """Files of a kind; `sequence` names the sequence of all of them where their names do not.

    Of several patterns of masks a case has those of the first that it has files of; `note` says what the scan notes on
    the cases of this one, such as that their mask was drawn by a program.
    """

    path: Pattern
    sequence: str = ""
    note: str = ""


class FindingColumns(StrictModel):
    """Columns of a table that hold one finding each; `values` maps their cells, and `unknown` is what '' stands for."""

    names: tuple[str, ...]
    values: dict[str, str] = {"1": "1", "1.0": "1", "0": "0", "0.0": "0"}
    unknown: str = ""
    note: str = ""


class TablePattern(StrictModel):
    """A table: its file name, the column that says which case or patient a row is of, and what its columns are.

    `key` lists names that the column has had; `a + b` is two columns, joined with '-'. `pattern` takes the key out of
    its cells (the groups, joined with '-'). Rows are joined to the fact `by` of a case. `label` lists columns like
    `key`, with `*` for the rest of a name. With `majority` several rows of a key (one per reader) are one: the finding
    that most of them have. `columns` are kept as metadata; None keeps all.
    """

    file: Pattern
    key: tuple[str, ...]
    pattern: Pattern = ""
    by: str = "patient"
    label: tuple[str, ...] = ()
    patient: str = ""
    site: str = ""
    split: str = ""
    findings: FindingColumns | None = None
    majority: bool = False
    columns: tuple[str, ...] | None = None


class TextPattern(StrictModel):
    """Small text files, one per case or patient; every named group of `find` is a fact of it."""

    path: Pattern
    find: tuple[Pattern, ...]
    by: str = "patient"


class SetFiles(StrictModel):
    """How the files of a data set are named, and what the words in their names mean.

    `needs` and `unless` are patterns of a file that tells this data set from others whose images have the same names:
    it must, or must not, be there.
    """

    needs: Pattern = ""
    unless: Pattern = ""
    images: tuple[FilePattern, ...]
    masks: tuple[FilePattern, ...] = ()
    mask_labels: dict[int, str] = {}
    values: dict[str, dict[str, str]] = {}
    """Group or role → text → what it means; a label that maps to '' is unknown."""
    classes: tuple[str, ...] = ()
    tables: tuple[TablePattern, ...] = ()
    texts: tuple[TextPattern, ...] = ()
    notes: tuple[str, ...] = ()
    """What a user should know about the labels or patients, said by every scan."""


class DatasetCard(StrictModel):
    """A public data set. `layout` names the layout that reads it, by default the one of the card itself."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    task: str
    kind: Literal["xray", "ct", "mri", "other"] | None = None
    size: str
    licence: str
    url: str
    citation: str
    expects: str
    version: str = ""
    layout: str = ""
    files: SetFiles | None = None

    @property
    def source(self) -> dict[str, str]:
        """What `source` of a cohort.yaml says of it."""
        facts = {"title": self.title, "licence": self.licence, "url": self.url, "version": self.version}
        return {key: value for key, value in {**facts, "citation": self.citation}.items() if value}


@cache
def dataset_cards() -> dict[str, DatasetCard]:
    """Every data set by name, in order of their names."""
    cards = [read_yaml(path, DatasetCard, "data set card") for path in sorted(CARDS.rglob("*.yaml"))]
    return {card.name: card for card in sorted(cards, key=lambda card: card.name)}
