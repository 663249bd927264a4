"""Small text files of a public data set, one per case or patient, and what they say of it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from radapt.cohorts.layouts.public.matching import below_any_folder
from radapt.dataset_cards import TextPattern

_LARGEST = 1 << 16


def facts_in_texts(root: Path, paths: Sequence[Path], pattern: TextPattern) -> dict[str, dict[str, str]]:
    """Case or patient → what the named groups of the patterns find in its file."""
    named = below_any_folder(pattern.path)
    wanted = [re.compile(text, re.I | re.M) for text in pattern.find]
    facts: dict[str, dict[str, str]] = {}
    for path in paths:
        found = named.fullmatch(path.relative_to(root).as_posix())
        if found is None:
            continue
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_LARGEST)
        facts.setdefault(found[pattern.by], {}).update(_groups(text, wanted))
    return facts


def _groups(text: str, patterns: Sequence[re.Pattern[str]]) -> Mapping[str, str]:
    matches = (pattern.search(text) for pattern in patterns)
    return {name: value.strip() for match in matches if match for name, value in match.groupdict("").items() if value}
