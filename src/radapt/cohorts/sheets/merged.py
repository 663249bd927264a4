"""Merged cells of a workbook: each cell gets the value that the eye sees in it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from radapt.errors import counted

Texts = dict[tuple[int, int], str]
"""(row, column) → text, both from 1; empty cells are absent or ''."""

_MOST_CELLS = 200_000


@dataclass(frozen=True)
class Area:
    """A merged range with its last row and column included."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def is_wide(self) -> bool:
        return self.right > self.left


def unmerge(texts: Texts, areas: Sequence[Area], notes: list[str]) -> None:
    """Fill merged ranges in place. A range in the header that spans columns is a prefix of the names below it.

    A range across columns of a line above or below the header keeps its value in its first cell: a title, or a remark.
    """
    filled = [area for area in areas if texts.get((area.top, area.left), "").strip()]
    tall = [area for area in filled if not area.is_wide and area.bottom - area.top < _MOST_CELLS]
    for area in tall:
        for row in range(area.top + 1, area.bottom + 1):
            texts[row, area.left] = texts[area.top, area.left]
    header = _header(texts)
    over = [area for area in filled if area.is_wide and area.top == header and _names_below(texts, area)]
    if over:
        names = ", ".join(repr(texts[area.top, area.left].strip()) for area in over[:4])
        _join_names(texts, header, over)
        notes.append(f"The names of columns are in two lines, joined: {names} and the names below.")
    if data := [area for area in tall if area.bottom > header + bool(over)]:
        notes.append(f"{counted(len(data), 'merged cell')} below the header read as the same value in every row.")
    if wide := [area for area in filled if area.is_wide and area.top > header]:
        notes.append(f"{counted(len(wide), 'merged cell')} over several columns read as a value of the first column.")


def _header(texts: Texts) -> int:
    """The first row with several values; the first with any if there is none."""
    rows = Counter(row for (row, _), text in texts.items() if text.strip())
    return min((row for row, count in rows.items() if count > 1), default=min(rows, default=1))


def _names_below(texts: Texts, area: Area) -> bool:
    below = [texts.get((area.bottom + 1, column), "").strip() for column in range(area.left, area.right + 1)]
    return all(below) and len(set(below)) == len(below)


def _join_names(texts: Texts, header: int, over: Sequence[Area]) -> None:
    """Write the joined names into the lower of the two lines, and empty the upper one."""
    prefix = {column: texts[area.top, area.left] for area in over for column in range(area.left, area.right + 1)}
    below = over[0].bottom + 1
    columns = {column for row, column in texts if row in (header, below)}
    for column in columns:
        top, name = prefix.get(column, texts.get((header, column), "")).strip(), texts.get((below, column), "").strip()
        texts[below, column] = top if top == name else f"{top} {name}".strip()
        for row in range(header, below):
            texts.pop((row, column), None)
