"""The fingerprint of a cohort's training cases, from which a U-Net is planned. Each case is measured once and its facts
are cached."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from radapt.digests import ByteDigests, digest
from radapt.durable import atomic_path
from radapt.errors import DataError
from radapt.networks import Channel, Fingerprint
from radapt.networks.unet.architecture import cropped
from radapt.progress import ProgressMaker, silent
from radapt.protocols.image_problem import ImageProblem
from radapt.segmentation.data import SegmentationData
from radapt.segmentation.unet.grids import content_box
from radapt.segmentation.unet.volumes import stacked

VERSION = 1
"""Raise it when the facts of an unchanged case change."""

SAMPLES = 10_000
"""Foreground voxels sampled from a case, evenly spread; as many as nnU-Net's planner draws from a case."""

PERCENTILES = (0.5, 99.5)
"""Percentiles of the foreground values to which a CT is clipped (Isensee et al. 2021)."""


@dataclass(frozen=True, eq=False)
class CaseFacts:
    """One training case: voxels and mm along R, A, S, the box (2, 3) that is not 0, and how many voxels have each class
    (K + 1,). Per modality: `colours` (M,) 1 or 3, 0 if missing; `zeros` (M,) share of voxels that are 0; and `values`
    (colours, n) inside the labels."""

    shape: np.ndarray
    spacing_mm: np.ndarray
    box: np.ndarray
    classes: np.ndarray
    colours: np.ndarray
    zeros: np.ndarray
    values: tuple[np.ndarray, ...]


class Cases:
    """The cases of a problem as arrays, and their keys in the cache."""

    def __init__(self, problem: ImageProblem, data: SegmentationData) -> None:
        self.data = data
        self.folder = Path(problem.slices.folder) / "volumes"
        self._digests = ByteDigests(problem.slices.folder)

    @property
    def problem(self) -> ImageProblem:
        return self.data.problem  # not stored here: data decides what of it is pickled

    def identity(self, row: int) -> str:
        """32 hex digits that change with the bytes of a case's images or mask, its grid, or the labels."""
        case, grid = self.problem.cohort.cases[row], self.data.grid(row)
        images = {name: self._digests.of(place) for name, place in case.images.items()}
        mask = None if case.mask is None else self._digests.of(case.mask)
        place = [list(grid.array.shape), np.round(grid.affine, 6).tolist()]
        return digest([VERSION, images, list(self.data.modalities), mask, place, list(self.data.labels)])

    def classes(self, row: int) -> np.ndarray:
        """Class of every voxel uint8 (X, Y, Z) along R, A, S: 0, or k for the k-th label."""
        values = np.array([0, *self.data.labels])
        truth = self.data.truth(row).to_ras().array
        return np.searchsorted(values, truth).astype(np.uint8)

    def facts(self, row: int) -> CaseFacts:
        """The facts of a training case, from the cache or measured."""
        entry = self.folder / "facts" / f"{self.identity(row)}.npz"
        facts = _read(entry)
        if facts is None:
            facts = self._measure(row)
            _write(entry, facts)
        return facts

    def _measure(self, row: int) -> CaseFacts:
        volumes, classes = self.data.volumes(row), self.classes(row)
        colours = np.array([0 if volume is None else 3 if volume.is_colour else 1 for volume in volumes])
        images = stacked(volumes, np.maximum(colours, 1).tolist(), classes.shape)
        chosen = _evenly(np.flatnonzero(classes), SAMPLES)
        parts = np.split(images.reshape(len(images), -1), np.cumsum(np.maximum(colours, 1))[:-1])
        return CaseFacts(
            shape=np.array(classes.shape),
            spacing_mm=np.array(self.data.grid(row).to_ras().spacing_mm),
            box=content_box(images),
            classes=np.bincount(classes.ravel(), minlength=self.data.classes),
            colours=colours,
            zeros=np.array([float((part == 0).mean()) for part in parts]),
            values=tuple(part[:, chosen] for part in parts),
        )


def measure(cases: Cases, rows: Sequence[int] | np.ndarray, progress: ProgressMaker = silent) -> list[CaseFacts]:
    """The facts of the training cases at `rows`. Raises DataError if no mask among them has a label."""
    facts = []
    with progress(len(rows), "measuring training cases", "cases") as advance:
        for row in rows:
            facts.append(cases.facts(int(row)))
            advance(1)
    if not sum(int(case.classes[1:].sum()) for case in facts):
        raise DataError(
            f"Cohort {cases.problem.cohort.name!r}: all {len(facts)} training masks are empty, so nothing can be "
            "learned. Give training cases masks that hold a label."
        )
    return facts


def fingerprint(kind: str, modalities: Sequence[str], facts: Sequence[CaseFacts]) -> Fingerprint:
    """The numbers a U-Net is planned from; modalities that no case has are left out."""
    channels = [c for index, name in enumerate(modalities) for c in _channels(name, index, facts)]
    shapes = np.array([case.shape for case in facts])
    if cropped(channels, kind):
        shapes = np.array([case.box[1] - case.box[0] for case in facts])
    spacings = np.array([case.spacing_mm for case in facts])
    # A picture has one plane and no spacing, which reads as 1 mm.
    pictures = bool((spacings == 1).all() and (shapes.min(axis=1) == 1).all())
    return Fingerprint(kind, _rows(shapes), _rows(spacings), tuple(channels), measured=not pictures)


def colours_of(facts: Sequence[CaseFacts]) -> tuple[int, ...]:
    """For each modality 3 if any case has it in colour, 1 if all have it in grey, 0 if no case has it."""
    return tuple(int(n) for n in np.max([case.colours for case in facts], axis=0))


def _channels(name: str, index: int, facts: Sequence[CaseFacts]) -> list[Channel]:
    having = [case for case in facts if case.colours[index]]
    if not having:
        return []
    count = colours_of(facts)[index]
    zeros = float(np.median([case.zeros[index] for case in having]))
    parts = [np.broadcast_to(case.values[index], (count, case.values[index].shape[1])) for case in having]
    values = np.concatenate(parts, axis=1)
    names = [name] if count == 1 else [f"{name}:{colour}" for colour in ("red", "green", "blue")]
    return [_channel(channel, row, zeros) for channel, row in zip(names, values, strict=True)]


def _channel(name: str, values: np.ndarray, zeros: float) -> Channel:
    if not values.size:
        return Channel(name, 0.0, 0.0, 0.0, 0.0, zeros)
    low, high = np.percentile(values, PERCENTILES)
    exact = values.astype(np.float64)
    return Channel(name, float(low), float(high), float(exact.mean()), float(exact.std()), zeros)


def _evenly(indices: np.ndarray, most: int) -> np.ndarray:
    if len(indices) <= most:
        return indices
    return indices[np.linspace(0, len(indices) - 1, most).astype(np.int64)]


def _rows(table: np.ndarray) -> tuple[tuple, ...]:
    return tuple(tuple(row) for row in table.tolist())


def _write(entry: Path, facts: CaseFacts) -> None:
    arrays: dict[str, Any] = {name: getattr(facts, name) for name in _PLAIN}
    arrays |= {f"values_{index}": values for index, values in enumerate(facts.values)}
    with atomic_path(entry) as part, part.open("wb") as file:
        np.savez(file, **arrays)


def _read(entry: Path) -> CaseFacts | None:
    try:
        with np.load(entry, allow_pickle=False) as stored:
            values = tuple(stored[f"values_{index}"] for index in range(len(stored["colours"])))
            return CaseFacts(**{name: stored[name] for name in _PLAIN}, values=values)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


_PLAIN = ("shape", "spacing_mm", "box", "classes", "colours", "zeros")
