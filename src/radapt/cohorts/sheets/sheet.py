"""A table as text: every cell a string, and the line of each record.

Everything is read as text so that patient `007` stays `007`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from radapt.cohorts.image_names import is_image
from radapt.cohorts.issue import CohortIssue
from radapt.errors import counted

_INDEX_NAME = re.compile(r"(Unnamed: \d+(\.\d+)?)?")  # pandas' index, and one written again
_MOST_TITLES = 20
_SAMPLED = 50  # records, to see that a column holds images


@dataclass(frozen=True)
class Sheet:
    """`columns` holds each column's cells in order ('' is empty); `rows` the line of each record, header = 1.

    `notes` say what was not plain: separator, encoding, decimal commas, what a spreadsheet has changed. `name` is that
    of the sheet in a workbook.
    """

    path: Path
    columns: dict[str, list[str]]
    rows: list[int]
    notes: tuple[str, ...] = ()
    name: str = ""

    def __len__(self) -> int:
        return len(self.rows)


@dataclass
class Records:
    """The lines of a table before its header is known; `lines` numbers them from 1."""

    cells: list[list[str]]
    lines: list[int]
    notes: list[str] = field(default_factory=list)
    name: str = ""
    separator: str = ""


def error(path: Path, code: str, message: str, *, row: int | None = None, fix: str = "") -> CohortIssue:
    return CohortIssue("error", code, message, row=row, file=path.name, fix=fix)


def assemble(
    path: Path, records: Records, problems: list[CohortIssue], plain: Callable[[str], str] = str
) -> Sheet | None:
    """The sheet of `records`, whose first line with several cells is the header. `plain` restores each cell.

    A first line that names an image, as the others do, is a record: the table has no header and is given one.
    """
    _drop_titles(records)
    _add_header(records)
    cells = _within_header(_without_blank_columns(records.cells))
    header = [plain(" ".join(name.split())) for name in cells[0]]
    index = _index_columns(cells)
    if not names_are_valid(path, header, problems, index):
        return None
    width = len(header)
    good = [at for at in range(1, len(cells)) if len(cells[at]) == width]
    if len(good) != len(cells) - 1:
        for record, line in islice(zip(cells, records.lines, strict=True), 1, None):
            if len(record) != width:
                message = f"{len(record)} fields, expected {width} as in the header."
                fix = "Quote values that contain a comma, and give every field."
                problems.append(error(path, "field-count", message, row=line, fix=fix))
    # Cells repeat often (sites, sexes, views); one string object per distinct value saves memory.
    shared: dict[str, str] = {}
    columns = {
        name: [shared.setdefault(cell, cell) for cell in (plain(cells[row][at]) for row in good)]
        for at, name in enumerate(header)
        if at not in index
    }
    return Sheet(path, columns, [records.lines[row] for row in good], tuple(records.notes), records.name)


def _drop_titles(records: Records) -> None:
    """Leave out lines above the header that hold a title in their first cell and nothing else."""
    cells = records.cells
    width = len(cells[0])
    count = 0
    while (
        count < min(_MOST_TITLES, len(cells) - 2)
        and width > 1
        and len(cells[count]) == width
        and cells[count][0].strip()
        and not any(cell.strip() for cell in cells[count][1:])
    ):
        count += 1
    if count and sum(bool(cell.strip()) for cell in cells[count]) > 1:
        records.notes.append(f"{counted(count, 'line')} above the header left out, such as {cells[0][0].strip()!r}.")
        del records.cells[:count], records.lines[:count]


def _add_header(records: Records) -> None:
    """Name the columns of a list of images, of which the first line names one like the others."""
    cells = records.cells
    images = [at for at, cell in enumerate(cells[0]) if _names_image(cell) and _mostly_images(cells, at)]
    if not images:
        return
    names = [f"column {at + 1}" for at in range(len(cells[0]))]
    if len(images) == 1:
        names[images[0]] = "image"
        if len(names) == 2:
            names[1 - images[0]] = "label"
    records.notes.append(
        f"The first line names an image, so there is no header; columns are called {', '.join(names)}."
    )
    records.cells.insert(0, names)
    records.lines.insert(0, 0)


def _names_image(cell: str) -> bool:
    return is_image(cell.strip().partition("::")[0])


def _mostly_images(cells: list[list[str]], at: int) -> bool:
    following = [record[at] for record in cells[1 : _SAMPLED + 1] if at < len(record) and record[at].strip()]
    return 2 * sum(map(_names_image, following)) >= len(following)


def _index_columns(records: list[list[str]]) -> frozenset[int]:
    """The unnamed columns that number the rows 0, 1, 2, …: pandas writes its index like this."""
    nameless = [at for at, name in enumerate(records[0]) if _INDEX_NAME.fullmatch(name.strip())]
    counts = [str(row) for row in range(len(records) - 1)]
    return frozenset(at for at in nameless if [record[at] for record in records[1:] if at < len(record)] == counts)


def _without_blank_columns(records: list[list[str]]) -> list[list[str]]:
    """Records without the columns that have neither name nor value, as a comma at the end of every line makes."""
    width = len(records[0])
    nameless = [at for at, name in enumerate(records[0]) if not name.strip()]
    blank = {at for at in nameless if not any(at < len(record) and record[at].strip() for record in records)}
    if not blank:
        return records
    return [
        [cell for at, cell in enumerate(record) if at not in blank] if len(record) == width else record
        for record in records
    ]


def _within_header(records: list[list[str]]) -> list[list[str]]:
    """Records without the empty cells that stand beyond the header."""
    width = len(records[0])
    return [
        record[:width] if len(record) > width and not any(cell.strip() for cell in record[width:]) else record
        for record in records
    ]


def names_are_valid(
    path: Path, header: list[str], problems: list[CohortIssue], index: frozenset[int] = frozenset()
) -> bool:
    before = len(problems)
    for number, name in enumerate(header, start=1):
        if number - 1 in index:
            continue
        if not name:
            message = f"Column {number} has no name."
            fix = "Name it or delete it (pandas: to_csv(..., index=False))."
            problems.append(error(path, "unnamed-column", message, row=1, fix=fix))
        elif header.index(name) != number - 1:
            message = f"There are two columns {name!r}."
            problems.append(error(path, "duplicate-column", message, row=1, fix="Keep one of them."))
    return len(problems) == before
