"""Images that two patients share: a leak if the patients are in different splits or folds."""

from collections import defaultdict
from collections.abc import Callable
from typing import Literal

from radapt.cohorts import Case, Cohort
from radapt.errors import DataError, counted
from radapt.locations import Location

Duplicates = Literal["strict", "warn", "allow"]
_NAMED = 5


def refuse_equal_images(
    cohort: Cohort,
    duplicates: Duplicates,
    digest_of: Callable[[str, Location], str | None],
    what: str,
    counts: Callable[[str, Location], bool] = lambda *_: True,
) -> None:
    """Raise DataError if two patients in different splits or folds have an image of equal digests.

    `digest_of` gives that of a modality at a location. Equal images that do not `counts`, such as empty ones, are no
    leak. With `strict` the two may not be in the same split either; with `allow` nothing is checked.
    """
    if duplicates == "allow":
        return
    first: dict[str, tuple[Case, str]] = {}
    others: dict[str, list[Case]] = defaultdict(list)
    for case in cohort:
        for modality, location in case.images.items():
            digest = digest_of(modality, location)
            if digest is None:
                continue
            owner, _ = first.setdefault(digest, (case, modality))
            if owner.patient != case.patient:
                others[digest].append(case)
    pairs = []
    for digest, cases in others.items():
        owner, modality = first[digest]
        leaks = [case for case in cases if duplicates == "strict" or _place(case) != _place(owner)]
        if leaks and counts(modality, owner.images[modality]):
            pairs += [(owner, case) for case in leaks]
    if pairs:
        raise DataError(_message(cohort, pairs, what))


def _place(case: Case) -> tuple[str, str | None]:
    return case.split, case.fold


def _message(cohort: Cohort, pairs: list[tuple[Case, Case]], what: str) -> str:
    named = [f"{_words(first)} and {_words(second)}" for first, second in pairs[:_NAMED]]
    more = f"; and {len(pairs) - _NAMED:,} more" if len(pairs) > _NAMED else ""
    return (
        f"Cohort {cohort.name} has {counted(len(pairs), 'pair')} of images with equal {what} that belong to two "
        f"patients: {'; '.join(named)}{more}. Give both the same patient in the table, remove one, or, if they are "
        "meant, write 'duplicates: allow' into the study."
    )


def _words(case: Case) -> str:
    where = case.split if case.fold is None else f"fold {case.fold}"
    return f"case {case.case!r} of patient {case.patient!r} in {where}"
