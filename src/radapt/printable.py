"""Text from data, made safe to show: no escape sequences for a terminal, no formulas for a spreadsheet."""

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All but tab and newline, with the marks that turn the direction of writing."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
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
    quoted = text.startswith("'") and text[1:2] in _FORMULA and len(text) > 1
    return f"'{text}" if quoted or (text.startswith(_FORMULA) and not _NUMBER.fullmatch(text)) else text


def from_csv_cell(text: str) -> str:
    """The text that `csv_cell` wrote."""
    if not text.startswith("'"):
        return text
    return text[1:] if text[1:].startswith(_FORMULA) or (text[1:2] == "'" and text[2:].startswith(_FORMULA)) else text
