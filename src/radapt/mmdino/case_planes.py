"""The images of one case on the planes of its reference, and what is known of each plane before it is looked at."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, reduce
from pathlib import Path
from typing import Any

import numpy as np

from radapt.cohorts.cohort import Case
from radapt.digests import digest
from radapt.errors import DataError
from radapt.images import AlignedSliceCache, Recipe, SliceCache, Volume, resampled
from radapt.images.arrays import mapped
from radapt.images.masks import named_values
from radapt.locations import Location
from radapt.mmdino.foreground import Extents, dark_levels, extents, foreground

VERSION = 1
"""Raise it when the same planes or masks give other extents."""

ENOUGH = 0.1
"""A plane shows enough from this share of the area in the plane of its axis that shows most: the rest are tips of the
head or of a tumour. Judged, not tuned."""

_OPEN = 512  # files of planes kept open, below the usual limit of 1024 open files


@dataclass(frozen=True, eq=False)
class Look:
    """The n planes of a case: foreground of each, and what a mask marks, both on the grid of the reference.

    `shown` and `marked` are the indices of planes with enough of it, one array per axis that has any. Where a case
    shows no foreground at all, every plane counts as shown, and its box is the whole plane.
    """

    boxes: np.ndarray  # (n, 4) int16 of the foreground: y0, x0, y1, x1
    shown: tuple[np.ndarray, ...]
    lesions: Extents | None = None
    marked: tuple[np.ndarray, ...] = ()


class CasePlanes:
    """Planes of cases by a recipe, all images of a case on the grid of its first; decoded once, kept in the cache."""

    def __init__(self, cache: SliceCache, recipe: Recipe) -> None:
        self.cache, self.recipe = cache, recipe
        self.matched = AlignedSliceCache(cache, recipe)
        self._files: dict[tuple[Any, ...], Path] = {}
        self._opened = lru_cache(_OPEN)(self._open)

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which opens files anew."""
        return {"cache": self.cache, "recipe": self.recipe}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def planes(self, case: Case, name: str, reference: str) -> np.ndarray:
        """uint8 (n, C, H, W) of one image on the grid of another. Raises DataError naming the case."""
        return self._opened(case.images[name], case.images[reference], case.case)

    def look(self, case: Case, names: Sequence[str], masked: bool) -> Look:
        """What the planes of a case show in its images of `names`, the first of which is the reference.

        The mask is looked at only if `masked`. Raises DataError naming the case.
        """
        with naming(case.case):
            grid = self.matched.grid(case.images[names[0]])
            seen = reduce(Extents.__or__, (self._foreground(case, name, names[0], grid) for name in names))
            axes = self._axes(grid)
            if masked and case.mask is not None:
                lesions = self._lesions(case.mask, grid)
                return Look(*self._shown(seen, axes), lesions, _enough(lesions.area, axes))
        return Look(*self._shown(seen, axes))

    def marks(self, case: Case, reference: str, values: Sequence[int]) -> np.ndarray:
        """uint8 (n, H, W): the mask of a case on the grid of an image of it, k for the k-th of `values`, 0 elsewhere.

        Without `values`, 1 wherever the mask marks anything. Raises DataError naming the case, and ValueError for a
        case without a mask.
        """
        if case.mask is None:
            raise ValueError(f"Case {case.case} has no mask.")
        mask, image = case.mask, case.images[reference]

        def kept() -> np.ndarray:
            grid = self.matched.grid(image)

            def draw() -> np.ndarray:
                placed = self._placed(mask, grid, values)
                return np.where(placed > 0, np.searchsorted(values, placed) + 1 if len(values) else 1, 0).astype(
                    np.uint8
                )

            key = self._key("marks", mask, grid, [int(value) for value in values])
            return self.cache.array("masks", key, draw, lambda kept: kept.dtype == np.uint8 and kept.ndim == 3)

        with naming(case.case):
            return self._again((mask, image, *values), kept)

    def _shown(self, seen: Extents, axes: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        whole = np.asarray([0, 0, *self.recipe.size], seen.boxes.dtype)
        boxes = np.where(seen.area[:, None] > 0, seen.boxes, whole)
        return boxes, _enough(seen.area, axes) or _enough(np.ones_like(seen.area), axes)

    def _axes(self, grid: Volume) -> np.ndarray:
        """(n,) the number of the stack that each plane belongs to."""
        stacks = self.recipe.place(grid).stacks
        return np.repeat(np.arange(len(stacks)), [len(stack.kept) for stack in stacks])

    def _foreground(self, case: Case, name: str, reference: str, grid: Volume) -> Extents:
        def measure() -> np.ndarray:
            planes = self.planes(case, name, reference)
            return foreground(planes, dark_levels(self.recipe, planes.shape[1])).table

        return self._kept("foreground", case.images[name], grid, measure)

    def _lesions(self, mask: Location, grid: Volume) -> Extents:
        return self._kept("lesions", mask, grid, lambda: extents(self._placed(mask, grid, ()) > 0).table)

    def _placed(self, mask: Location, grid: Volume, values: Sequence[int]) -> np.ndarray:
        """(n, H, W) a mask on the planes of a grid, nearest voxel. Without `values` any whole number is a label."""
        marked = named_values(self.cache.read(mask), values, mask)
        try:
            return self.recipe.place(grid).masks(resampled(marked, grid, nearest=True))
        except DataError as error:
            raise DataError(f"Mask {mask} does not fit the images: {error}") from error

    def _kept(self, what: str, location: Location, grid: Volume, measure: Callable[[], np.ndarray]) -> Extents:
        return Extents.from_table(self.cache.array("extents", self._key(what, location, grid), measure, _is_table))

    def _key(self, what: str, location: Location, grid: Volume, *more: Any) -> str:
        where = {"shape": [int(size) for size in grid.array.shape[:3]], "affine": grid.affine.tolist()}
        return digest([what, VERSION, self.recipe.digest, self.cache.bytes_digest(location), where, *more])

    def _open(self, image: Location, reference: Location, case: str) -> np.ndarray:
        with naming(case):
            return self._again((image, reference), lambda: self.matched.planes(image, self.matched.grid(reference)))

    def _again(self, key: tuple[Any, ...], make: Callable[[], np.ndarray]) -> np.ndarray:
        """What `make` gives, opened where it was found before: that needs no digest and no geometry."""
        if (file := self._files.get(key)) is not None:
            with suppress(OSError, ValueError, EOFError):  # the cache was cleared: made again below
                return mapped(file)
        made = make()
        if isinstance(made, np.memmap) and made.filename is not None:
            self._files[key] = Path(made.filename)
        return made


@contextmanager
def naming(case: str) -> Iterator[None]:
    """Say of which case a DataError is."""
    try:
        yield
    except DataError as error:
        if str(error).startswith(f"Case {case}: "):
            raise
        raise DataError(f"Case {case}: {error}") from error


def _enough(area: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, ...]:
    """Per axis with any: the planes with at least a share `ENOUGH` of the largest area of their axis."""
    most = np.zeros(int(axes.max()) + 1, area.dtype)
    np.maximum.at(most, axes, area)
    chosen = (area > 0) & (area >= ENOUGH * most[axes])
    found = (np.flatnonzero(chosen & (axes == axis)) for axis in range(len(most)))
    return tuple(planes for planes in found if len(planes))


def _is_table(kept: np.ndarray) -> bool:
    return bool(kept.dtype == np.int32 and kept.ndim == 2 and kept.shape[1] == 5 and len(kept))
