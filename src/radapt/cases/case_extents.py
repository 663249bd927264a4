"""What the planes of a case show: the foreground of each, what a mask marks, and which planes show enough of either."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from radapt.cases.reader import CaseReader, naming
from radapt.cases.recent import Recent
from radapt.digests import digest
from radapt.errors import UsageError
from radapt.images import Volume
from radapt.images.foreground import Extents, enough, extents, foreground, shown
from radapt.locations import Location

VERSION = 1
"""Raise it when the same planes or masks give other extents."""

_CASES = 8192  # cases whose boxes stay in memory, some kilobytes each


@dataclass(frozen=True, eq=False)
class CaseExtents:
    """The n planes of a case: the foreground of each, and what a mask marks, both on the grid of its reference image.

    `shown` and `marked` are the indices of planes with enough of it, one array per axis that has any. Where a case
    shows no foreground at all, every plane counts as shown, and its box is the whole plane. `lesions` is None where no
    mask was read.
    """

    boxes: np.ndarray  # (n, 4) int16 of the foreground: y0, x0, y1, x1
    shown: tuple[np.ndarray, ...]
    lesions: Extents | None = None
    marked: tuple[np.ndarray, ...] = ()


class ExtentReader:
    """The extents of the cases of a reader, measured once per image and mask and kept in the cache.

    On own grids ask for one modality at a time. It may be pickled for other processes.
    """

    def __init__(self, reader: CaseReader) -> None:
        self.reader = reader
        self._recent = Recent[CaseExtents](_CASES)

    def __reduce__(self) -> tuple[type["ExtentReader"], tuple[CaseReader]]:
        return ExtentReader, (self.reader,)

    def extents(self, row: int, among: Collection[str] | None = None, *, masked: bool = False) -> CaseExtents:
        """What the planes of a case show in all its modalities, or those `among` some; of its mask only if `masked`.

        A mask on another grid is resampled. A case without a mask has no lesions. Raises DataError, naming the case, if
        it has no such modality, or an image or mask cannot be read.
        """
        names = tuple(self.reader.modalities[column] for column in self.reader.columns(row, among))
        if self.reader.grid == "own" and len(names) > 1:
            raise UsageError(f"The planes of {', '.join(names)} lie on grids of their own; ask for one of them.")
        return self._recent.get((row, names, masked), lambda: self._measured(row, names, masked))

    def each(self, row: int, among: Collection[str] | None = None) -> list[CaseExtents]:
        """What the planes of a case show in each of its modalities, or those `among` some, on the grid of the
        reference among these. No mask is read. Raises DataError as `extents` does."""
        names = tuple(self.reader.modalities[column] for column in self.reader.columns(row, among))
        grid = self.reader.grid_of(row, names)
        with naming(self.reader.case(row).case):
            axes = self._axes(grid)
            seen = [self._foreground(row, column, names, grid) for column in self.reader.columns(row, names)]
            return [CaseExtents(*self._shown(extents, axes)) for extents in seen]

    def planes(self, row: int, among: Collection[str] | None = None) -> tuple[np.ndarray, ...]:
        """The indices of all planes of a case, one array per axis, on the grid of the reference `among` some."""
        axes = self._axes(self.reader.grid_of(row, among))
        return tuple(np.flatnonzero(axes == axis) for axis in np.unique(axes))

    def _measured(self, row: int, names: tuple[str, ...], masked: bool) -> CaseExtents:
        case, grid = self.reader.case(row), self.reader.grid_of(row, names)
        with naming(case.case):
            columns = self.reader.columns(row, names)
            seen = reduce(Extents.__or__, (self._foreground(row, column, names, grid) for column in columns))
            axes = self._axes(grid)
            if masked and case.mask is not None:
                lesions = self._lesions(case.mask, grid)
                return CaseExtents(*self._shown(seen, axes), lesions, enough(lesions.area, axes))
        return CaseExtents(*self._shown(seen, axes))

    def _shown(self, seen: Extents, axes: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        return shown(seen, axes, self.reader.recipe.size)

    def _axes(self, grid: Volume) -> np.ndarray:
        """(n,) the number of the stack that each plane belongs to."""
        return self.reader.recipe.place(grid).axes

    def _foreground(self, row: int, column: int, names: tuple[str, ...], grid: Volume) -> Extents:
        def measure() -> np.ndarray:
            planes = self.reader.image(row, column, names)
            return foreground(planes, self.reader.recipe.dark_levels(planes.shape[1])).table

        return self._kept("foreground", self.reader.location(row, column), grid, measure)

    def _lesions(self, mask: Location, grid: Volume) -> Extents:
        aligned = self.reader.files.aligned
        return self._kept("lesions", mask, grid, lambda: extents(aligned.placed_mask(mask, grid) > 0).table)

    def _kept(self, what: str, location: Location, grid: Volume, measure: Callable[[], np.ndarray]) -> Extents:
        cache = self.reader.cache
        where: dict[str, Any] = {
            "shape": [int(size) for size in grid.array.shape[:3]],
            "affine": grid.affine.tolist(),
        }
        make = cache.unchanged(location, measure)
        key = digest([what, VERSION, self.reader.recipe.digest, cache.bytes_digest(location), where])
        return Extents.from_table(cache.array("extents", key, make, _is_table))


def _is_table(kept: np.ndarray) -> bool:
    return bool(kept.dtype == np.int32 and kept.ndim == 2 and kept.shape[1] == 5 and len(kept))
