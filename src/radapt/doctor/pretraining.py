"""Test patients of a cohort among the pictures that an encoder was pretrained on."""

from collections.abc import Sequence
from pathlib import Path

from radapt.cases.near_duplicates import HashedImage, NearDuplicate, near_duplicates
from radapt.cohorts import Case, Cohort, CohortIssue
from radapt.cohorts.cohort import CHOOSING_SPLITS
from radapt.errors import DataError, RadaptError, counted
from radapt.images import SliceCache
from radapt.locations import Location

PRETRAINING = "pretraining"
"""The split of the pictures, beside those of the cohort."""

_FIX = "Do not compare this encoder with others on these patients, or leave them out."


def pretraining_issues(cohort: Cohort, pictures: Sequence[Location], cache: Path) -> list[CohortIssue]:
    """A warning for each test case that shows one of the `pictures`, re-encoded, resized, flipped, cropped or rotated,
    and first one with the number of patients; one more counts the pictures that cannot be read.

    Raises DataError if none of them can be read.
    """
    slices = SliceCache(cache)
    tested = [case for case in cohort if case.split not in CHOOSING_SPLITS]
    own = [HashedImage(case, name, at, slices.hashes(at, name)) for case in tested for name, at in case.images.items()]
    seen, unread = _hashed(pictures, slices)
    if not seen:
        raise DataError(f"None of the {counted(len(pictures), 'picture')} of the pretraining can be read.")
    pairs = near_duplicates(cohort, [*own, *seen], slices.read, across=True, skip=_are_of_one_side)
    found = [_test_first(pair) for pair in pairs]
    issues = [_issue(case, other, pair) for case, other, pair in found]
    if found:
        patients = len({case.patient for case, _, _ in found})
        of_all = counted(len({case.patient for case in tested}), "test patient")
        message = f"{patients} of {of_all} are among {counted(len(seen), 'picture')} of the pretraining."
        issues.insert(0, CohortIssue("warning", "test_patients_in_pretraining", message, fix=_FIX))
    if unread:
        message = f"{counted(unread, 'picture')} of the pretraining cannot be read and were not searched."
        issues.append(CohortIssue("warning", "unreadable_pretraining", message))
    return issues


def _hashed(pictures: Sequence[Location], slices: SliceCache) -> tuple[list[HashedImage], int]:
    """The pictures as cases of their own, and how many cannot be read."""
    found = []
    for row, location in enumerate(pictures):
        case = Case(str(location), f"{PRETRAINING} {row}", PRETRAINING, {PRETRAINING: location}, row=row)
        try:
            found.append(HashedImage(case, PRETRAINING, location, slices.hashes(location)))
        except RadaptError:
            continue
    return found, len(pictures) - len(found)


def _are_of_one_side(first: HashedImage, second: HashedImage) -> bool:
    """Two pictures of the pretraining, or two of the cohort, which `radapt check` compares anyway."""
    return (first.modality == PRETRAINING) == (second.modality == PRETRAINING)


def _test_first(pair: NearDuplicate) -> tuple[Case, Case, NearDuplicate]:
    if pair.first.split == PRETRAINING:
        return pair.second, pair.first, pair
    return pair.first, pair.second, pair


def _issue(case: Case, other: Case, pair: NearDuplicate) -> CohortIssue:
    how = f"{pair.match.words()}, r = {pair.match.correlation:.2f}"
    message = f"shows the same picture ({how}) as {Path(other.case).name} of the pretraining."
    return CohortIssue("warning", "image_in_pretraining", message, case.case, case.row)
