"""What identifies a patient whichever way the id is written: `P1` and `p01`, `7` and `7.0`, composed and decomposed."""

import re
import unicodedata
from collections.abc import Sequence

_LEADING_ZEROS = re.compile(r"(?<![\d.])0+(?=\d)")
_WHOLE_FLOAT = re.compile(r"(\d+)\.0+")


def patient_key(text: str) -> str:
    """The id without letter case, blanks, invisible characters, leading zeros and the `.0` that a float adds."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    plain = "".join(letter for letter in plain if not letter.isspace() and unicodedata.category(letter) != "Cf")
    if whole := _WHOLE_FLOAT.fullmatch(plain):
        plain = whole[1]
    return _LEADING_ZEROS.sub("", plain)


def one_spelling(patients: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Every id as it is written first, and the other spellings of each id that has several."""
    first: dict[str, str] = {}
    keys = {text: patient_key(text) for text in dict.fromkeys(patients)}
    spellings: dict[str, list[str]] = {}
    for text, key in keys.items():
        if first.setdefault(key, text) != text:
            spellings.setdefault(first[key], []).append(text)
    return [first[keys[text]] for text in patients], spellings
