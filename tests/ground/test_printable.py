"""What data may not do to a terminal or a spreadsheet."""

import csv
import io

import pytest

from radapt.errors import DataError
from radapt.printable import csv_cell, from_csv_cell, printable


@pytest.mark.parametrize("mark", ["\x1b", "\x07", "\x9b", "\u202e", "\r", "\x00", "\x7f"])
def test_control_characters_are_written_out(mark: str) -> None:
    assert mark not in printable(f"a{mark}b")
    assert printable(f"a{mark}b").startswith("a\\")
    assert mark not in str(DataError(f"img/{mark}.png does not exist."))


def test_text_of_any_language_stays() -> None:
    assert printable("Café 患者\n\tß") == "Café 患者\n\tß"


@pytest.mark.parametrize("text", ["=1+1", "@SUM(1)", "+cmd|' /C calc'!A0", "-1+1", "\t=1", "'=1", "''-x", "-a"])
def test_formulas_are_quoted_and_read_back(text: str) -> None:
    assert csv_cell(text)[0] == "'"
    assert from_csv_cell(csv_cell(text)) == text


@pytest.mark.parametrize("text", ["-1", "-1.5", "+2e-3", "-", "", "healthy", "p-12", "'quoted'", "-1,5", "-inf"])
def test_numbers_and_words_stay(text: str) -> None:
    assert csv_cell(text) == text
    assert from_csv_cell(text) == text


def test_a_table_of_formulas_keeps_its_text() -> None:
    texts = ["=A1", "'=A1", "plain"]
    file = io.StringIO()
    csv.writer(file).writerow(map(csv_cell, texts))
    assert [from_csv_cell(cell) for cell in next(csv.reader(io.StringIO(file.getvalue())))] == texts
