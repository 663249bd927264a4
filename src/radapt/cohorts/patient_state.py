"""Whether the patients of a cohort are known, and who probably is one patient, by names."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from radapt.cohorts.cohort_file import CohortFile
from radapt.cohorts.issue import CohortIssue
from radapt.cohorts.rows import Rows
from radapt.errors import counted

UNKNOWN = "Patients unknown: intervals and splits count images."
_PERSON = r"(?:patient|pat|pt|person|proband|subject|subj|sub|volunteer|case)[ _-]?"
_WORDS = (
    "frame", "slice", "sl", "visit", "session", "ses", "scan", "view", "image", "img", "im", "timepoint", "time", "tp",
    "week", "month", "day", "study", "series", "run", "echo", "phase", "followup", "fu", "baseline", "bl", "pre",
    "post", "left", "right", "ed", "es", "l", "r", "cc", "mlo", "ap", "pa", "lat", "lateral", "frontal", "axial",
    "coronal", "sagittal", "ax", "cor", "sag", "fr", "tile", "patch", "crop", "copy", "kopie", "copie", "aug", "flip",
    "rot", "v", "t", "z",
)  # fmt: skip
"""What tells images of one patient apart, at the end of a name; `v`, `t` and `z` with a number only."""
_NUMBERED = ("v", "t", "z")
_DATE = r"[ _.-]+(?:19|20)\d{2}[-_.]?[01]\d[-_.]?[0-3]\d"
_LETTER = r"[ _.-]+[a-d]"
_NUMBER = r"[ _.-]+\d+"
_WORD_AT_END = re.compile(r"(.+)[ _.-]+([^\W\d_]{2,20})")
_SEQUENCE_AT_END = re.compile(r"(.+?)[ _.-]+([^\W\d_][^\W_]{1,19})")
_LEAST_BESIDE = 0.1  # of all names, which end in a word that others lack
_MOST_ENDS = 2000
_MOST_NAMES = 0.9  # of all, which a pattern has to fit
_LISTED = 2
_BRACKET = r"[ _]*\(\d+\)"


def file_patterns(names: Sequence[str]) -> tuple[str, ...]:
    """Patterns of the patient in names of files: a word for a person with a number, the name without what tells its
    images apart, a folder. They hold only what occurs in `names`, so that a person can read them.
    """
    stems = [name.rpartition("/")[2] for name in names]
    shared = _shared_end(stems)
    stems = [stem.removesuffix(shared) for stem in stems]
    words = dict.fromkeys((*_WORDS, *_words_beside(stems)))
    end = _endings(stems, (_DATE, _LETTER, _NUMBER, _BRACKET), tuple(words))
    patterns = [rf"(?:^|[/_ -])({_PERSON}\d+)(?![0-9])"]
    last = f"{re.escape(shared)}$"
    patterns += [rf"^(?:.*/)?([^/]+?){end}{last}"] if end else []
    patterns += [rf"^(?:.*/)?([^/]+?)(?:{end})?{last}"] if end and _stand_beside_the_first(stems, end) else []
    patterns += [r"^(?:.*/)?([^/]*\d{3}[^/]*)/[^/]+$"]
    return (*patterns, *([r"^(?:.*/)?([^/]+)$"] if len(set(names)) < len(names) else []))


def _shared_end(stems: Sequence[str]) -> str:
    """The word that all names end in, such as the sequence of `P1_visit2_flair`; '' without one."""
    match = _SEQUENCE_AT_END.fullmatch(stems[0]) if stems else None
    if match is None or match[2].casefold() in _WORDS:
        return ""
    end = stems[0][len(match[1]) :]
    return end if all(stem.endswith(end) for stem in stems) else ""


def _stand_beside_the_first(stems: Sequence[str], end: str) -> bool:
    """Whether names with the ending are those of others that lack it: `a`, `a (1)`."""
    plain = {stem.casefold() for stem in stems}
    ended = re.compile(f"(.+?){end}", re.IGNORECASE)
    firsts = [match[1].casefold() for stem in stems if (match := ended.fullmatch(stem))]
    return sum(first in plain for first in firsts) >= _MOST_NAMES * len(firsts) > 0


def _words_beside(stems: Sequence[str]) -> list[str]:
    """Words that end many of the names and stand beside the name without: `overlay` of `a` and `a_overlay`."""
    plain = {stem.casefold() for stem in stems}
    matches = (_WORD_AT_END.fullmatch(stem.casefold()) for stem in stems)
    counts = Counter(match[2] for match in matches if match and match[1] in plain)
    return [word for word, count in counts.items() if count > 1 and count >= _LEAST_BESIDE * len(stems)]


def folder_patterns(names: Sequence[str]) -> tuple[str, ...]:
    """Patterns of the patient in names of folders, without words, dates or letters of visits; numbers are patients."""
    end = _endings([part for name in names for part in name.split("/")[:-1]], (_DATE, _LETTER))
    return (rf"(?:^|/)([^/]+?){end}/",) if end else ()


def _endings(names: Sequence[str], others: Sequence[str], words: Sequence[str] = _WORDS) -> str:
    """A pattern of what ends the names: of `words` and of `others`, those that occur; '' if none does."""
    parts = [rf"[ _.-]+{word}[ _-]?\d{'+' if word in _NUMBERED else '*'}" for word in words]
    every = re.compile(f"(?:{'|'.join((*parts, *others))})+$", re.IGNORECASE)
    ends = list(dict.fromkeys(match[0] for name in names if (match := every.search(name))))[:_MOST_ENDS]
    whole = {part: re.compile(f"{part}(?=[ _.(-]|$)", re.IGNORECASE) for part in (*parts, *others)}
    found = [part for part, pattern in whole.items() if any(map(pattern.search, ends))]
    occurring = [words[parts.index(part)] for part in found if part in parts]
    plain, numbered = ([word for word in occurring if (word in _NUMBERED) == kind] for kind in (False, True))
    kept = [rf"[ _.-]+{_either(plain)}[ _-]?\d*"] if plain else []
    kept += [rf"[ _.-]+{_either(numbered)}\d+"] if numbered else []
    kept += [part for part in found if part in others]
    if len(kept) == 1 and all(re.fullmatch(kept[0], text, re.IGNORECASE) for text in ends):
        return kept[0]
    return f"(?:{'|'.join(kept)})+" if kept else ""


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"(?:{'|'.join(words)})"


_ENDING = re.compile(r"(?:\.nii)?\.[A-Za-z]\w{0,5}$")


@dataclass(frozen=True)
class Proposal:
    """A pattern that groups the names, and the group of each."""

    pattern: str
    groups: tuple[str, ...]

    @property
    def n_patients(self) -> int:
        return len(set(self.groups))

    def torn(self, splits: Sequence[str]) -> int:
        """How many groups lie in several splits."""
        words: dict[str, set[str]] = defaultdict(set)
        for group, split in zip(self.groups, splits, strict=True):
            words[group].add(split)
        return sum(len(found - {""}) > 1 for found in words.values())

    def sentence(self, names: Sequence[str]) -> str:
        first = next(group for group in self.groups if self.groups.count(group) > 1)
        of_first = [name for name, group in zip(names, self.groups, strict=True) if group == first]
        listed = ", ".join(of_first[:_LISTED]) + (", …" if len(of_first) > _LISTED else "")
        return (
            f"By their names the {counted(len(names), 'image')} are probably of {counted(self.n_patients, 'patient')}, "
            f"such as {first!r} with {len(of_first)} ({listed})."
        )


def propose(names: Sequence[str], *, folders: bool = False) -> Proposal | None:
    """The first pattern that finds a probable patient in every name, and some patient with several of the names.

    `names` are paths relative to the data, with `/`, without the file's ending; `folders` looks for visits in those of
    their folders. None if no pattern groups them: a group without a digit must hold only a part of the names, because
    `img_1`, `img_2` says nothing of patients.
    """
    for pattern in folder_patterns(names) if folders else file_patterns(names):
        matches = [re.search(pattern, name, re.IGNORECASE) for name in names]
        groups = tuple(match[1] for match in matches if match)
        if len(groups) < len(names) * _MOST_NAMES:
            continue
        groups = tuple(match[1] if match else name for match, name in zip(matches, names, strict=True))
        several = len(set(groups))
        if several < 3 or several == len(groups):
            continue
        if any(any(letter.isdigit() for letter in group) for group in groups) or several > max(3, len(groups) // 10):
            return Proposal(f"(?i){pattern}", groups)
    return None


def unknown_patients(rows: Rows, config: CohortFile) -> CohortIssue:
    """The warning that patients are not given, with who is probably one patient and the command that says so."""
    missing = rows.without_patient
    some = "" if missing == len(rows) else f" {missing} of {len(rows)} cases have no patient."
    columns = [rows.sheet.columns[column] for column in rows.columns.images.values()]
    firsts = [next((cell for cell in cells if cell.strip()), "") for cells in zip(*columns, strict=True)]
    names = [path_name(text) for text in firsts]
    proposal = propose(names) if missing == len(rows) else None
    if proposal is None:
        fix = "Give them in the column 'patient', or with radapt scan ... --patient-regex PATTERN."
        return CohortIssue("warning", "patients-unknown", UNKNOWN + some, file=config.cases.name, fix=fix)
    torn = proposal.torn(rows.given_splits)
    across = f" {torn} of them lie in several splits." if torn else ""
    fix = (
        f"To take that: radapt scan {config.path} --out {config.path} --redraw --force --patient-regex "
        f"'{proposal.pattern}'"
    )
    message = f"{UNKNOWN} {proposal.sentence(names)}{across}"
    return CohortIssue("warning", "patients-unknown", message, file=config.cases.name, fix=fix)


def path_name(location: str) -> str:
    """The path in a location with `/` and without the ending of the file."""
    return _ENDING.sub("", location.partition("::")[0].replace("\\", "/"))
