"""The slice cache: planes of an image by a recipe, decoded once, on disk, memory-mapped, shared by all studies."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from radapt.digests import ByteDigests, digest
from radapt.durable import plain, write_json
from radapt.errors import DataError
from radapt.images.duplicates.hashes import VERSION as HASH_VERSION
from radapt.images.duplicates.hashes import fits_hashes, plane_hashes
from radapt.images.readers import read
from radapt.images.reading import writing_cache
from radapt.images.recipe import Recipe
from radapt.images.volume import Volume
from radapt.locations import Location
from radapt.parsing.json import read_json
from radapt.sealed import content_digest, note_damage, open_sealed, write_sealed

Made = TypeVar("Made")


class SliceCache:
    """Planes of images, decoded once and kept under `folder`.

    An entry is named by the digests of the image's bytes and of the recipe: a changed file or recipe is another entry,
    and two copies of a file share one. Entries are written to a temporary file and renamed: several processes may share
    a cache, a killed process leaves no partial entry, and an entry whose bytes do not match its seal is decoded again,
    which the log notes. An image that changes while it is read is an error, not an entry of the wrong image. Raises
    UsageError if the folder cannot be written.
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

    def hashes(self, location: Location, modality: str | None = None) -> np.ndarray:
        """The perceptual hashes of an image, int8 (n, SIZE): stored when it was decoded, else it is decoded now.

        Raises DataError and UsageError as `planes` does.
        """
        make = self.unchanged(location, lambda: plane_hashes(self.read(location, modality)))
        return self._hashes(location, make)

    def _hashes(self, location: Location, make: Callable[[], np.ndarray]) -> np.ndarray:
        key = digest([self._digests.of(location), "hashes", HASH_VERSION])
        return self.array("hashes", key, make, fits_hashes)

    def _planes(self, location: Location, recipe: Recipe, volume: Callable[[], Volume]) -> np.ndarray:
        decoded: list[np.ndarray] = []

        def apply() -> np.ndarray:
            image = volume()
            decoded.append(plane_hashes(image))
            return recipe.apply(image)

        make = self.unchanged(location, apply)
        planes = self.array("slices", self.key(location, recipe), make, lambda planes: fits_recipe(planes, recipe))
        if decoded:
            self._hashes(location, lambda: decoded[0])
        return planes

    def planes_digest(self, location: Location, recipe: Recipe, modality: str | None = None) -> str:
        """32 hex digits of the planes, whatever the format of their image: from the seal of their entry, if there is
        one; else the image is decoded. Raises DataError as `planes` does.
        """
        key = self.key(location, recipe)
        entry = self.folder / "slices" / key[:2] / f"{key}.npy"
        if (found := content_digest(entry)) is None:
            self.planes(location, recipe, modality)
            found = content_digest(entry)
        return found or key

    def unchanged(self, location: Location, make: Callable[[], Made]) -> Callable[[], Made]:
        """`make`, which reads `location`, but raising DataError if the bytes there are others than now.

        Call it before the key of what is made is computed.
        """
        before = self.bytes_digest(location)

        def checked() -> Made:
            made = make()
            if self.bytes_digest(location) != before:
                raise changed_while_reading(location)
            return made

        return checked

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
            with writing_cache(self.folder):
                write_sealed(entry, made)
            stored = _opened(entry, fits)
        return self._lost(entry) if stored is None else stored

    def facts(self, room: str, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The JSON-like facts of `make`, stored in the folder `room` under `key`; made again if they are damaged."""
        entry = self.folder / room / key[:2] / f"{key}.json"
        if (stored := _stored_facts(entry, key)) is not None:
            return stored
        facts = make()
        with writing_cache(self.folder):
            write_json(entry, {"facts": facts, "digest": digest([key, plain(facts)])})
        return facts

    def _lost(self, entry: Path) -> np.ndarray:
        with writing_cache(self.folder):
            raise OSError(f"{entry.name} was written but cannot be read back")


def _opened(entry: Path, fits: Callable[[np.ndarray], bool]) -> np.ndarray | None:
    """The entry, or None if it is absent, damaged, or does not satisfy `fits`."""
    stored = open_sealed(entry)
    return stored if stored is not None and fits(stored) else None


def _stored_facts(entry: Path, key: str) -> dict[str, Any] | None:
    """The facts in an entry, or None if it is absent or damaged."""
    try:
        stored = read_json(entry)
        if stored["digest"] == digest([key, stored["facts"]]):
            return dict(stored["facts"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        pass
    note_damage(entry)
    return None


def changed_while_reading(what: object) -> DataError:
    """The error for an image that is another one than when the study started."""
    return DataError(
        f"{what} changed while radapt was at work, so its numbers would belong to two images. "
        "Run the same command again when nothing writes to it any more."
    )


def fits_recipe(planes: np.ndarray, recipe: Recipe) -> bool:
    """Whether the planes have the type and shape that the recipe makes."""
    fits = planes.dtype == np.uint8 and planes.ndim == 4 and planes.shape[1] in (1, 3)
    return bool(fits and planes.shape[2:] == recipe.size and len(planes))
