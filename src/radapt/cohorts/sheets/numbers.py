"""Numbers in the cells of a table: decimal commas, and the traces that a spreadsheet leaves in ids and dates."""

import re
from collections.abc import Sequence
from dataclasses import replace

from radapt.cohorts.labels import is_missing
from radapt.cohorts.sheets.sheet import Sheet

_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?")
_WITHOUT = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+)")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")
_SCIENTIFIC = re.compile(r"\d[.,]\d+[eE]\+\d{2,}")
_DATE_NAMES = re.compile(r"date|datum|birth|geburt|dob", re.IGNORECASE)
_SERIAL = range(10_000, 80_000)  # 1927 to 2119
_LISTED = 6


def with_plain_numbers(sheet: Sheet, *, commas_are_quoted: bool) -> Sheet:
    """The sheet with decimal points in the columns whose values are all numbers with decimal commas.

    `1,234` alone may mean a thousand where the comma also separates the columns (`commas_are_quoted`): then a column of
    such numbers is left as it is. `notes` say which columns are changed, and which ids and dates look damaged.
    """
    columns, changed = dict(sheet.columns), []
    notes: list[str] = list(sheet.notes)
    for name, cells in sheet.columns.items():
        if has_decimal_commas(cells, commas_are_quoted=commas_are_quoted):
            columns[name] = [_pointed(cell) for cell in cells]
            changed.append(name)
        elif trace := _trace(name, cells):
            notes.append(trace)
    if changed:
        notes.append(f"Decimal commas are read as points in {', '.join(map(repr, changed[:_LISTED]))}{_more(changed)}.")
    return replace(sheet, columns=columns, notes=tuple(notes))


def has_decimal_commas(cells: Sequence[str], *, commas_are_quoted: bool = False) -> bool:
    """Whether all values are numbers, some of them with a decimal comma."""
    if not any("," in cell for cell in cells):
        return False
    values = _values(cells)
    if not all(_COMMA.fullmatch(text) or _WITHOUT.fullmatch(text) for text in values):
        return False
    return not (commas_are_quoted and all(_THOUSANDS.fullmatch(text) for text in values if "," in text))


def _pointed(cell: str) -> str:
    return cell if is_missing(cell) else cell.strip().replace(".", "").replace(",", ".")


def _values(cells: Sequence[str]) -> set[str]:
    return {text for cell in cells if (text := cell.strip()) and not is_missing(text)}


def _trace(name: str, cells: Sequence[str]) -> str | None:
    long = {text for cell in cells if _SCIENTIFIC.fullmatch(text := cell.strip())}
    if not long and not _DATE_NAMES.search(name):
        return None
    values = _values(cells)
    if not values:
        return None
    if long and len(long) * 2 >= len(values):
        return (
            f"Column {name!r} holds numbers such as {min(long)!r}, as Excel shows long ids; digits may be lost. "
            "Format the column as text and export it again."
        )
    if _DATE_NAMES.search(name) and all(text.isdecimal() and int(text[:9]) in _SERIAL for text in values):
        return f"Column {name!r} holds numbers such as {min(values)!r}, probably days as a spreadsheet counts them."
    return None


def _more(names: Sequence[str]) -> str:
    return ", …" if len(names) > _LISTED else ""
