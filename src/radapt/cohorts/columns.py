"""The meaning of a table's columns; a near miss of a reserved name is an error, not metadata."""

from dataclasses import dataclass

from radapt.cohorts.issue import CohortIssue
from radapt.errors import suggest

RESERVED = ("case", "patient", "site", "split", "image", "mask", "label")
_PREFIXES = ("image", "label")
_PATIENT_LIKE = ("patientid", "subject", "subjectid", "participant", "participantid", "patientkey", "pid")


@dataclass(frozen=True)
class Columns:
    """`images` maps modality to column name, `findings` finding to column name; `metadata` lists the rest."""

    images: dict[str, str]
    findings: dict[str, str]
    metadata: tuple[str, ...]
    has: frozenset[str]


def sort_columns(names: list[str], file: str) -> tuple[Columns, list[CohortIssue]]:
    """Separate reserved columns from metadata, and list everything that is wrong with the names."""
    images: dict[str, str] = {}
    findings: dict[str, str] = {}
    metadata: list[str] = []
    problems: list[CohortIssue] = []

    def wrong(code: str, message: str, fix: str) -> None:
        problems.append(CohortIssue("error", code, message, row=1, file=file, fix=fix))

    for name in names:
        prefix, colon, rest = (text.strip() for text in name.partition(":"))
        if colon and prefix in _PREFIXES:
            if not rest:
                wrong("unknown-column", f"Column {name!r} names no {prefix}.", f"Write {prefix}:<name>.")
            (images if prefix == "image" else findings)[rest] = name
        elif colon:
            fix = suggest(prefix, [f"{kind}:<name>" for kind in _PREFIXES])
            wrong("unknown-column", f"Unknown column {name!r}: only image:… and label:… hold a colon.", fix)
        elif name == "image":
            images["image"] = name
        elif name not in RESERVED:
            if near := near_reserved(name):
                wrong("unknown-column", f"Unknown column {name!r}.", f"Did you mean {near!r}? Else rename it.")
            metadata.append(name)
    if "image" in names and len(images) > 1:
        wrong("mixed-images", "The table has both 'image' and 'image:<modality>' columns.", "Rename 'image'.")
    if "label" in names and findings:
        wrong(
            "mixed-labels",
            "The table has both 'label' and 'label:<finding>' columns.",
            "Keep one of the kinds.",
        )
    for needed, present in (("case", "case" in names), ("image", bool(images))):
        if not present:
            wrong("no-column", f"There is no '{needed}' column.", _missing_fix(needed, names))
    return Columns(images, findings, tuple(metadata), frozenset(names)), problems


def patient_like(columns: Columns) -> str | None:
    """The metadata column that probably names the patient, in a table without a `patient` column."""
    if "patient" in columns.has:
        return None
    plain = {name.lower().replace("_", "").replace(" ", "").replace("-", ""): name for name in columns.metadata}
    return next((plain[word] for word in _PATIENT_LIKE if word in plain), None)


def near_reserved(name: str) -> str | None:
    """The reserved column that `name` is probably meant to be; None if it is a different word.

    A change of letter case (`Label`), the plural (`images`) and two swapped letters (`lable`) count for every name; an
    added, missing or different letter counts only from five letters on, because `size`, `side`, `mass` and `task` are
    ordinary metadata.
    """
    plain = name.casefold()
    for reserved in RESERVED:
        if plain in (reserved, f"{reserved}s") or _swapped(plain, reserved):
            return reserved
        if len(reserved) >= 5 and _one_edit(plain, reserved):
            return reserved
    return None


def _swapped(given: str, reserved: str) -> bool:
    apart = [at for at, (a, b) in enumerate(zip(given, reserved, strict=False)) if a != b]
    return (
        len(given) == len(reserved)
        and len(apart) == 2
        and apart[1] == apart[0] + 1
        and given[apart[0]] == reserved[apart[1]]
        and given[apart[1]] == reserved[apart[0]]
    )


def _one_edit(given: str, reserved: str) -> bool:
    short, long = sorted((given, reserved), key=len)
    if len(long) - len(short) > 1:
        return False
    if len(short) == len(long):
        return sum(a != b for a, b in zip(short, long, strict=True)) == 1
    return any(long[:at] + long[at + 1 :] == short for at in range(len(long)))


def _missing_fix(needed: str, names: list[str]) -> str:
    if needed == "image":
        return f"Add 'image', or 'image:<modality>' for several. Columns: {', '.join(names)}."
    return f"Add it with a unique name per row. Columns: {', '.join(names)}."
