"""Images and masks of one case on the same planes, kept in the slice cache."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radapt.digests import digest
from radapt.errors import DataError
from radapt.images.masks import checked_mask, named_values, read_labels
from radapt.images.plausibility import same_grid
from radapt.images.recipe import VERSION as RECIPE_VERSION
from radapt.images.recipe import Recipe
from radapt.images.resample import resampled
from radapt.images.slice_cache import SliceCache, fits_recipe
from radapt.images.volume import Volume
from radapt.locations import Location

VERSION = 1
"""Raise it when the same bytes give other planes of masks, or of images in another's grid."""


@dataclass(frozen=True, eq=False)
class MaskFacts:
    """The grid of a mask as stored, and how many voxels have each value but 0."""

    grid: Volume
    voxels: Mapping[int, int]


class AlignedSliceCache:
    """The planes of a recipe for all images of a case and its mask, in one grid. Decoded once, kept by content.

    A grid is a volume without voxels (`Volume.grid`). Planes are whole whatever the `look` of the recipe, so that they
    stay aligned.
    """

    def __init__(self, slices: SliceCache, recipe: Recipe) -> None:
        self.slices, self.recipe = slices, recipe.whole

    def grid(self, location: Location) -> Volume:
        """Where the voxels of an image lie, as stored. Raises DataError if it cannot be read."""

        def look() -> dict[str, Any]:
            volume = self.slices.read(location)
            self.slices.keep(location, self.recipe, volume)  # its planes are wanted next
            return _grid_facts(volume)

        look_once = self.slices.unchanged(location, look)
        return _grid_of(self.slices.facts("grids", self._key("grid", location), look_once))

    def _labels(self, location: Location) -> Volume:
        return read_labels(location, self.slices.folder / "arrays")

    def mask_facts(self, location: Location) -> MaskFacts:
        """What a mask holds. Raises DataError if it cannot be read or holds other than whole numbers."""

        def look() -> dict[str, Any]:
            mask = named_values(self._labels(location), (), location)
            values, voxels = np.unique(mask.array[mask.array > 0], return_counts=True)
            counts = {str(value): int(count) for value, count in zip(values, voxels, strict=True)}
            return {**_grid_facts(mask), "voxels": counts}

        count = self.slices.unchanged(location, look)
        facts = self.slices.facts("masks", self._key("labels", location), count)
        return MaskFacts(_grid_of(facts), {int(value): int(count) for value, count in facts["voxels"].items()})

    def planes(self, location: Location, like: Volume) -> np.ndarray:
        """uint8 (n, C, H, W) planes of an image in the grid `like`, resampled if its own grid is another.

        Raises DataError as `resampled` does.
        """
        own = self.grid(location)
        if same_grid(like, own) is None and _shown_alike(like, own):
            return self.slices.planes(location, self.recipe)
        make = self.slices.unchanged(location, lambda: self.recipe.apply(resampled(self.slices.read(location), like)))
        return self.slices.array("matched", self._key("planes", location, like), make, self._fits)

    def mask_planes(
        self, location: Location, like: Volume, values: Sequence[int], *, resample: bool = False
    ) -> np.ndarray:
        """uint8 (n, H, W) planes of a mask: 0 for background, k for the k-th of `values`, at most 255.

        The mask has to lie in the grid `like`, unless it is to be resampled (nearest voxel). Without `values` every
        marked voxel is 1. Raises DataError as `read_mask` does, or as `placed_mask` does.
        """

        def draw() -> np.ndarray:
            if resample:
                planes = self.placed_mask(location, like, values)
            else:
                planes = self.recipe.place(like).masks(checked_mask(self._labels(location), like, values, location))
            return np.where(planes > 0, np.searchsorted(values, planes) + 1, 0).astype(np.uint8)

        def fits(kept: np.ndarray) -> bool:
            return kept.dtype == np.uint8 and kept.ndim == 3 and kept.shape[1:] == self.recipe.size

        make = self.slices.unchanged(location, draw)
        what = "resampled label planes" if resample else "label planes"
        key = self._key(what, location, like, [int(value) for value in values])
        return self.slices.array("masks", key, make, fits)

    def placed_mask(self, location: Location, like: Volume, values: Sequence[int] = ()) -> np.ndarray:
        """(n, H, W) stored values of a mask on the planes of the grid `like`, nearest voxel: decoded at every call.

        Raises DataError if the mask cannot be read, holds a value that is not one of `values` (without any, other than
        whole numbers from 0), or does not overlap the grid.
        """
        named = named_values(self._labels(location), values, location)
        try:
            return self.recipe.place(like).masks(resampled(named, like, nearest=True))
        except DataError as error:
            raise DataError(f"Mask {location} does not fit the images: {error}") from error

    def _fits(self, kept: np.ndarray) -> bool:
        return fits_recipe(kept, self.recipe)

    def _key(self, what: str, location: Location, like: Volume | None = None, more: Any = None) -> str:
        facts = [what, VERSION, RECIPE_VERSION, self.slices.bytes_digest(location), more]
        return digest(facts if like is None else [*facts, _grid_facts(like), self.recipe.digest])


def _grid_facts(volume: Volume) -> dict[str, Any]:
    return {"shape": [int(size) for size in volume.array.shape[:3]], "affine": volume.affine.tolist()}


def _grid_of(facts: Mapping[str, Any]) -> Volume:
    return Volume.blank(facts["shape"], np.asarray(facts["affine"]))


def _shown_alike(first: Volume, second: Volume) -> bool:
    """Whether both count the same directions as right, front and head, which rounding may decide at 45°."""
    turned = first.to_ras().affine[:3, :3] - second.to_ras().affine[:3, :3]
    return bool(np.abs(turned).max() < 0.1 * min(first.spacing_mm))
