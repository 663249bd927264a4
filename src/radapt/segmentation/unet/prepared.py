"""Cases on the grid of a network, prepared once and memory-mapped; patches are cut from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radapt.digests import digest
from radapt.durable import atomic_path
from radapt.images.slice_cache import changed_while_reading
from radapt.networks import UNetPlan
from radapt.progress import ProgressMaker, silent
from radapt.sealed import open_sealed, write_sealed
from radapt.segmentation.unet.fingerprint import Cases
from radapt.segmentation.unet.grids import GridCrop, resized_labels
from radapt.segmentation.unet.volumes import gridded, presence, split_labels, stacked

VERSION = 1
"""Raise it when the same case and plan give other values."""

PLACES = 10_000
"""Voxels of each label that patches may be centred on, evenly spread; as many as nnU-Net keeps."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """One case: `images` float16 (n, C, *S), `labels` uint8 (n, *S), `present` (C,) bool, and `places` int64 (m, 2):
    the class and the index (of the flattened labels) of voxels inside labels, by class. `frame` says where in the
    patient all this lies."""

    images: np.ndarray
    labels: np.ndarray
    present: np.ndarray
    places: np.ndarray
    frame: GridCrop


class PreparedCases:
    """Train and val cases by one plan, under `volumes/` of the cache.

    The name of an entry is a digest of images, mask and the parts of the plan that decide its values. An entry is a
    folder, written atomically. Half precision holds standardised intensities to three digits.
    """

    def __init__(self, cases: Cases, plan: UNetPlan, modalities: Sequence[int], colours: Sequence[int]) -> None:
        self.cases, self.plan = cases, plan
        self.modalities, self.colours = tuple(modalities), tuple(colours)
        self._entries: dict[int, Path] = {}

    def ready(self, rows: Sequence[int] | np.ndarray, progress: ProgressMaker = silent) -> list[str]:
        """Prepare cases that are not in the cache yet; returns the names of all entries."""
        with progress(len(rows), "preparing volumes", "cases") as advance:
            for row in rows:
                if _opened(self._entry(int(row))) is None:
                    self._make(int(row))
                advance(1)
        return [self._entry(int(row)).name for row in rows]

    def open(self, row: int) -> Prepared:
        """The case at `row`, mapped from the cache; prepared first if it is missing or damaged."""
        case = _opened(self._entry(row))
        if case is None:
            self._make(row)
            case = _opened(self._entry(row))
        if case is None:
            raise OSError(f"{self._entry(row)} was written but cannot be read back")
        return case

    def images(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """(C, X, Y, Z) float32 of the modalities in use, along R, A, S, and which channels are present (C,)."""
        every = self.cases.data.volumes(row)
        volumes = [every[index] for index in self.modalities]
        shape = self.cases.data.grid(row).to_ras().array.shape
        return stacked(volumes, self.colours, shape), presence(volumes, self.colours)

    def _entry(self, row: int) -> Path:
        if row not in self._entries:
            name = self._name(row)
            self._entries[row] = self.cases.folder / name[:2] / name
        return self._entries[row]

    def _name(self, row: int) -> str:
        facts = self.plan.facts()
        decides = {name: facts[name] for name in ("dims", "spacing_mm", "longest", "scalings", "crop")}
        decides |= {"axis": self.plan.axis if self.plan.dims == 2 else None}
        return digest([VERSION, self.cases.identity(row), self.modalities, self.colours, decides])

    def _make(self, row: int) -> None:
        data, plan = self.cases.data, self.plan
        images, present = self.images(row)
        spacing = data.grid(row).to_ras().spacing_mm
        found, frame = gridded(images, present, spacing, plan)
        classes = resized_labels(self.cases.classes(row)[frame.inside], frame.size, data.classes)
        labels = np.ascontiguousarray(split_labels(classes, plan))
        entry = self._entry(row)
        if self._name(row) != entry.name:
            raise changed_while_reading(f"Case {self.cases.problem.cohort.cases[row].case}")
        with atomic_path(entry, folder=True) as folder:
            write_sealed(folder / "images.npy", np.ascontiguousarray(found, dtype=np.float16), f"{entry.name}/images")
            write_sealed(folder / "labels.npy", labels, f"{entry.name}/labels")
            write_sealed(folder / "present.npy", present, f"{entry.name}/present")
            write_sealed(folder / "places.npy", places_of(labels, data.classes), f"{entry.name}/places")
            write_sealed(
                folder / "frame.npy", np.array([frame.shape, frame.low, frame.high, frame.size]), f"{entry.name}/frame"
            )


def places_of(labels: np.ndarray, classes: int) -> np.ndarray:
    """int64 (m, 2): class and flat index of at most `PLACES` voxels of each label, evenly spread, by class."""
    inside = np.flatnonzero(labels)
    found = labels.ravel()[inside]
    order = np.argsort(found, kind="stable")
    counts = np.bincount(found, minlength=classes)[1:]
    starts = np.cumsum(counts) - counts
    taken = np.minimum(counts, PLACES)
    label = np.repeat(np.arange(len(counts)), taken)
    within = np.arange(taken.sum()) - np.repeat(np.cumsum(taken) - taken, taken)
    chosen = order[starts[label] + within * counts[label] // np.maximum(taken[label], 1)]
    return np.stack([found[chosen].astype(np.int64), inside[chosen]], axis=1)


def _opened(entry: Path) -> Prepared | None:
    """The entry, or None if it is missing, truncated or inconsistent."""
    names = ("images", "labels", "present", "places", "frame")
    arrays = [open_sealed(entry / f"{name}.npy", f"{entry.name}/{name}") for name in names]
    images, labels, present, places, frame = arrays
    if images is None or labels is None or present is None or places is None or frame is None:
        return None
    present, places, frame = np.array(present), np.array(places), np.array(frame)
    fits = images.dtype == np.float16 and labels.dtype == np.uint8 and images.ndim == labels.ndim + 1
    fits = fits and images.shape[:1] + images.shape[2:] == labels.shape and present.shape == images.shape[1:2]
    if not fits or frame.shape != (4, 3):
        return None
    return Prepared(images, labels, present, places, GridCrop(*map(tuple, frame.tolist())))
