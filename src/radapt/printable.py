"""Text from data, made safe to show: no escape sequences for a terminal, no formulas for a spreadsheet."""

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All but tab and newline, with the marks that turn the direction of writing."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_QUOTED = re.compile(r"'+[=+@\t\r-]")
"""Apostrophes in front of a formula: one more is written, and one fewer read."""

_NUMBER = re.compile(r"[+-]?(\d[\d ]*([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?%?|[+-]|[+-]?(inf|nan)")


def printable(text: str) -> str:
    r"""`text` with control characters written out.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def csv_cell(text: str) -> str:
    """`text` as a cell of a CSV file: an apostrophe in front of what a spreadsheet would run as a formula.

    >>> csv_cell("=1+1"), csv_cell("-1.5"), csv_cell("healthy")
    ("'=1+1", '-1.5', 'healthy')
    """
    runs = text.startswith(_FORMULA) and not _NUMBER.fullmatch(text)
    return f"'{text}" if runs or _QUOTED.match(text) else text


def from_csv_cell(text: str) -> str:
    """The text that `csv_cell` wrote."""
    return text[1:] if _QUOTED.match(text) else text
