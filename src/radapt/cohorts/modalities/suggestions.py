"""Which differently named series are probably one sequence: by words, echo time, contrast agent and b-value."""

import re
from collections import Counter, defaultdict

from radapt.cohorts.draft import CohortDraft
from radapt.cohorts.image_names import stem_of
from radapt.cohorts.modalities.series_facts import SeriesFacts

_SPLIT = re.compile(r"[\W_]+")
_CONTRAST = re.compile(
    r"\b(km|gd|gado\w*|post|ce|contrast|kontrast|nach|dotarem|enhanced|t1c|t1ce|t1gd|t1km|postcontrast)\b|c\+|\+c"
)
_NATIVE = re.compile(r"\b(pre|nativ\w*|native|ohne|without|plain|non)\b")
_WORDS = (
    ("ADC", re.compile(r"\badc\b|apparent diffusion")),
    ("SWI", re.compile(r"\b(swi|swan|t2star|t2 star|gre t2)\b|t2\*")),
    ("DWI", re.compile(r"\b(dwi|diff\w*|trace\w*|b ?\d{3,4})\b")),
    ("T1", re.compile(r"t1|mprage|mp rage|\bbravo\b|\bspgr\b|\bvibe\b")),
    ("FLAIR", re.compile(r"flair|\btirm\b|dark ?fluid")),
    ("T2", re.compile(r"t2")),
    ("PD", re.compile(r"\bpd\w?\b|proton density")),
)
"""Tried in this order: `T1 FLAIR` of some scanners is a T1, `T2 FLAIR` a FLAIR."""

_SHORT_ECHO, _LONG_ECHO = 30.0, 60.0  # ms: T1 and PD below, T2 above
_SHORT_REPETITION = 1000.0  # ms: T1 spin echo
_FLAIR_INVERSION = 1500.0  # ms: nulls fluid; MPRAGE inverts for 400 to 1,300 ms
_MISSING = 0.1
_TOGETHER = 0.2
"""The share of cases that may miss a modality before names are compared, and that may have two names of one."""


def sequence_of(name: str, facts: SeriesFacts | None = None) -> str | None:
    """The usual name of a sequence (`T1`, `T1c`, `T2`, `FLAIR`, `DWI`, `ADC`, `SWI`, `PD`); None if it is not clear."""
    text = name.casefold()
    words = _SPLIT.sub(" ", text)
    found = next((key for key, pattern in _WORDS if pattern.search(words) or pattern.search(text)), None)
    if facts is not None and facts.modality not in ("", "MR"):
        return None
    if found is None and facts is not None:
        found = _by_physics(facts)
    if found == "T1" and _has_contrast(text, words, facts):
        return "T1c"
    return found


def _has_contrast(text: str, words: str, facts: SeriesFacts | None) -> bool:
    if _NATIVE.search(words):
        return False
    return bool(_CONTRAST.search(words) or _CONTRAST.search(text)) or (facts is not None and facts.contrast)


def _by_physics(facts: SeriesFacts) -> str | None:
    if facts.b_value:
        return "DWI"
    if facts.echo_time is None or facts.repetition_time is None:
        return None
    inversion = facts.inversion_time or 0.0
    if facts.echo_time >= _LONG_ECHO:
        return "FLAIR" if inversion >= _FLAIR_INVERSION else "T2"
    weighted = facts.repetition_time <= _SHORT_REPETITION or 0 < inversion < _FLAIR_INVERSION
    return "T1" if facts.echo_time <= _SHORT_ECHO and weighted else None


def suggest_modalities(draft: CohortDraft) -> tuple[str, ...]:
    """`NAME=PATTERN|PATTERN` for sequences that have several names and are missing under each in some cases.

    Names that often occur in the same case are different series and are not joined.
    """
    table, columns = draft.table, draft.modalities
    if len(columns) < 2 or not any((table[column] == "").mean() > _MISSING for column in columns):
        return ()
    cases: dict[str, set[int]] = defaultdict(set)
    kinds: dict[str, Counter[str | None]] = defaultdict(Counter)
    for column in columns:
        for at, location in enumerate(table[column]):
            if location:
                name = _shown(draft, column, location)
                kinds[name][sequence_of(name, draft.series.get(location))] += 1
                cases[name].add(at)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(kinds):
        sequence, count = kinds[name].most_common(1)[0]
        if sequence is not None and count * 10 >= kinds[name].total() * 9:
            groups[sequence].append(name)
    return tuple(
        f"{sequence}={'|'.join(map(_literal, names))}"
        for sequence, names in groups.items()
        if len(names) > 1 and _apart([cases[name] for name in names])
    )


def _apart(sets: list[set[int]]) -> bool:
    counts = Counter(at for cases in sets for at in cases)
    return sum(count > 1 for count in counts.values()) <= _TOGETHER * len(counts)


def _shown(draft: CohortDraft, column: str, location: str) -> str:
    facts = draft.series.get(location)
    if facts and facts.description:
        return facts.description.casefold()
    return column.removeprefix("image:").casefold() if column != "image" else stem_of(location).casefold()


def _literal(name: str) -> str:
    """The pattern that fits `name` alone."""
    return re.sub(r"([*?\[|])", lambda found: "?" if found[1] == "|" else f"[{found[1]}]", name)
