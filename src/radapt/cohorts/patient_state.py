"""Whether the patients of a cohort are known, and who probably is one patient, by names."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from radapt.cohorts.cohort_file import CohortFile
from radapt.cohorts.issue import CohortIssue
from radapt.cohorts.rows import Rows
from radapt.errors import counted

UNKNOWN = "Patients unknown: intervals and splits count images."
_PERSON = r"(?:patient|pat|pt|person|proband|subject|subj|sub|volunteer|case)[ _-]?"
_PART = (
    r"(?:frame|slice|sl|visit|session|ses|scan|view|image|img|im|time|timepoint|tp|week|month|day|study|series|run|"
    r"echo|phase|followup|fu|baseline|bl|pre|post|left|right|ed|es|l|r|cc|mlo)"
)
_DATE = r"(?:19|20)\d{2}[-_.]?[01]\d[-_.]?[0-3]\d"
VISIT_FOLDERS = (rf"(?:^|/)([^/]+?)(?:[ _.-]+{_PART}[ _-]?\d*|[ _.-]+{_DATE}|[ _.-]+[a-d])+/",)
"""The patient in the name of a folder, without the words, dates or letters that tell visits apart; numbers do not."""
_END = rf"(?:[ _.-]+{_PART}[ _-]?\d*|[ _.-]+\d{{4}}-\d{{2}}-\d{{2}}|[ _.-]+\d+|[ _]*\(\d+\))"
PATTERNS = (
    rf"(?:^|[/_ -])({_PERSON}\d+)(?![0-9])",
    rf"^(?:.*/)?([^/]+?){_END}+$",
    r"^(?:.*/)?([^/]*\d{3}[^/]*)/[^/]+$",
)
"""The patient in a name: a word for a person with a number, the name without what tells its images apart, a folder."""

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

    def sentence(self, n_images: int) -> str:
        first = next(group for group in self.groups if self.groups.count(group) > 1)
        return (
            f"By their names the {counted(n_images, 'image')} are probably of {counted(self.n_patients, 'patient')}, "
            f"such as {first!r} with {self.groups.count(first)}."
        )


def propose(names: Sequence[str], patterns: Sequence[str] = PATTERNS) -> Proposal | None:
    """The first pattern that finds a probable patient in every name, and some patient with several of the names.

    `names` are paths relative to the data, with `/`, without the file's ending. None if no pattern groups them: a
    group without a digit must hold only a part of the names, because `img_1`, `img_2` says nothing of patients.
    """
    for pattern in patterns:
        matches = [re.search(pattern, name, re.IGNORECASE) for name in names]
        groups = tuple(match[1] for match in matches if match)
        if len(groups) < len(names) * 0.9:
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
    message = f"{UNKNOWN} {proposal.sentence(len(names))}{across}"
    return CohortIssue("warning", "patients-unknown", message, file=config.cases.name, fix=fix)


def path_name(location: str) -> str:
    """The path in a location with `/` and without the ending of the file."""
    return _ENDING.sub("", location.partition("::")[0].replace("\\", "/"))
