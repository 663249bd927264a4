"""Text tables: encoding and separator are found from the content, and said where they are not the usual ones."""

import codecs
import csv
import io
import re
from pathlib import Path

from radapt.cohorts.issue import CohortIssue
from radapt.cohorts.sheets.sheet import Records, error

SEPARATORS = (",", ";", "\t", "|")
_USUAL = {".tsv": "\t", ".tab": "\t"}
_NAMES = {",": "','", ";": "';'", "\t": "tabs", "|": "'|'", " ": "blanks"}
_SAMPLED = 200  # records, to find the separator
_HINT = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)
"""The first line with which Excel tells itself the separator."""

_MULTIBYTE = re.compile(rb"[\xc3-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


def read_text(path: Path, raw: bytes, problems: list[CohortIssue]) -> Records | None:
    """The records of a text table. What is wrong with its format is added to `problems`."""
    notes: list[str] = []
    text = _decode(path, raw, notes, problems)
    if text is None:
        return None
    skipped = 0
    if hint := _HINT.match(text):
        separator, text, skipped = hint[1], text[hint.end() :], 1
    else:
        separator = separator_of(text, path.suffix)
    if separator != _USUAL.get(path.suffix.lower(), ","):
        notes.append(f"Read with {_NAMES.get(separator, repr(separator))} between the columns.")
    return _records(path, text, separator, skipped, notes, problems)


def _records(
    path: Path, text: str, separator: str, skipped: int, notes: list[str], problems: list[CohortIssue]
) -> Records | None:
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=separator == " "
    )
    records = Records([], [], notes, separator=separator)
    start = 1
    try:
        for record in reader:
            if any(cell.strip() for cell in record):
                records.cells.append(record)
                records.lines.append(start + skipped)
            start = reader.line_num + 1
    except csv.Error as failure:
        fix = "Check for an unclosed quote."
        problems.append(error(path, "bad-csv", f"The line cannot be read: {failure}.", row=start + skipped, fix=fix))
        return None
    if not records.cells:
        problems.append(error(path, "empty-table", "The file is empty.", fix="Add a header and one row per case."))
        return None
    return records


def separator_of(text: str, suffix: str = ".csv") -> str:
    """The separator with which most of the first records have as many fields as the header.

    Of several, the one that makes most columns; the usual one of the file's ending (`,`, of .tsv the tab) if no other
    makes more than one column. The columns of a .txt file may be separated by blanks, where nothing else separates any.
    """
    usual = _USUAL.get(suffix.lower(), ",")
    scores = {}
    for separator in (usual, *(other for other in SEPARATORS if other != usual)):
        widths = _widths(text, separator)
        if widths and widths[0] > 1:
            scores[separator] = (round(sum(width == widths[0] for width in widths) / len(widths), 1), widths[0])
    if not scores and suffix.lower() == ".txt":
        widths = _widths(text, " ")
        return " " if widths and min(widths) == max(widths) > 1 else usual
    return max(scores, key=lambda separator: scores[separator], default=usual)


def _widths(text: str, separator: str) -> list[int]:
    """The number of fields in each of the first records that are not empty."""
    widths: list[int] = []
    try:
        for record in csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=separator == " "):
            if any(cell.strip() for cell in record):
                widths.append(len(record))
            if len(widths) == _SAMPLED:
                break
    except csv.Error:
        pass  # reported once the separator is chosen
    return widths


def _decode(path: Path, raw: bytes, notes: list[str], problems: list[CohortIssue]) -> str | None:
    """The text in UTF-8 or UTF-16, or else in the 8-bit encoding that Excel writes in Western Europe (cp1252)."""
    if encoding := _utf16(raw):
        try:
            text = raw.decode(encoding).removeprefix("\ufeff")
        except UnicodeDecodeError as failure:
            problems.append(error(path, "not-utf8", f"Byte {failure.start} is not UTF-16 text.", fix="Save it again."))
            return None
        notes.append("Read as UTF-16 text.")
        return text
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        # UTF-8 of which a byte is damaged, or a file that is not text, is not read as another encoding.
        if b"\0" in raw or _MULTIBYTE.search(raw):
            row = raw.count(b"\n", 0, failure.start) + 1
            fix = "Save the table as UTF-8 (in Excel: 'CSV UTF-8')."
            message = f"Byte {failure.start} is not UTF-8 text."
            problems.append(error(path, "not-utf8", message, row=row, fix=fix))
            return None
    try:
        text = raw.decode("cp1252")
        notes.append("Read as cp1252 text, the encoding of Excel in Europe; save it as UTF-8 if letters are wrong.")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
        notes.append("Read as latin-1 text; save it as UTF-8 if letters are wrong.")
    return text


def _utf16(raw: bytes) -> str | None:
    """The byte order of UTF-16 text, by its mark or by the zero bytes of Latin letters; None for other text."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    start = raw[:400]
    low, high = start[::2].count(0), start[1::2].count(0)
    if len(start) >= 4 and max(low, high) > 0.4 * len(start) and min(low, high) == 0:
        return "utf-16-le" if high else "utf-16-be"
    return None
