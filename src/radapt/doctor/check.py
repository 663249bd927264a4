"""Checks of a cohort: its table, then every image and mask, each read once."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from radapt.cohorts import Case, Cohort, CohortIssue, read_cohort
from radapt.cohorts.folds import OUT_OF_FOLD
from radapt.cohorts.issue import Severity
from radapt.cohorts.layouts.dicom.cut_series import FIX as CUT_FIX
from radapt.cohorts.layouts.dicom.cut_series import cut_images
from radapt.doctor.duplicates import (
    equal_images,
    equal_issue,
    near_issues,
    pixel_key,
    probable_patients,
    probable_patients_issue,
)
from radapt.durable import write_text
from radapt.errors import DataError, counted
from radapt.locations import Location
from radapt.printable import printable
from radapt.progress import ProgressMaker, silent

if TYPE_CHECKING:
    from radapt.cases.near_duplicates import HashedImage
    from radapt.images import Remark, Volume
    from radapt.images.duplicates.hashes import SmallPlanes

LEARNED = ("train", OUT_OF_FOLD)
"""Splits that some model is trained on."""

_NAMED = 10
_AHEAD = 16  # cases a worker may read ahead; of each its small planes are kept
_HASHED_TOGETHER = 64
_SMALL_BYTES = 1 << 15
"""Files up to this size are read by one thread: several would mostly wait for each other."""


@dataclass(frozen=True)
class Findings:
    """The findings of `radapt check`: errors first, each severity in table order."""

    cohort: str
    n_cases: int
    problems: tuple[CohortIssue, ...]
    probable_patients: dict[str, str] = field(default_factory=dict)
    """Of cases with near-identical pixels, where patients are unknown."""

    @property
    def errors(self) -> tuple[CohortIssue, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[CohortIssue, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "warning")

    def text(self) -> str:
        """A line of counts, then one line per problem."""
        counts = (self.n_cases, "case"), (len(self.errors), "error"), (len(self.warnings), "warning")
        head = f"{self.cohort}: {', '.join(counted(count, noun) for count, noun in counts)}."
        return printable("\n".join([head, *(f"{problem.severity}: {problem}" for problem in self.problems)]))

    def as_json(self) -> dict[str, Any]:
        """The findings as JSON-like values, for programs."""
        from dataclasses import asdict

        return {
            "cohort": self.cohort,
            "cases": self.n_cases,
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "findings": [asdict(problem) for problem in self.problems],
        }

    def write_patients(self, path: Path) -> None:
        """Write the probable patients as a table `case, patient`, for `radapt scan --labels`.

        Raises DataError if there are none.
        """
        if not self.probable_patients:
            raise DataError(
                f"{path} is not written: no patients of {self.cohort} are proposed, because all are given, or because "
                "no two images are near-identical."
            )
        table = pd.DataFrame(sorted(self.probable_patients.items()), columns=["case", "patient"])
        write_text(path, table.to_csv(index=False))


def check_cohort(path: Path, cache: Path, progress: ProgressMaker = silent) -> Findings:
    """Read the table and every image of the cohort at `path`.

    Raises UsageError only if the cohort file itself cannot be read; everything else becomes a `CohortIssue`.
    """
    cohort, problems = read_cohort(path)
    if cohort is None:
        return Findings(str(path), 0, _worst_first(problems))
    issues = list(problems)
    pixels: dict[bytes, list[tuple[Case, str]]] = defaultdict(list)
    labels: list[tuple[Case, np.ndarray]] = []
    images: list[HashedImage] = []
    with progress(len(cohort), f"Checking {cohort.name}", "cases") as advance:
        for case, case_check in _read_all(cohort, cache):
            issues += case_check.problems
            for modality, key in case_check.keys:
                pixels[key].append((case, modality))
            images += case_check.images
            if case_check.labels is not None:
                labels.append((case, case_check.labels))
            advance(1)
    equal = equal_images(pixels, cache)
    near, pairs = near_issues(cohort, images, equal, cache)
    issues = [*_folded(issues, "grids_differ"), *(equal_issue(*pair) for pair in equal), *near]
    patients = {} if cohort.patients_known else probable_patients([*equal, *pairs])
    if (proposal := probable_patients_issue(cohort, patients)) is not None:
        issues.append(proposal)
    if not cohort.mask_labels:
        issues += _unlearnable(labels, segments=cohort.task == "segmentation")
    return Findings(cohort.name, len(cohort), _worst_first(issues), patients)


def _worst_first(problems: list[CohortIssue]) -> tuple[CohortIssue, ...]:
    return tuple(sorted(problems, key=lambda problem: (problem.severity != "error", problem.row or 0)))


@dataclass(frozen=True, eq=False)
class _CaseCheck:
    """The check of one case: problems, keys and hashes of its pixels, and the values of its mask, None without a
    usable one. `small` are the planes to hash, by modality."""

    problems: list[CohortIssue]
    keys: list[tuple[str, bytes]]
    small: "list[tuple[str, SmallPlanes]]"
    images: "list[HashedImage]" = field(default_factory=list)
    labels: np.ndarray | None = None


def _read_all(cohort: Cohort, cache: Path) -> Iterator[tuple[Case, _CaseCheck]]:
    """Cases in order, each with its check, read by a few threads."""
    for group in _grouped(_read_one_by_one(cohort, cache)):
        _add_hashes(group)
        yield from group


def _read_one_by_one(cohort: Cohort, cache: Path) -> Iterator[tuple[Case, _CaseCheck]]:
    workers = min(8, os.cpu_count() or 1)
    step = workers * _AHEAD
    with ThreadPoolExecutor(workers) as pool:
        for first in range(0, len(cohort), step):
            chunk = cohort.cases[first : first + step]
            each = map if all(_is_small(case) for case in chunk) else pool.map
            yield from zip(chunk, each(lambda case: _read_case(case, cohort, cache), chunk), strict=True)


def _is_small(case: Case) -> bool:
    """Whether all images of a case are in small files."""
    try:
        facts = [location.path.stat() for location in case.images.values()]
    except OSError:
        return True
    return all(S_ISREG(fact.st_mode) and fact.st_size <= _SMALL_BYTES for fact in facts)


def _grouped(checks: Iterable[tuple[Case, _CaseCheck]]) -> Iterator[list[tuple[Case, _CaseCheck]]]:
    """Checks in order, so many at once that hashing their planes together pays."""
    group: list[tuple[Case, _CaseCheck]] = []
    planes = 0
    for case, check in checks:
        group.append((case, check))
        planes += sum(len(small.planes) for _, small in check.small)
        if planes >= _HASHED_TOGETHER:
            yield group
            group, planes = [], 0
    yield group


def _add_hashes(checks: Sequence[tuple[Case, _CaseCheck]]) -> None:
    """Hash the small planes of several cases at once."""
    from radapt.cases.near_duplicates import HashedImage
    from radapt.images.duplicates.hashes import hashes_of

    images = [(case, check, *image) for case, check in checks for image in check.small]
    hashes = hashes_of([small for *_, small in images]) if images else []
    for (case, check, modality, _), of_image in zip(images, hashes, strict=True):
        check.images.append(HashedImage(case, modality, case.images[modality], of_image))
        check.small.clear()


def _read_case(case: Case, cohort: Cohort, cache: Path) -> _CaseCheck:
    from radapt.images import grids_problem, image_problems, read
    from radapt.images.duplicates.hashes import small_planes

    problems: list[CohortIssue] = []
    small: list[tuple[str, SmallPlanes]] = []
    keys: list[tuple[str, bytes]] = []
    volumes: list[Volume] = []
    for modality, location in case.images.items():
        try:
            volume = read(location, modality, array_cache=cache / "arrays")
        except DataError as error:
            problems.append(_unreadable(case, "unreadable_image", error, str(location)))
            continue
        volumes.append(volume)
        remarks = image_problems(volume, cohort.kind)
        problems += [_problem(case, remark, f"{modality}: {remark.message}", str(location)) for remark in remarks]
        if "constant_image" not in {remark.code for remark in remarks}:
            keys.append((modality, pixel_key(volume.array)))
            small.append((modality, small_planes(volume)))
    problems += [
        CohortIssue(
            "warning", "cut_series", f"{each.name} may be cut: {each.message}", case.case, case.row,
            str(case.images[each.name]), CUT_FIX,
        )
        for each in cut_images(case.images)
    ]  # fmt: skip
    if len(volumes) > 1 and (remark := grids_problem(volumes)):
        problems.append(_problem(case, remark, remark.message, ""))
    if case.mask is None:
        return _CaseCheck(problems, keys, small)
    remarks_on_mask, labels = _read_mask(case, case.mask, cohort, volumes, cache)
    return _CaseCheck([*problems, *remarks_on_mask], keys, small, labels=labels)


def _read_mask(
    case: Case, location: Location, cohort: Cohort, volumes: "list[Volume]", cache: Path
) -> tuple[list[CohortIssue], np.ndarray | None]:
    """The problems of a mask, and its values if they are valid."""
    from radapt.images import mask_problems
    from radapt.images.masks import read_labels
    from radapt.images.plausibility import distinct

    try:
        mask = read_labels(location, cache / "arrays")
    except DataError as error:
        return [_unreadable(case, "unreadable_mask", error, str(location))], None
    remarks = mask_problems(mask, volumes, cohort.mask_labels)
    usable = not any(remark.code == "mask_values" for remark in remarks)
    labels = np.unique(np.rint(distinct(mask.array))) if usable else None
    return [_problem(case, remark, remark.message, str(location)) for remark in remarks], labels


def _folded(problems: list[CohortIssue], code: str) -> list[CohortIssue]:
    """The problems, those of one `code`, which most cases may have, merged into one that names the cases."""
    same = [problem for problem in problems if problem.code == code]
    if len(same) < 2:
        return problems
    first, *others = same
    names = ", ".join(str(problem.case) for problem in others[:_NAMED])
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    message = f"{first.message} The same with {len(others)} other cases: {names}{more}."
    return [problem for problem in problems if problem.code != code] + [replace(first, message=message)]


def _unlearnable(masks: list[tuple[Case, np.ndarray]], *, segments: bool) -> list[CohortIssue]:
    """Without declared labels: mask values that no training mask holds, so that they cannot be learned.

    Errors in a cohort for segmentation, because a study refuses them; else warnings, because other protocols do not use
    the masks.
    """
    from radapt.images import mask_labels_problem

    learned = {int(value) for case, values in masks if case.split in LEARNED for value in values} - {0}
    remarks = ((case, mask_labels_problem(values, learned, "the masks of train hold")) for case, values in masks)
    severity: Severity = "error" if segments else "warning"
    remarks_on_mask = ((case, remark._replace(severity=severity)) for case, remark in remarks if remark)
    return [_problem(case, remark, remark.message, str(case.mask)) for case, remark in remarks_on_mask]


def _problem(case: Case, remark: "Remark", message: str, file: str) -> CohortIssue:
    return CohortIssue(remark.severity, remark.code, message, case.case, case.row, file or None, remark.fix)


def _unreadable(case: Case, code: str, error: DataError, file: str) -> CohortIssue:
    return CohortIssue("error", code, str(error), case.case, case.row, file)
