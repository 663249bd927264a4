"""The decode-once cache: the planes of an image by a recipe, on disk, memory-mapped, shared by every study."""

from pathlib import Path

import numpy as np

from radapt.digests import ByteDigests, digest
from radapt.durable import atomic_path
from radapt.images.arrays import mapped
from radapt.images.readers import read
from radapt.images.reading import writing_cache
from radapt.images.recipe import Recipe
from radapt.locations import Location


class SliceCache:
    """Planes of images, decoded once and kept under `folder`.

    An entry is named by the digests of the image's bytes and of the recipe, so a changed file or recipe is another
    entry and two copies of a file share one. Entries are written beside their place and renamed: several processes may
    use one cache, a killed one leaves nothing behind that is read, and a damaged entry is decoded again. Raises
    UsageError if the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        with writing_cache(self.folder):
            self._digests = ByteDigests(self.folder)

    def key(self, location: Location, recipe: Recipe, modality: str | None = None) -> str:
        """32 hex digits that name the planes. The modality's name does not change them."""
        return digest([self._digests.of(location), recipe.digest])

    def planes(self, location: Location, recipe: Recipe, modality: str | None = None) -> np.ndarray:
        """The planes of the image at `location` by `recipe`, uint8 (n, C, H, W), memory-mapped and read-only.

        Raises DataError if the image cannot be read, and UsageError if the cache cannot be written.
        """
        entry = self._entry(self.key(location, recipe, modality))
        planes = _opened(entry, recipe)
        if planes is None:
            self._decode(location, recipe, modality, entry)
            planes = _opened(entry, recipe)
        return self._lost(entry) if planes is None else planes

    def _decode(self, location: Location, recipe: Recipe, modality: str | None, entry: Path) -> None:
        volume = read(location, modality, array_cache=self.folder / "arrays")
        planes = recipe.apply(volume)
        with writing_cache(self.folder), atomic_path(entry) as part, part.open("wb") as file:
            np.save(file, planes)

    def _entry(self, key: str) -> Path:
        return self.folder / "slices" / key[:2] / f"{key}.npy"

    def _lost(self, entry: Path) -> np.ndarray:
        with writing_cache(self.folder):
            raise OSError(f"{entry.name} was written but cannot be read back")


def _opened(entry: Path, recipe: Recipe) -> np.ndarray | None:
    """The entry, or None if it is absent, cut off, or not what the recipe makes."""
    try:
        planes = mapped(entry)
    except (OSError, ValueError, EOFError):
        return None
    fits = planes.dtype == np.uint8 and planes.ndim == 4 and planes.shape[1] in (1, 3)
    return planes if fits and planes.shape[2:] == recipe.size and len(planes) else None
