"""Planes of images and masks by location: memory-mapped, opened once, and made again where the cache was cleared."""

from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from radapt.cases.recent import Recent
from radapt.images import AlignedSliceCache, Recipe, SliceCache, Volume
from radapt.locations import Location
from radapt.sealed import mapped

_GRIDS = 4096  # grids kept in memory, a kilobyte each


class PlaneFiles:
    """The planes of a recipe by location, each image or mask on its own grid or on that of another image.

    Arrays are memory-mapped and read-only. What was opened once is opened again without a digest and without geometry;
    what is gone from the cache is made again. The last `open_files` stay open: several objects like this one have to
    stay below the usual limit of 1024 open files. It may be pickled for other processes, which open files anew. Raises
    DataError as `AlignedSliceCache` does.
    """

    def __init__(self, cache: SliceCache, recipe: Recipe, open_files: int = 0) -> None:
        self.cache, self.recipe, self.open_files = cache, recipe, open_files
        self.aligned = AlignedSliceCache(cache, recipe)
        self._paths: dict[Hashable, Path] = {}
        self._open, self._grids = Recent[np.ndarray](open_files), Recent[Volume](_GRIDS)

    def __reduce__(self) -> tuple[type["PlaneFiles"], tuple[Any, ...]]:
        return PlaneFiles, (self.cache, self.recipe, self.open_files)

    def grid(self, image: Location) -> Volume:
        """Where the voxels of an image lie, as stored: a volume whose voxels are all 0 and take no memory."""
        return self._grids.get(image, lambda: self.aligned.grid(image))

    def planes(self, image: Location, reference: Location | None = None) -> np.ndarray:
        """uint8 (n, c, H, W) of an image, resampled to the grid of `reference` if one is given."""

        def make() -> np.ndarray:
            if reference is None:
                return self.cache.planes(image, self.recipe)
            return self.aligned.planes(image, self.grid(reference))

        return self._opened((image, reference), make)

    def mask_planes(
        self, mask: Location, reference: Location, values: Sequence[int], *, resample: bool = False
    ) -> np.ndarray:
        """uint8 (n, H, W) of a mask on the grid of the image `reference`, see `AlignedSliceCache.mask_planes`."""

        def make() -> np.ndarray:
            return self.aligned.mask_planes(mask, self.grid(reference), values, resample=resample)

        return self._opened((mask, reference, tuple(values), resample), make)

    def forget(self) -> None:
        """Close every file; the next call opens it again."""
        self._open.clear()

    def _opened(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        return self._open.get(key, lambda: self._again(key, make))

    def _again(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        """What `make` gives, opened where it was found before."""
        if (path := self._paths.get(key)) is not None:
            with suppress(OSError, ValueError, EOFError):  # the cache was cleared: made again below
                return mapped(path)
        made = make()
        if isinstance(made, np.memmap) and made.filename is not None:
            self._paths[key] = Path(made.filename)
        return made
