"""Images that two patients share: a leak if the patients are in different splits or folds."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from radapt.cohorts import Case, Cohort
from radapt.durable import write_text
from radapt.errors import DataError, counted
from radapt.locations import Location

if TYPE_CHECKING:
    from radapt.cases.near_duplicates import NearDuplicate
    from radapt.images import SliceCache

Duplicates = Literal["strict", "warn", "allow"]
NEAR_DUPLICATES = "near_duplicates.csv"
"""The list of pairs, beside the facts of the cohort in the run folder."""

_NAMED = 5
_READERS = 4
_LOG = logging.getLogger("radapt")


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


def report_near_duplicates(cohort: Cohort, duplicates: Duplicates, slices: "SliceCache", folder: Path) -> None:
    """Search for pictures of two patients that are one picture, re-encoded, resized, flipped, cropped or rotated.

    Pairs in different splits or folds are a warning, with the list in `folder`. With `strict` they raise DataError, and
    so do pairs in one split; with `allow` nothing is searched for. Hashes come from the slice cache.
    """
    from radapt.cases.near_duplicates import HashedImage, near_duplicates

    if duplicates == "allow":
        return
    images = [(case, name, location) for case in cohort for name, location in case.images.items()]
    with ThreadPoolExecutor(_READERS) as pool:
        hashes = list(pool.map(lambda image: slices.hashes(image[2], image[1]), images))
    hashed = [HashedImage(*image, found) for image, found in zip(images, hashes, strict=True)]
    pairs = near_duplicates(cohort, hashed, slices.read, across=duplicates == "warn")
    if not pairs:
        return
    table = folder / NEAR_DUPLICATES
    _write(pairs, table)
    message = _near_message(cohort, pairs, table)
    if duplicates == "strict":
        raise DataError(message)
    _LOG.warning("%s With 'duplicates: strict' in the study they are an error.", message)


def _write(pairs: "Sequence[NearDuplicate]", table: Path) -> None:
    import pandas as pd

    rows = [
        {
            "case": pair.first.case,
            "patient": pair.first.patient,
            "in": _where(pair.first),
            "other_case": pair.second.case,
            "other_patient": pair.second.patient,
            "other_in": _where(pair.second),
            "modality": pair.modality,
            "correlation": round(pair.match.correlation, 3),
            "transformation": pair.match.words(),
            "planes": pair.n_planes,
        }
        for pair in pairs
    ]
    table.parent.mkdir(parents=True, exist_ok=True)
    write_text(table, pd.DataFrame(rows).to_csv(index=False))


def _near_message(cohort: Cohort, pairs: "Sequence[NearDuplicate]", table: Path) -> str:
    named = [
        f"{_words(pair.first)} and {_words(pair.second)} ({pair.match.words()}, r = {pair.match.correlation:.2f})"
        for pair in pairs[:_NAMED]
    ]
    more = f"; and {len(pairs) - _NAMED:,} more" if len(pairs) > _NAMED else ""
    return (
        f"Cohort {cohort.name} has {counted(len(pairs), 'pair')} of near-identical images that belong to two patients: "
        f"{'; '.join(named)}{more}. All pairs: {table}. Give both the same patient in the table, remove one, or, if "
        "they are meant, write 'duplicates: allow' into the study."
    )


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
    return f"case {case.case!r} of patient {case.patient!r} in {_where(case)}"


def _where(case: Case) -> str:
    return case.split if case.fold is None else f"fold {case.fold}"
