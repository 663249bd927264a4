"""Labels of a table → class indices and findings, with the values that are invalid."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from radapt.errors import suggest

_WHOLE = re.compile(r"-?[0-9]{1,40}(\.0*)?")
MISSING = frozenset(
    {
        "nan", "na", "n/a", "n.a.", "<na>", "none", "null", "nil", "nat", "?", "-", "--", "\u2013", "\u2014", ".",
        "missing", "k.a.",
    }
)  # fmt: skip
"""Words for a missing value, without letter case."""
_EXCEL_ERROR = re.compile(r"#(?:na|nv|n/[a-z]{1,4}|[^\W\d_][\w/]*[!?]|\u00a1[\w/]+!|\u00bf\w+\?)")
"""What a spreadsheet shows for a formula that fails, in any language: `#N/A`, `#NV`, `#REF!`, `#WERT!`, `#NOMBRE?`."""
DOUBTFUL = frozenset(
    {
        "unknown", "unk", "unbekannt", "unclear", "unklar", "undefined", "not available", "not reported",
        "not applicable", "not known", "no data", "no label", "pending", "tbd", "nicht bekannt", "keine angabe",
        "k. a.", "n.d.", "not determined", "not done", "ausstehend", "inconnu",
        "desconocido", "sconosciuto", "-1", "-9", "-99", "-999", "99", "999", "9999",
    }
)  # fmt: skip
"""Words that are a class in some tables, and a missing value in others."""
_DATE = re.compile(r"(?:19|20)\d{2}[-./]\d{1,2}[-./]\d{1,2}(?:[ T].*)?|\d{1,2}[-./]\d{1,2}[-./](?:19|20)?\d{2}")
_NUMBER = re.compile(r"-?[0-9]{1,40}([.,][0-9]{0,40})?")
_MANY_NUMBERS, _SEVERAL_NUMBERS = 20, 5
_MANY_CLASSES = 90  # with so many, 99 is one of them
_NAMED_CLASSES = 3
_BAD = -1  # no finding has this value


@dataclass(frozen=True)
class Labels:
    """`classes` in index order; `values` one class index (or finding value) per row, None where empty or invalid.

    `wrong` maps a row's position to what is wrong with its label and the nearest fix. `missing` counts the words that
    stand for no label, such as `nan`.
    """

    classes: tuple[str, ...]
    values: list[int | None]
    wrong: dict[int, tuple[str, str]]
    missing: Mapping[str, int] = field(default_factory=dict)


def parse_classes(texts: Sequence[str], classes: tuple[str, ...] = ()) -> Labels:
    """Read a `label` column. A label is a class name or, if no class name is a number, a class index.

    Without `classes`, the classes are the sorted unique labels; whole numbers sort by value and lose the '.0' that
    pandas appends.
    """
    plain, missing = _without_missing([text.strip() for text in texts], classes)
    names = classes or _infer(plain)
    meaning: dict[str, int | None] = {name: index for index, name in enumerate(names)}
    if not any(_WHOLE.fullmatch(name) for name in names):
        meaning |= {str(index): index for index in range(len(names))}
    meaning = {text: meaning.get(text, meaning.get(_whole(text))) for text in set(plain)}
    wrong = {
        row: (f"Label {text!r} is not one of the classes.", suggest(text, names))
        for row, text in enumerate(plain)
        if text and meaning[text] is None
    }
    return Labels(names, [meaning[text] for text in plain], wrong, missing)


def parse_finding(texts: Sequence[str], finding: str) -> Labels:
    """Read a `label:<finding>` column: 1 or true present, 0 or false absent, empty unknown."""
    texts, missing = _without_missing([text.strip() for text in texts], ())
    values = {"": None, "0": 0, "1": 1, "false": 0, "true": 1}
    meaning = {text: values.get(_whole(text.strip()).lower(), _BAD) for text in set(texts)}
    wrong = {
        row: (f"Finding {finding!r} is {text.strip()!r}.", "Expected 1, 0 or empty (unknown).")
        for row, text in enumerate(texts)
        if meaning[text] == _BAD
    }
    return Labels((), [None if meaning[text] == _BAD else meaning[text] for text in texts], wrong, missing)


def label_array(classes: Labels | None, findings: Mapping[str, Labels], n: int) -> np.ndarray:
    """(n,) class index with -1 unlabelled, or (n, F) float with NaN unknown: the strata of a split."""
    if findings:
        columns = [[np.nan if value is None else value for value in finding.values] for finding in findings.values()]
        return np.asarray(columns, dtype=np.float64).reshape(len(findings), n).T
    values = classes.values if classes else [None] * n
    return np.asarray([-1 if value is None else value for value in values], dtype=np.int64)


def _without_missing(texts: Sequence[str], classes: Sequence[str]) -> tuple[list[str], dict[str, int]]:
    """The texts with '' for words that mean a missing value, unless they are declared classes; and their counts."""
    missing = Counter(text for text in texts if is_missing(text) and text not in classes)
    return ["" if text in missing else text for text in texts], dict(missing)


def is_missing(text: str) -> bool:
    """Whether a word means that there is no value: `nan`, `NA`, `N/A`, `?`, `-`, `#REF!` and the like."""
    word = unicodedata.normalize("NFKC", text).strip().casefold()
    return word in MISSING or _EXCEL_ERROR.fullmatch(word) is not None


def _infer(texts: Sequence[str]) -> tuple[str, ...]:
    words = {text for text in texts if text}
    if all(_WHOLE.fullmatch(word) for word in words):
        return tuple(sorted({_whole(word) for word in words}, key=int))
    return tuple(sorted(words))


def _whole(text: str) -> str:
    """'1.0' → '1'; anything that is not a whole number stays as it is."""
    return str(int(text.split(".")[0])) if _WHOLE.fullmatch(text) else text


def missing_label(missing: Mapping[str, int]) -> tuple[str, str]:
    """What is said of words that mean no label, and the nearest fix."""
    words = ", ".join(f"{word!r} ({count})" for word, count in sorted(missing.items()))
    total = sum(missing.values())
    message = f"{total} label{'s' if total > 1 else ''} read as missing, so these cases are unlabelled: {words}."
    return message, "Empty the cells, or declare the word under 'classes' in cohort.yaml if it is a class."


def doubtful_classes(classes: Sequence[str]) -> str:
    """What is said of classes that are dates, or measurements, or several findings, or whose name may stand for a
    missing label; '' without any."""
    dates = [name for name in classes if _DATE.fullmatch(name)]
    if len(dates) > 1 and 2 * len(dates) >= len(classes):
        return f"The labels are dates, such as {dates[0]!r}, each a class. Choose another column with --label."
    if _are_measured(classes):
        return (
            f"The labels are {len(classes)} different numbers, such as {classes[0]!r}, each a class: radapt predicts "
            "classes, not numbers. Group them into classes in another column, and choose it with --label."
        )
    if joined := _joined(classes):
        named = ", ".join(map(repr, joined[:_NAMED_CLASSES]))
        return (
            f"Each a class of its own, but perhaps several findings in one cell: {named}. Then give every finding a "
            "column of 0 and 1, and name these: --label A --label B."
        )
    words = [name for name in classes if unicodedata.normalize("NFKC", name).strip().casefold() in DOUBTFUL]
    if not words or len(classes) > _MANY_CLASSES:
        return ""
    named = ", ".join(map(repr, words))
    return f"Taken as a class, but may say that the label is not known: {named}. Then empty these cells."


def _are_measured(classes: Sequence[str]) -> bool:
    """Whether labels are numbers of something, as of years, rather than of classes: many, or several with fractions."""
    if not all(_NUMBER.fullmatch(name) for name in classes):
        return False
    return len(classes) > (_MANY_NUMBERS if all(map(_WHOLE.fullmatch, classes)) else _SEVERAL_NUMBERS)


def _joined(classes: Sequence[str]) -> list[str]:
    """The classes that are several words between the same marks, one of them a class by itself."""
    known = set(classes)
    split = {name: [part.strip() for part in re.split(r"[|;,]", name)] for name in classes}
    return [name for name, parts in split.items() if len(parts) > 1 and all(parts) and known & set(parts)]


def spelt_alike(classes: Sequence[str]) -> list[list[str]]:
    """The classes that differ only in letter case, blanks or Unicode form, in groups."""
    groups: dict[str, list[str]] = {}
    for name in classes:
        groups.setdefault("".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    return [names for names in groups.values() if len(names) > 1]
