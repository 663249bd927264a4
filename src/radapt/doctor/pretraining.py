"""Test patients of a cohort among the pictures that an encoder was pretrained on, given as images or as hashes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from radapt.cases.near_duplicates import MOST_NEEDED, HashedImage, NearDuplicate, near_duplicates
from radapt.cohorts import Case, Cohort, CohortIssue
from radapt.cohorts.cohort import CHOOSING_SPLITS
from radapt.errors import DataError, RadaptError, counted
from radapt.images import SliceCache
from radapt.images.duplicates.hashes import RINGS
from radapt.images.duplicates.search import similar
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
    own = _tested(cohort, slices)
    seen, unread = _hashed(pictures, slices)
    if not seen:
        raise DataError(f"None of the {counted(len(pictures), 'picture')} of the pretraining can be read.")
    pairs = near_duplicates(cohort, [*own, *seen], slices.read, across=True, skip=_are_of_one_side)
    found = [_test_first(pair) for pair in pairs]
    issues = _counted(own, [case for case, _, _ in found], len(seen), "are")
    issues += [_issue(case, other, pair) for case, other, pair in found]
    if unread:
        message = f"{counted(unread, 'picture')} of the pretraining cannot be read and were not searched."
        issues.append(CohortIssue("warning", "unreadable_pretraining", message))
    return issues


def pretraining_issues_of_hashes(cohort: Cohort, pictures: Mapping[int, np.ndarray], cache: Path) -> list[CohortIssue]:
    """The same for pictures of which the hashes int8 (n, SIZE) alone are known, by number: pixels are not compared.

    Planes below about 40 px resolve too little for that: they are not searched, and counted in a warning.
    """
    own, numbers = _tested(cohort, SliceCache(cache)), list(pictures)
    hashes = [*(image.hashes for image in own), *pictures.values()]
    owner = np.repeat(np.arange(len(hashes)), [len(one) for one in hashes])
    joined = np.concatenate(hashes)
    fine = joined[:, 0] == len(RINGS)
    pairs = similar(np.where(fine[:, None], joined, 0).astype(np.int8), owner, (owner >= len(own)).astype(np.int64))
    planes: dict[tuple[int, int], set[int]] = defaultdict(set)
    likeness: dict[tuple[int, int], float] = defaultdict(float)
    for one, other, cosine in zip(pairs.first, pairs.second, pairs.likeness, strict=True):
        first, second = sorted((int(one), int(other)), key=lambda at: owner[at])
        key = int(owner[first]), int(owner[second])
        planes[key].add(first)
        likeness[key] = max(likeness[key], float(cosine))
    shown = np.bincount(owner[fine], minlength=len(hashes))
    found: dict[int, tuple[float, int]] = {}
    for (image, picture), seen in planes.items():
        if len(seen) >= min(MOST_NEEDED, shown[image], shown[picture]):
            found[image] = max(found.get(image, (0.0, 0)), (likeness[image, picture], numbers[picture - len(own)]))
    issues = _counted(own, [own[image].case for image in found], len(pictures), "are, by hashes alone,")
    for image, (cosine, picture) in sorted(found.items()):
        case = own[image].case
        message = (
            f"looks like picture {picture} of the pretraining (likeness of hashes {cosine:.2f}; pixels not compared)."
        )
        issues.append(CohortIssue("warning", "image_like_pretraining", message, case.case, case.row))
    if small := sum(not fine[owner == at].any() for at in range(len(own))):
        message = f"{counted(small, 'image')} of test patients too small or too plain for a search by hashes alone."
        issues.append(CohortIssue("warning", "not_searched_pretraining", message))
    return issues


def _tested(cohort: Cohort, slices: SliceCache) -> list[HashedImage]:
    tested = [case for case in cohort if case.split not in CHOOSING_SPLITS]
    return [HashedImage(case, name, at, slices.hashes(at, name)) for case in tested for name, at in case.images.items()]


def _counted(own: Sequence[HashedImage], found: Sequence[Case], pictures: int, verb: str) -> list[CohortIssue]:
    """The number of patients among the pictures; none without any."""
    if not found:
        return []
    of_all = counted(len({image.case.patient for image in own}), "test patient")
    message = f"{len({case.patient for case in found})} of {of_all} {verb} among {counted(pictures, 'picture')} of the"
    return [CohortIssue("warning", "test_patients_in_pretraining", f"{message} pretraining.", fix=_FIX)]


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
