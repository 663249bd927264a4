"""What segmentation learns from: planes of every modality and of the mask, in the grid of a case's reference image."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from radapt.cohorts.cohort import Case
from radapt.errors import DataError
from radapt.images import AlignedSliceCache, Placement, Volume, read_mask, resampled
from radapt.images.arrays import mapped
from radapt.progress import silent
from radapt.protocols.image_problem import ImageProblem
from radapt.segmentation.mask_survey import survey_masks

_OPEN = 512  # planes kept open, below the usual limit of 1024 open files
_GRIDS = 4096  # grids kept, a kilobyte each
_COUNTED = 1 << 22  # pixels counted at once

Which = np.ndarray | slice
EVERY = slice(None)


class SegmentationData:
    """The images and masks of a problem, all modalities and the mask of a case on the same planes.

    K labels, M modalities, C colours (1 grey, 3 colour, CT windows or neighbours), n planes of H × W pixels (the
    recipe's size). Class 0 is background, class k the k-th of `labels`. Arrays are memory-mapped where they can be and
    then read-only; nothing is held in memory but what a call returns.

    The reference image of a case is one whose grid its mask shares; of several, and for a case without a mask, the
    first in the order of how many training masks lie on each modality, then of the cohort. Other modalities are
    resampled to it.
    """

    labels: Mapping[int, str]
    """{value in the masks: name}, rising."""

    notes: tuple[str, ...]
    """What a reader should know, such as a label that no training mask holds."""

    def __init__(self, problem: ImageProblem) -> None:
        """Look at every mask of train and val once (see `survey_masks`)."""
        self.problem, self.cohort = problem, problem.cohort
        self.cache = AlignedSliceCache(problem.slices, problem.recipe)
        self._look = survey_masks(problem.cohort, self.cache, problem.machine.progress)
        self.labels, self.notes = self._look.labels, self._look.notes
        self._files: dict[tuple[int, str | None], Path] = {}
        self._remember()

    def _remember(self) -> None:
        self._opened, self._grids = lru_cache(_OPEN)(self._open), lru_cache(_GRIDS)(self._grid)

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which opens files anew, loads no backbone and shows no progress here."""
        quiet = replace(self.problem.machine, progress=silent)
        own = {name: each for name, each in self.__dict__.items() if name not in ("_opened", "_grids")}
        return {**own, "problem": replace(self.problem, fresh=None, machine=quiet)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._remember()

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.cohort.modalities

    @property
    def classes(self) -> int:
        """K + 1: background and every label."""
        return len(self.labels) + 1

    @cached_property
    def colours(self) -> int:
        """C, the same for every case: 3 if any image of a case to learn from has 3, else 1."""
        rows = self.rows("train")
        each = (self._opened(int(row), name).shape[1] for row in rows for name in self.cohort.cases[row].images)
        return 3 if any(colours == 3 for colours in each) else 1

    @property
    def channels(self) -> int:
        """M × C."""
        return len(self.modalities) * self.colours

    def rows(self, split: str) -> np.ndarray:
        """Indices of the masked cases of a split (`train`, `val`)."""
        return self.problem.rows(split)

    def grid(self, row: int) -> Volume:
        """The reference image's shape and affine as stored; its voxels are all 0 and take no memory."""
        return self._grids(int(row))

    def reference(self, row: int) -> Volume:
        """The reference image with its voxels, as stored: decoded at every call."""
        case = self.cohort.cases[row]
        name = self._look.reference(case, row)
        return self.problem.slices.read(case.images[name], name)

    def volumes(self, row: int) -> tuple[Volume | None, ...]:
        """Stored values of every modality in the grid of `grid(row)`, None where missing: decoded at every call."""
        grid, images = self.grid(row), self.cohort.cases[row].images
        return tuple(
            resampled(self.problem.slices.read(images[name], name), grid) if name in images else None
            for name in self.modalities
        )

    def truth(self, row: int) -> Volume:
        """The mask in the grid of `grid(row)`, values of `labels` and 0: decoded at every call.

        Raises DataError if the case has no mask that may be seen.
        """
        case = self.cohort.cases[row]
        if case.mask is None:
            raise DataError(f"Case {case.case} has no mask that may be seen here.")
        arrays = self.problem.slices.folder / "arrays"
        return read_mask(case.mask, self.grid(row), self.labels, array_cache=arrays)

    def placement(self, row: int) -> Placement:
        """Where the planes of a case lie in its grid."""
        return self.problem.recipe.place(self.grid(row))

    def count(self, row: int) -> int:
        """n of a case."""
        return len(self.placement(row))

    def planes(self, row: int, which: Which = EVERY) -> tuple[np.ndarray, np.ndarray]:
        """(uint8 (n, M, C, H, W), present (M,) bool): all planes, or those at `which`; zeros where missing.

        Grey is repeated where other images have colours, colour becomes grey where those to learn from have none.
        Raises DataError if an image cannot be read or brought into the grid of the reference.
        """
        images = self.cohort.cases[row].images
        present = np.asarray([name in images for name in self.modalities])
        found = {name: _coloured(self._opened(int(row), name)[which], self.colours) for name in images}
        if len(self.modalities) == 1 and present[0]:
            return found[self.modalities[0]][:, None], present
        shape = next(iter(found.values())).shape
        planes = np.zeros((shape[0], len(self.modalities), *shape[1:]), dtype=np.uint8)
        for place, name in enumerate(self.modalities):
            if name in found:
                planes[:, place] = found[name]
        return planes, present

    def mask_planes(self, row: int, which: Which = EVERY) -> np.ndarray:
        """uint8 (n, H, W) class of every pixel (0 … K) of the same planes. Black around the plane is background."""
        return self._opened(int(row), None)[which]

    def pixels(self, row: int) -> np.ndarray:
        """(n, K + 1) int64: how many pixels of each plane have each class, to choose planes with foreground."""
        masks = self.mask_planes(row)
        step = max(1, _COUNTED // masks[0].size)
        return np.concatenate(
            [_counts(masks[start : start + step], self.classes) for start in range(0, len(masks), step)]
        )

    def answer(self, row: int, scores: np.ndarray) -> Volume:
        """The label map on `grid(row)`, values of `labels` and 0, of scores float (n, K + 1, h, w) over the canvas.

        h × w may be lower than H × W. See `Placement.restore` for how scores become voxels.
        """
        if scores.ndim != 4 or scores.shape[1] != self.classes:
            raise DataError(f"Scores of the shape {scores.shape} do not have {self.classes} classes.")
        found = self.placement(row).restore(scores)
        values = np.asarray([0, *self.labels])
        values = values.astype(np.uint8 if values.max() <= np.iinfo(np.uint8).max else np.int32)
        return Volume(values[found.array], found.affine)

    def _grid(self, row: int) -> Volume:
        case = self.cohort.cases[row]
        return self.cache.grid(case.images[self._look.reference(case, row)])

    def _open(self, row: int, modality: str | None) -> np.ndarray:
        """The planes of one modality of a case, or of its mask."""
        if (file := self._files.get((row, modality))) is not None:
            with suppress(OSError, ValueError, EOFError):  # the cache was cleared: made again below
                return mapped(file)
        planes = self._drawn(self.cohort.cases[row], self.grid(row), modality)
        if isinstance(planes, np.memmap) and planes.filename is not None:
            self._files[row, modality] = Path(planes.filename)
        return planes

    def _drawn(self, case: Case, grid: Volume, modality: str | None) -> np.ndarray:
        if modality is not None:
            return self.cache.planes(case.images[modality], grid)
        if case.mask is None:
            raise DataError(f"Case {case.case} has no mask that may be seen here.")
        return self.cache.mask_planes(case.mask, grid, list(self.labels))


def _coloured(planes: np.ndarray, colours: int) -> np.ndarray:
    """(n, C, H, W) of (n, c, H, W)."""
    if planes.shape[1] == colours:
        return planes
    if colours == 1:
        return np.rint(planes.mean(axis=1, keepdims=True)).astype(np.uint8)
    return np.broadcast_to(planes, (len(planes), colours, *planes.shape[2:]))


def _counts(masks: np.ndarray, classes: int) -> np.ndarray:
    n = len(masks)
    joint = masks.reshape(n, -1) + classes * np.arange(n)[:, None]
    return np.bincount(joint.ravel(), minlength=n * classes).reshape(n, classes)
