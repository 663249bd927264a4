"""Series that seem to be cut at an end, because the last slices were not copied: a warning, from headers alone.

A series cut between two slices has a gap, which is an error where it is read. One cut at its end looks complete by
itself; counts in the header, the numbers of its images, or other series of the study that lie on the same slices, show
what is missing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import numpy as np

from radapt.cohorts.layouts.dicom.headers import Header, is_dicom, read_header, series_digest
from radapt.errors import DataError, counted
from radapt.locations import Location

FIX = "Was the copy interrupted? Copy the series again, unless it was acquired so."

LEAST_MISSING_MM = 5.0
"""Series of one prescription may differ by less than this at an end."""

_FEWEST_SLICES = 3
_MOST_SCOUTS = 3
"""So many images numbered before the slices may be scouts, stored elsewhere or removed."""
_PARALLEL = 0.9998
"""Cosine of 1.1 degrees: normals of one prescription differ by rounding only."""
_SAME_STEP = 0.02
_SAME_PLACE_STEPS = 0.25
_SAME_VIEW = 0.1
"""Fields of view differ by less than this part of their size; a crop does not."""

_ENDS = (("left", "right"), ("back", "front"), ("head", "feet"))
"""Of the axes of DICOM's LPS, towards larger and smaller values."""


class CutSeries(NamedTuple):
    """A series that seems to be cut."""

    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.name} may be cut: {self.message} {FIX}"


@dataclass(frozen=True, eq=False)
class _Stack:
    """The slices of a series: `distances` (n,) in mm along `normal` (3,), sorted, in the frame of reference."""

    name: str
    frame_of_reference: str
    normal: np.ndarray
    distances: np.ndarray
    centre: np.ndarray
    """(3,) of any of its slices."""
    size_mm: np.ndarray
    """(2,)"""

    @property
    def step(self) -> float:
        return float(np.median(np.diff(self.distances)))


def cut_series(study: Mapping[str, Sequence[Header]]) -> list[CutSeries]:
    """The series of one study, {name: its files}, that seem to be cut, in their order and at most one reason each."""
    found: dict[str, str] = {}
    for name, message in (*_by_counts(study), *_by_locations(study), *_by_neighbours(study), *_by_numbers(study)):
        found.setdefault(name, message)
    return [CutSeries(name, found[name]) for name in study if name in found]


def cut_images(images: Mapping[str, Location]) -> list[CutSeries]:
    """The same of the images of a case, {name: location}, of which only folders of DICOM files are looked at."""
    study = {name: _headers(location) for name, location in images.items() if location.path.is_dir()}
    return cut_series(study) if study else []


def _headers(location: Location) -> list[Header]:
    """The images at a location; none if one cannot be read, which reading the case says."""
    try:
        headers = [read_header(path) for path in sorted(location.path.iterdir()) if is_dicom(path)]
    except (DataError, OSError):
        return []
    images = [header for header in headers if header is not None]
    if location.array is None:
        return images
    return [header for header in images if f"series-{header.series or series_digest('')}" == location.array]


def _by_counts(study: Mapping[str, Sequence[Header]]) -> Iterator[tuple[str, str]]:
    acquired: dict[tuple[int, int], int] = {}
    for files in study.values():
        for file in files:
            key = file.slice.acquisition, file.slice.images_in_acquisition
            acquired[key] = acquired.get(key, 0) + 1
    for name, files in study.items():
        for claimed, what in _claims(files):
            # an acquisition may be stored as several series, which hold all its images together
            shared = acquired.get((files[0].slice.acquisition, claimed)) == claimed
            if len(files) < claimed and not shared:
                yield name, f"its header counts {claimed} {what}, {len(files)} are here."


def _claims(files: Sequence[Header]) -> Iterator[tuple[int, str]]:
    facts = {(file.slice.acquisition, file.slice.images_in_acquisition, file.slice.images_in_series) for file in files}
    if len(facts) == 1:
        _, in_acquisition, in_series = facts.pop()
        yield in_series, "slices"
        yield in_acquisition, "images in the acquisition"
    for counts, what in (
        ({file.slice.concatenation for file in files}, "files of a concatenation"),
        ({file.slice.files_in_series for file in files}, "files of the series"),
    ):
        if len(counts) == 1:
            yield counts.pop(), what


def _by_locations(study: Mapping[str, Sequence[Header]]) -> Iterator[tuple[str, str]]:
    """Series with fewer positions than the scanner planned, each of which may hold several echoes or times."""
    planned: dict[tuple[int, int], set[tuple[float, ...]]] = {}
    for files in study.values():
        for file in files:
            if file.slice.position is not None:
                planned.setdefault((file.slice.acquisition, file.slice.locations), set()).add(file.slice.position)
    for name, files in study.items():
        facts = {(file.slice.acquisition, file.slice.locations) for file in files}
        claimed = max(count for _, count in facts)
        if len({count for _, count in facts}) > 1 or not claimed or any(file.is_localizer for file in files):
            continue
        positions = {file.slice.position for file in files}
        # the slices of one acquisition may be stored as several series
        if None not in positions and len(positions) < claimed > max(len(planned[fact]) for fact in facts):
            yield name, f"its header counts {claimed} slices, {len(positions)} are here."


def _by_numbers(study: Mapping[str, Sequence[Header]]) -> Iterator[tuple[str, str]]:
    """Series whose images are numbered one after the other along the slices, but not from the first on.

    Numbers that continue those of another series, or start after a multiple of the number of slices, count echoes or
    time points.
    """
    ends = {max(file.slice.number for file in files) for files in study.values() if files}
    for name, files in study.items():
        stack = _stack(name, files)
        if stack is None:
            continue
        numbers = np.asarray([file.slice.number for file in files])
        along = numbers[np.argsort([np.asarray(file.slice.position) @ stack.normal for file in files])]
        steps, missing = np.diff(along), int(along.min()) - 1
        if missing <= _MOST_SCOUTS or missing * stack.step < LEAST_MISSING_MM or abs(steps[0]) != 1:
            continue
        if (steps != steps[0]).any() or missing in ends or missing % len(files) == 0:
            continue
        end = _end(-stack.normal if steps[0] > 0 else stack.normal)
        yield (
            name,
            f"its images are numbered from {missing + 1} to {int(along.max())}: the first {missing} are missing, "
            f"{missing * stack.step:.0f} mm at the {end} end.",
        )


def _by_neighbours(study: Mapping[str, Sequence[Header]]) -> Iterator[tuple[str, str]]:
    """Series whose slices lie on those of another one that goes on at one end and not at the other."""
    stacks = [stack for name, files in study.items() if (stack := _stack(name, files)) is not None]
    for own, other in permutations(stacks, 2):
        missing = len(other.distances) - len(own.distances)
        if missing < 1 or missing * own.step < LEAST_MISSING_MM or not _of_one_prescription(own, other):
            continue
        along = np.sort(other.distances if other.normal @ own.normal > 0 else -other.distances)
        near = _SAME_PLACE_STEPS * own.step
        first, last = abs(along[0] - own.distances[0]) < near, abs(along[-1] - own.distances[-1]) < near
        if first == last:
            continue
        end = _end(own.normal if first else -own.normal)
        yield (
            own.name,
            f"it has {counted(len(own.distances), 'slice')} and {other.name} has {len(other.distances)} at the same "
            f"places: {missing * own.step:.0f} mm less at the {end} end.",
        )


def _stack(name: str, files: Sequence[Header]) -> _Stack | None:
    """None for what is not a stack of evenly spaced slices, one a file."""
    first = files[0].slice if files else None
    if first is None or len(files) < _FEWEST_SLICES or not first.frame_of_reference:
        return None
    if any(file.slice.position is None or file.slice.cosines is None or file.is_localizer for file in files):
        return None
    if any(file.slice.frame_of_reference != first.frame_of_reference for file in files):
        return None
    cosines = np.asarray([file.slice.cosines for file in files])
    normals = np.cross(cosines[:, :3], cosines[:, 3:])
    lengths = np.linalg.norm(normals, axis=1)
    if lengths.min() < 1e-3 or (normals @ normals[0] / (lengths * lengths[0])).min() < _PARALLEL:
        return None
    positions = np.asarray([file.slice.position for file in files])
    normal = normals[0] / lengths[0]
    distances = np.sort(positions @ normal)
    gaps = np.diff(distances)
    if gaps.min() < 0.5 * np.median(gaps) or gaps.max() > 1.5 * np.median(gaps):
        return None
    rows_mm, columns_mm = first.size_mm
    centre = positions[0] + (columns_mm * cosines[0, :3] + rows_mm * cosines[0, 3:]) / 2
    return _Stack(name, first.frame_of_reference, normal, distances, centre, np.asarray(first.size_mm))


def _of_one_prescription(own: _Stack, other: _Stack) -> bool:
    """Whether both were planned as the same slices: position, direction, distance and field of view."""
    if own.frame_of_reference != other.frame_of_reference or abs(own.normal @ other.normal) < _PARALLEL:
        return False
    if abs(own.step - other.step) > _SAME_STEP * own.step or not own.size_mm.min() > 0:
        return False
    apart = own.centre - other.centre
    inside = float(np.linalg.norm(apart - (apart @ own.normal) * own.normal))
    sizes = np.abs(own.size_mm - other.size_mm) <= _SAME_VIEW * own.size_mm
    return bool(sizes.all()) and inside <= _SAME_VIEW * float(own.size_mm.max())


def _end(direction: np.ndarray) -> str:
    """The part of the patient that a direction in LPS points to."""
    axis = int(np.abs(direction).argmax())
    return _ENDS[axis][0 if direction[axis] > 0 else 1]
