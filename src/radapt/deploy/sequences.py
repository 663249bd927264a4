"""Which of a study's series is which sequence of the model: by its name, else by what its header says."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

_KINDS: tuple[tuple[str, str], ...] = (
    ("adc", r"\badc\b|apparent"),
    ("dwi", r"\bdwi|\bdti\b|diffusion|\btrace|\bb ?[1-9]\d{2,3}\b|ep2d diff"),
    ("perfusion", r"\bperf|\bdsc\b|\bdce\b|\basl\b"),
    ("swi", r"\bswi|\bswan\b"),
    ("t2star", r"\bt2 ?(\*|star)"),
    ("flair", r"flair|\btirm\b|dark ?fluid"),
    ("t1", r"\bt1|mprage|mp2rage|\bspgr\b|\bfspgr\b|\bbravo\b"),
    ("t2", r"\bt2"),
    ("pd", r"\bpd(w|\b)"),
    ("ct", r"\bct|\bcbct"),
    ("xray", r"\bx ?ray|\bcr\b|\bdx\b|\bmg\b|\bchest\b"),
    ("pet", r"\bpet\b|\bsuv"),
)
_CONTRAST = re.compile(r"\bpost|\bgad|\bgd\b|t1w?gd|\bce\b|t1w?ce\b|t1w?c\b|\bcontrast|\bkm\b|\+ ?c\b|\benh")
_WITHOUT = re.compile(r"\bpre\b|\bnon\b|\bwithout\b|\bno (contrast|gad)|\bnativ")


def sequence_kind(name: str) -> str | None:
    """The kind of image that a name means, such as `t1c` for `ce-gad_T1w` and for `AX T1 POST`, or None."""
    text = re.sub(r"[^a-z0-9+*]+", " ", name.lower()).strip()
    kind = next((kind for kind, pattern in _KINDS if re.search(pattern, text)), None)
    if kind == "flair" and re.search(r"\bt1", text):
        kind = "t1"
    if kind == "t1" and _CONTRAST.search(text) and not _WITHOUT.search(text):
        return "t1c"
    return kind


def plain_name(name: str) -> str:
    """Letters and digits only, in lower case: names that differ in nothing else are the same."""
    return re.sub(r"[^a-z0-9]+", "", name.lower())


@dataclass(frozen=True)
class ModelSequence:
    """A sequence that a model reads: its `name` in the training cohort, its `kind` (see `sequence_kind`), and other
    names that mean it."""

    name: str
    kind: str | None = None
    aliases: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, aliases: Sequence[str] = ()) -> "ModelSequence":
        return cls(name, sequence_kind(name), tuple(aliases))

    @property
    def names(self) -> set[str]:
        return {plain_name(each) for each in (self.name, *self.aliases)}


@dataclass(frozen=True)
class Series:
    """A series of a study: its name, the kind that its header means, if it says one, how many slices it has, and what
    the reader should know about it, '' for nothing."""

    name: str
    location: object = field(compare=False)
    header_kind: str | None = None
    slices: int = 0
    warning: str = field(default="", compare=False)


class Matched(NamedTuple):
    """The series taken for each sequence of the model, and what the reader should know about the choice."""

    taken: dict[str, Series]
    notes: tuple[str, ...]


Ground = Literal["the given mapping", "its name", "the kind in its name", "its header", "the only image"]
_GROUNDS: tuple[Ground, ...] = ("the given mapping", "its name", "the kind in its name", "its header", "the only image")


def match(series: Sequence[Series], wanted: Sequence[ModelSequence], mapping: dict[str, str] | None = None) -> Matched:
    """Take a series for each of the sequences `wanted`; a sequence that no series means is missing.

    `mapping` {name of a series: name of a sequence} goes before everything. Of several series for one sequence the one
    with the better ground is taken, then the one with more slices, then the first, and a note says so.
    """
    given = {plain_name(name): sequence for name, sequence in (mapping or {}).items()}
    offers: dict[str, list[tuple[int, Series]]] = {each.name: [] for each in wanted}
    for one in series:
        if (found := _meant(one, wanted, given)) is not None:
            offers[found[0]].append((found[1], one))
    if len(series) == len(wanted) == 1 and not offers[wanted[0].name] and _may_be(series[0], wanted[0]):
        offers[wanted[0].name].append((4, series[0]))
    taken, notes = {}, []
    for name, found_series in offers.items():
        if not found_series:
            continue
        ranked = sorted(found_series, key=lambda item: (item[0], -item[1].slices))
        taken[name] = ranked[0][1]
        if len(ranked) > 1:
            notes.append(_choice(name, ranked))
    return Matched(taken, tuple(notes))


def _meant(one: Series, wanted: Sequence[ModelSequence], given: dict[str, str]) -> tuple[str, int] | None:
    """The sequence that a series means, and on which ground."""
    plain = plain_name(one.name)
    if plain in given:
        return (given[plain], 0) if given[plain] in {each.name for each in wanted} else None
    for each in wanted:
        if plain in each.names:
            return each.name, 1
    named = sequence_kind(one.name)
    if named == "t1" and one.header_kind == "t1c" and not _WITHOUT.search(one.name.lower()):
        named = None  # the header knows of the contrast that the name does not mention
    for kind, ground in ((named, 2), (one.header_kind, 3)):
        if kind is not None:
            of_kind = [each for each in wanted if each.kind == kind]
            return (of_kind[0].name, ground) if len(of_kind) == 1 else None
    return None


def _may_be(one: Series, wanted: ModelSequence) -> bool:
    """Whether the only image may be the only sequence: not if both say what they are, and differ."""
    kind = sequence_kind(one.name) or one.header_kind
    return kind is None or wanted.kind is None or kind == wanted.kind


def _choice(name: str, ranked: list[tuple[int, Series]]) -> str:
    (ground, best), others = ranked[0], [one for _, one in ranked[1:]]
    second = ranked[1]
    if second[0] > ground:
        why = f"{_GROUNDS[ground]} says so, of the other {_GROUNDS[second[0]]}"
    elif second[1].slices < best.slices:
        why = f"it has more slices ({best.slices}, the other {second[1].slices})"
    else:
        why = "it comes first"
    rest = ", ".join(repr(one.name) for one in others)
    return f"{name}: {len(ranked)} series could be it; {best.name!r} was taken, not {rest}, because {why}"
