"""What licences allow: the terms that a model inherits from its parts, and what it may be used for."""

import re
from collections.abc import Sequence
from typing import Literal

UNKNOWN = "unknown"

Use = Literal["commercial", "non-commercial", "unknown"]
"""What a model may be used for: `unknown` where a licence is not stated, or has terms of its own that must be read."""

_TERMS: tuple[tuple[str, str], ...] = (
    ("non-commercial", r"\bnc\b|non.?commercial|noncommercial|research.?only|for research|research use|academic"),
    ("share-alike", r"\bsa\b|share.?alike|\bgpl\b|agpl"),
    ("no derivatives", r"\bnd\b|no.?deriv"),
    ("attribution", r"\bcc.?by|attribution|\bcite\b"),
)
_OPEN = r"\bmit\b|apache|\bbsd\b|\bcc0|\bcc.?by\b|\bisc\b|public domain|pddl|unlicense"


def terms_of(licences: Sequence[str]) -> tuple[str, ...]:
    """The terms that any of the licences brings, strictest first."""
    texts = [_words(licence) for licence in licences]
    return tuple(term for term, pattern in _TERMS if any(re.search(pattern, text) for text in texts))


def use_of(licences: Sequence[str]) -> Use:
    """What a model made from parts under these licences may be used for: the strictest of them decides."""
    if terms_of(licences)[:1] == ("non-commercial",):
        return "non-commercial"
    known = bool(licences) and all(re.search(_OPEN, _words(licence)) for licence in licences)
    return "commercial" if known and "no derivatives" not in terms_of(licences) else "unknown"


def _words(licence: str) -> str:
    return licence.lower().replace("-", " ").replace("_", " ")
