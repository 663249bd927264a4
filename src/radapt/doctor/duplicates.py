"""Images that two patients share, by equal pixels and by near-identical ones, and the patients that they suggest."""

import hashlib
import shlex
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from radapt.cohorts import Case, Cohort, CohortIssue
from radapt.cohorts.issue import Severity
from radapt.errors import counted
from radapt.locations import Location

if TYPE_CHECKING:
    from radapt.cases.near_duplicates import HashedImage

_SAMPLED = 4096  # pixels of a key
_FIX = "Give both the same patient, or remove one."


def pixel_key(array: np.ndarray) -> bytes:
    """What equal pixels have in common, and different ones hardly ever: the shape, and evenly spaced pixels.

    It costs a hundredth of a digest of all pixels; `equal_images` reads again what has one key.
    """
    if array.size <= _SAMPLED:
        return hashlib.blake2b(f"{array.dtype.str} {array.shape}".encode() + array.tobytes(), digest_size=16).digest()
    along = round(_SAMPLED ** (1 / max(sum(size > 1 for size in array.shape), 1)))
    sample = array[tuple(slice(None, None, max(1, size // along)) for size in array.shape)]
    return hashlib.blake2b(f"{array.dtype.str} {array.shape}".encode() + sample.tobytes(), digest_size=16).digest()


def equal_images(pixels: dict[bytes, list[tuple[Case, str]]], cache: Path) -> list[tuple[Case, Case]]:
    """Cases of different patients with equal pixels: the first and each other, of the images of each `pixel_key`."""
    several = [images for images in pixels.values() if len({case.patient for case, _ in images}) > 1]
    pairs = []
    for images in several:
        cases: dict[bytes, list[Case]] = defaultdict(list)
        for case, modality in images:
            cases[_digest(case.images[modality], modality, cache)].append(case)
        pairs += [(same[0], other) for same in cases.values() for other in same[1:]]
    return [(first, other) for first, other in pairs if first.patient != other.patient]


def _digest(location: Location, modality: str, cache: Path) -> bytes:
    from radapt.images import read

    array = np.ascontiguousarray(read(location, modality, array_cache=cache / "arrays").array)
    return hashlib.sha256(array.reshape(-1).view(np.uint8).data).digest()


def equal_issue(first: Case, other: Case) -> CohortIssue:
    """The same image twice; a leak if the two are in different splits, an error because a study refuses it."""
    message = f"has the same pixels as {_words(first, other)}."
    severity: Severity = "error" if _are_apart(first, other) else "warning"
    return CohortIssue(severity, "duplicate_image", message, other.case, other.row, fix=_FIX)


def near_issues(
    cohort: Cohort, images: "Sequence[HashedImage]", equal: Sequence[tuple[Case, Case]], cache: Path
) -> tuple[list[CohortIssue], list[tuple[Case, Case]]]:
    """A warning for each pair of near-identical images of two patients, and the pairs; those with `equal` pixels are
    known already."""
    from radapt.cases.near_duplicates import near_duplicates
    from radapt.images import read

    known = {frozenset((first.case, other.case)) for first, other in equal}
    pairs = near_duplicates(
        cohort,
        images,
        lambda location, modality: read(location, modality, array_cache=cache / "arrays"),
        across=False,
        skip=lambda one, other: frozenset((one.case.case, other.case.case)) in known,
    )
    issues = []
    for pair in pairs:
        how = f"{pair.match.words()}, r = {pair.match.correlation:.2f}"
        message = f"{pair.modality}: shows the same picture ({how}) as {_words(pair.first, pair.second)}."
        issue = CohortIssue("warning", "near_duplicate_image", message, pair.second.case, pair.second.row, fix=_FIX)
        issues.append(issue)
    return issues, [(pair.first, pair.second) for pair in pairs]


def probable_patients(pairs: Sequence[tuple[Case, Case]]) -> dict[str, str]:
    """The patient of every case in `pairs`, each pair being of one: the first of the cases that hang together."""
    group: dict[str, str] = {}

    def head(case: str) -> str:
        while group.setdefault(case, case) != case:
            case = group[case]
        return case

    for one, other in pairs:
        first, second = sorted((one, other), key=lambda case: case.row)
        group[head(second.case)] = head(first.case)
    return {case: head(case) for case in group}


def probable_patients_issue(cohort: Cohort, patients: dict[str, str]) -> CohortIssue | None:
    """The proposal, and the commands that take it, for a cohort whose patients are not known."""
    if cohort.patients_known or not patients:
        return None
    groups: dict[str, list[str]] = defaultdict(list)
    for case, patient in patients.items():
        groups[patient].append(case)
    first, second = next(iter(groups.values()))[:2]
    message = (
        f"By their pixels {counted(len(patients), 'image')} are probably of {counted(len(groups), 'patient')}, such as "
        f"{first!r} and {second!r}."
    )
    path = str(cohort.path or "cohort.yaml")
    table = str(Path(path).with_name("patients.csv"))
    write = shlex.join(["radapt", "check", path, "--probable-patients", table])
    words = ["radapt", "scan", path, "--out", path, "--labels", table, "--on", "case", "--redraw", "--force"]
    fix = f"To take that: {write}; then {shlex.join(words)}"
    return CohortIssue("warning", "probable-patients", message, fix=fix)


def _words(first: Case, other: Case) -> str:
    where = f" and the two are in {_place(first)} and {_place(other)}" if _are_apart(first, other) else ""
    return f"case {first.case!r} of patient {first.patient!r}{where}"


def _are_apart(first: Case, other: Case) -> bool:
    return (first.split, first.fold) != (other.split, other.fold)


def _place(case: Case) -> str:
    return case.split if case.fold is None else f"fold {case.fold}"
