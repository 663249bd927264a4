"""Labels of a table → class indices and findings, with the values that are invalid."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from radapt.errors import suggest

_WHOLE = re.compile(r"-?\d+(\.0*)?")
_BAD = -1  # no finding has this value


@dataclass(frozen=True)
class Labels:
    """`classes` in index order; `values` one class index (or finding value) per row, None where empty or invalid.

    `wrong` maps a row's position to what is wrong with its label and the nearest fix.
    """

    classes: tuple[str, ...]
    values: list[int | None]
    wrong: dict[int, tuple[str, str]]


def parse_classes(texts: Sequence[str], classes: tuple[str, ...] = ()) -> Labels:
    """Read a `label` column. A label is a class name or, if no class name is a number, a class index.

    Without `classes`, the classes are the sorted unique labels; whole numbers sort by value and lose the '.0' that
    pandas appends.
    """
    plain = [text.strip() for text in texts]
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
    return Labels(names, [meaning[text] for text in plain], wrong)


def parse_finding(texts: Sequence[str], finding: str) -> Labels:
    """Read a `label:<finding>` column: 1 or true present, 0 or false absent, empty unknown."""
    values = {"": None, "0": 0, "1": 1, "false": 0, "true": 1}
    meaning = {text: values.get(_whole(text.strip()).lower(), _BAD) for text in set(texts)}
    wrong = {
        row: (f"Finding {finding!r} is {text.strip()!r}.", "Expected 1, 0 or empty (unknown).")
        for row, text in enumerate(texts)
        if meaning[text] == _BAD
    }
    return Labels((), [None if meaning[text] == _BAD else meaning[text] for text in texts], wrong)


def label_array(classes: Labels | None, findings: Mapping[str, Labels], n: int) -> np.ndarray:
    """(n,) class index with -1 unlabelled, or (n, F) float with NaN unknown: the strata of a split."""
    if findings:
        columns = [[np.nan if value is None else value for value in finding.values] for finding in findings.values()]
        return np.asarray(columns, dtype=np.float64).reshape(len(findings), n).T
    values = classes.values if classes else [None] * n
    return np.asarray([-1 if value is None else value for value in values], dtype=np.int64)


def _infer(texts: Sequence[str]) -> tuple[str, ...]:
    words = {text for text in texts if text}
    if all(_WHOLE.fullmatch(word) for word in words):
        return tuple(sorted({_whole(word) for word in words}, key=int))
    return tuple(sorted(words))


def _whole(text: str) -> str:
    """'1.0' → '1'; anything that is not a whole number stays as it is."""
    return str(int(text.split(".")[0])) if _WHOLE.fullmatch(text) else text
