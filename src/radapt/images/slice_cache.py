"""The slice cache: planes of an image by a recipe, decoded once, on disk, memory-mapped, shared by all studies."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from radapt.digests import ByteDigests, digest
from radapt.durable import atomic_path, write_json
from radapt.images.arrays import mapped
from radapt.images.readers import read
from radapt.images.reading import writing_cache
from radapt.images.recipe import Recipe
from radapt.images.volume import Volume
from radapt.locations import Location


class SliceCache:
    """Planes of images, decoded once and kept under `folder`.

    An entry is named by the digests of the image's bytes and of the recipe: a changed file or recipe is another entry,
    and two copies of a file share one. Entries are written to a temporary file and renamed: several processes may share
    a cache, a killed process leaves no partial entry, and a damaged entry is decoded again. Raises UsageError if the
    folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        with writing_cache(self.folder):
            self._digests = ByteDigests(self.folder)

    def key(self, location: Location, recipe: Recipe, modality: str | None = None) -> str:
        """The key of the planes, 32 hex digits. It does not depend on the modality's name."""
        return digest([self._digests.of(location), recipe.digest])

    def planes(self, location: Location, recipe: Recipe, modality: str | None = None) -> np.ndarray:
        """The planes of the image at `location` by `recipe`, uint8 (n, C, H, W), memory-mapped and read-only.

        Raises DataError if the image cannot be read, and UsageError if the cache cannot be written.
        """
        return self._planes(location, recipe, lambda: self.read(location, modality))

    def read(self, location: Location, modality: str | None = None) -> Volume:
        """The image at `location`, decoded; arrays of archives are unpacked once, into the cache."""
        return read(location, modality, array_cache=self.folder / "arrays")

    def keep(self, location: Location, recipe: Recipe, volume: Volume) -> None:
        """Store the planes of a `volume` that was just read from `location`, unless they exist."""
        self._planes(location, recipe, lambda: volume)

    def _planes(self, location: Location, recipe: Recipe, volume: Callable[[], Volume]) -> np.ndarray:
        key = self.key(location, recipe)
        return self.array("slices", key, lambda: recipe.apply(volume()), lambda planes: fits_recipe(planes, recipe))

    def bytes_digest(self, location: Location) -> str:
        """The digest of the bytes at `location`, cached. Raises DataError if it does not exist."""
        return self._digests.of(location)

    def array(
        self, room: str, key: str, make: Callable[[], np.ndarray], fits: Callable[[np.ndarray], bool]
    ) -> np.ndarray:
        """The array of `make`, stored in the folder `room` under `key`, memory-mapped and read-only.

        A stored array that does not satisfy `fits`, or cannot be read, is made again.
        """
        entry = self.folder / room / key[:2] / f"{key}.npy"
        if (stored := _opened(entry, fits)) is None:
            made = make()
            with writing_cache(self.folder), atomic_path(entry) as part, part.open("wb") as file:
                np.save(file, made)
            stored = _opened(entry, fits)
        return self._lost(entry) if stored is None else stored

    def facts(self, room: str, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The JSON-like facts of `make`, stored in the folder `room` under `key`."""
        entry = self.folder / room / key[:2] / f"{key}.json"
        try:
            return dict(json.loads(entry.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            facts = make()
        with writing_cache(self.folder):
            write_json(entry, facts)
        return facts

    def _lost(self, entry: Path) -> np.ndarray:
        with writing_cache(self.folder):
            raise OSError(f"{entry.name} was written but cannot be read back")


def _opened(entry: Path, fits: Callable[[np.ndarray], bool]) -> np.ndarray | None:
    """The entry, or None if it is absent, truncated, or does not satisfy `fits`."""
    try:
        stored = mapped(entry)
    except (OSError, ValueError, EOFError):
        return None
    return stored if fits(stored) else None


def fits_recipe(planes: np.ndarray, recipe: Recipe) -> bool:
    """Whether the planes have the type and shape that the recipe makes."""
    fits = planes.dtype == np.uint8 and planes.ndim == 4 and planes.shape[1] in (1, 3)
    return bool(fits and planes.shape[2:] == recipe.size and len(planes))
