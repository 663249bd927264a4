"""The one reader of cases: which modalities a case has, its images as planes and voxels, and its mask."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from functools import cached_property
from typing import Literal

import numpy as np

from radapt.cases.channels import most_channels, stacked, with_channels
from radapt.cases.plane_files import PlaneFiles
from radapt.cohorts.cohort import Case, Cohort
from radapt.errors import DataError, UsageError, suggest
from radapt.images import Recipe, SliceCache, Volume, read_mask, resampled
from radapt.locations import Location

Grid = Literal["own", "reference"]
GRIDS = ("own", "reference")

OPEN_FILES = 256
"""Planes that a reader on reference grids keeps open, for single planes are read of many cases in turn. On own grids
whole images are read one after the other, and would only fill the memory."""

Which = np.ndarray | slice
EVERY = slice(None)


class CaseReader:
    """The images and masks of the cases of a cohort, by a recipe: decoded once, then memory-mapped and read-only.

    N cases (`row` counts them) with some of M `modalities` (`column` counts them), n planes of H × W pixels (the
    recipe's size), C channels: 1 grey, 3 colour, CT windows or neighbours. Other modalities of the cohort are ignored.

    `grid` says where the planes of an image lie: `own` on its own voxels, so that n differs between the images of a
    case; `reference` on those of the case's reference image, to which its other images are resampled. The reference is
    the modality that `references` names for a row, else the first of `modalities` that the case has.

    `channels` is the C of what `planes` and `stack` give; None leaves each image as stored, and a stack takes the most
    that any of its images has. A reader may be pickled for other processes, which open files anew.

    Raises UsageError for another grid; DataError, naming the case, if an image or mask cannot be read or does not lie
    where it should.
    """

    def __init__(
        self,
        cohort: Cohort,
        cache: SliceCache,
        recipe: Recipe,
        modalities: Sequence[str],
        *,
        grid: Grid,
        channels: int | None = None,
        references: Mapping[int, str] | None = None,
    ) -> None:
        if grid not in GRIDS:
            raise UsageError(f"There is no grid {grid!r}. {suggest(str(grid), GRIDS)}")
        self.cohort, self.modalities, self.grid = cohort, tuple(modalities), grid
        self.channels, self.references = channels, dict(references or {})
        self.files = PlaneFiles(cache, recipe, open_files=OPEN_FILES if grid == "reference" else 0)

    @property
    def cache(self) -> SliceCache:
        return self.files.cache

    @property
    def recipe(self) -> Recipe:
        return self.files.recipe

    def with_channels(self, channels: int) -> "CaseReader":
        """The same reader, over the same open files, with another C."""
        other = copy(self)
        other.channels = channels
        return other

    @cached_property
    def present(self) -> np.ndarray:
        """(N, M) bool: which modalities each case has."""
        rows = [[name in case.images for name in self.modalities] for case in self.cohort]
        return np.asarray(rows, dtype=bool).reshape(len(self.cohort), len(self.modalities))

    def case(self, row: int) -> Case:
        return self.cohort.cases[row]

    def columns(self, row: int, among: Collection[str] | None = None) -> list[int]:
        """The modalities a case has, rising; with `among`, only those of these names."""
        images = self.case(row).images
        return [
            column for column, name in enumerate(self.modalities) if name in images and (among is None or name in among)
        ]

    def location(self, row: int, column: int) -> Location:
        """Where the image of one modality of a case is stored."""
        return self.case(row).images[self.modalities[column]]

    def reference(self, row: int, among: Collection[str] | None = None) -> int:
        """The column of the reference image; with `among`, as if the case had no other modalities.

        Raises DataError for a case without any.
        """
        return self._reference(row, self.columns(row, among))

    def grid_of(self, row: int, among: Collection[str] | None = None) -> Volume:
        """The reference image's shape and affine as stored; its voxels are all 0 and take no memory."""
        with naming(self.case(row).case):
            return self.files.grid(self.location(row, self.reference(row, among)))

    def image(self, row: int, column: int, among: Collection[str] | None = None) -> np.ndarray:
        """uint8 (n, c, H, W): all planes of one image, with the channels it has."""
        reference = None if self.grid == "own" else self.location(row, self.reference(row, among))
        return self._image(row, column, reference)

    def planes(self, row: int, column: int) -> np.ndarray:
        """uint8 (n, C, H, W): all planes of one image."""
        planes = self.image(row, column)
        return planes if self.channels is None else with_channels(planes, self.channels)

    def stack(
        self, row: int, which: Which = EVERY, channels: int | None = None, among: Collection[str] | None = None
    ) -> np.ndarray:
        """uint8 (n, M, C, H, W): the planes at `which` of all modalities, 0 where one is missing.

        `channels` goes before those of the reader. With `among`, as if the case had no other modalities. Raises
        UsageError on own grids, where the planes of two images are not the same places.
        """
        if self.grid == "own":
            raise UsageError(
                "Planes of several images can only be stacked on one grid; give the reader grid='reference'."
            )
        columns = self.columns(row, among)
        reference = self.location(row, self._reference(row, columns))
        images = {column: self._image(row, column, reference)[which] for column in columns}
        wanted = channels or self.channels or most_channels(images.values())
        return stacked(images, len(self.modalities), wanted)

    def most_channels(self, rows: Sequence[int] | np.ndarray) -> int:
        """3 if any image of the cases at `rows` has three channels, else 1: opens one image after the other."""
        return most_channels(self.image(int(row), column) for row in rows for column in self.columns(int(row)))

    def reference_volume(self, row: int) -> Volume:
        """The reference image with its voxels, as stored: decoded at every call."""
        column = self.reference(row)
        with naming(self.case(row).case, self.modalities[column]):
            return self.cache.read(self.location(row, column), self.modalities[column])

    def volume(self, row: int, column: int) -> Volume:
        """An image with its voxels as stored, on its own grid or resampled to the reference: decoded at every call."""
        name = self.modalities[column]
        with naming(self.case(row).case, name):
            volume = self.cache.read(self.location(row, column), name)
            return volume if self.grid == "own" else resampled(volume, self.grid_of(row))

    def mask_planes(
        self, row: int, values: Sequence[int], *, resample: bool = False, among: Collection[str] | None = None
    ) -> np.ndarray:
        """uint8 (n, H, W) of a case's mask on the planes of its reference image: k for the k-th of `values`, else 0.

        Without `values` every marked pixel is 1. A mask has to lie in the grid of the reference, unless it is to be
        resampled. Black around the plane is 0.
        """
        mask = self._mask(row)
        with naming(self.case(row).case):
            reference = self.location(row, self.reference(row, among))
            return self.files.mask_planes(mask, reference, values, resample=resample)

    def mask_volume(self, row: int, values: Collection[int]) -> Volume:
        """A case's mask in the grid of its reference image, 0 and some of `values`: decoded at every call."""
        mask = self._mask(row)
        with naming(self.case(row).case):
            return read_mask(mask, self.grid_of(row), values, array_cache=self.cache.folder / "arrays")

    def _reference(self, row: int, columns: list[int]) -> int:
        """The reference among the `columns` that a case has."""
        if not columns:
            raise DataError(f"Case {self.case(row).case} has no image. Give it one, or remove its row.")
        name = self.references.get(row)
        column = columns[0] if name is None else self.modalities.index(name)
        return column if column in columns else columns[0]

    def _image(self, row: int, column: int, reference: Location | None) -> np.ndarray:
        with naming(self.case(row).case, self.modalities[column]):
            return self.files.planes(self.location(row, column), reference)

    def _mask(self, row: int) -> Location:
        case = self.case(row)
        if case.mask is None:
            raise DataError(f"Case {case.case} has no mask that may be seen here.")
        return case.mask


@contextmanager
def naming(case: str, modality: str | None = None) -> Iterator[None]:
    """Begin the message of a DataError with the case, and the modality if one is given."""
    try:
        yield
    except DataError as error:
        if str(error).startswith((f"Case {case}: ", f"Case {case}, ", f"Case {case} ")):
            raise
        where = f"Case {case}" if modality is None else f"Case {case}, {modality}"
        raise DataError(f"{where}: {error}") from error
