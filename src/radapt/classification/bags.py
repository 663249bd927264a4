"""Cases as bags of slices: what is read for training, some slices of every image, and for answering, all of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError
from radapt.features.batches import SliceSource, read_ahead
from radapt.images import Recipe, SliceCache
from radapt.progress import ProgressMaker

_LISTED = 10  # images named one by one in a message
READERS = 2
"""Threads that read ahead: planes are decoded once, and then mapped."""


@dataclass(frozen=True)
class Bag:
    """Slices of some cases. S slices of P images of B cases; images stand in the order of cases, then modalities.

    `pixels` uint8 (S, C, H, W); `image` int64 (S,) whose slice it is, `position` float32 (S,) where in its image it
    lies, from 0 to 1 (0.5 of an image with one slice); `case` and `modality` int64 (P,). `origin` int64 (S, 2) is the
    case and the modality of each slice once more, as an array that stays on the host.
    """

    pixels: Tensor
    image: Tensor
    position: Tensor
    case: Tensor
    modality: Tensor
    origin: np.ndarray


@dataclass(frozen=True, eq=False)
class CaseImages:
    """The images of cases, decoded once: planes uint8 (n, C, H, W) of `modalities`, all with the same C.

    C is 1 or 3. Where it is 3, grey is repeated; where it is 1, colour becomes the mean of its channels. Modalities
    of the cohort that are not listed are left out.
    """

    cohort: Cohort
    cache: SliceCache
    recipe: Recipe
    modalities: tuple[str, ...]
    channels: int = 1

    def present(self, row: int) -> list[int]:
        """Places in `modalities` of those that a case has."""
        images = self.cohort.cases[row].images
        return [place for place, name in enumerate(self.modalities) if name in images]

    def planes(self, row: int, modality: int) -> np.ndarray:
        """Raises DataError, naming the case, if the image cannot be read."""
        case, name = self.cohort.cases[row], self.modalities[modality]
        try:
            planes = self.cache.planes(case.images[name], self.recipe, name)
        except DataError as error:
            raise DataError(f"Case {case.case}, {name}: {error}") from error
        if planes.shape[1] == self.channels:
            return planes
        if self.channels == 1:
            return np.rint(planes.mean(axis=1, keepdims=True)).astype(np.uint8)
        return np.repeat(planes, self.channels, axis=1)

    def listed(self, rows: Iterable[int]) -> list[SliceSource]:
        """The images of the cases at `rows`, in the order of cases, then modalities."""
        found = []
        for row in rows:
            case = self.cohort.cases[row]
            names = [self.modalities[place] for place in self.present(row)]
            found += [SliceSource(f"{row}/{name}", case.case, name, case.images[name]) for name in names]
        return found


def ready(images: CaseImages, rows: np.ndarray, show: ProgressMaker) -> tuple[int, list[str]]:
    """Decode everything that training reads, and say how many channels it has and what names its bytes.

    Bad images are found before any training. Raises DataError that lists them by case, and for a case without any.
    """
    empty = [images.cohort.cases[row].case for row in rows if not images.cohort.cases[row].images]
    if empty:
        raise DataError(f"Case {empty[0]} has no image, so nothing can be learned from it. Remove its row.")
    failures: list[str] = []
    channels, listed = 1, images.listed(rows)

    def planes(image: SliceSource) -> np.ndarray:
        return images.cache.planes(image.location, images.recipe, image.modality)

    def failed(image: SliceSource, error: DataError) -> None:
        failures.append(f"  case {image.case}, {image.modality}: {error}")

    with show(len(listed), f"Reading {images.cohort.name}", "images") as advance:
        for _, found in read_ahead(listed, planes, failed, READERS):
            channels = max(channels, found.shape[1])
            advance(1)
    if failures:
        raise DataError(_message(failures, len(listed), images.cohort.name))
    return channels, [images.cache.key(image.location, images.recipe) for image in listed]


def _message(failures: Sequence[str], total: int, name: str) -> str:
    lines = list(failures[:_LISTED])
    if len(failures) > _LISTED:
        lines.append(f"  and {len(failures) - _LISTED} more")
    return (
        f"{len(failures)} of the {total} images that {name} trains and chooses on cannot be used. Correct these, or "
        "leave their rows out of the table, and run again:\n" + "\n".join(lines)
    )


def spread(total: int, most: int | None, rng: np.random.Generator) -> np.ndarray:
    """Indices of at most `most` of `total` slices, rising and spread over the image, each as likely as any other.

    They are `most` steps of total / most from a start drawn anywhere, past the end going on at the beginning, and each
    moves on by up to a step less one slice: so two are never the same. With None, or where there are no more, all.
    """
    if most is None or total <= most:
        return np.arange(total)
    step = total / most
    places = rng.random() * total + np.arange(most) * step + rng.random(most) * (step - 1)
    return np.unique((places % total).astype(np.int64))


def draw_bag(images: CaseImages, rows: Sequence[int] | np.ndarray, seeds: np.ndarray, most: int | None) -> Bag:
    """A bag of at most `most` slices of each image of the cases at `rows`; a case's draw follows from its seed."""
    pieces: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    owners: list[tuple[int, int]] = []
    for place, (row, seed) in enumerate(zip(rows, seeds, strict=True)):
        rng = np.random.default_rng(int(seed))
        for modality in images.present(int(row)):
            planes = images.planes(int(row), modality)
            kept = spread(len(planes), most, rng)
            pieces.append(planes[kept])
            positions.append(place_in_image(kept, len(planes)))
            owners.append((place, modality))
    images_of = np.asarray(owners, dtype=np.int64)
    owner = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    return Bag(
        torch.from_numpy(np.concatenate(pieces)),
        torch.from_numpy(owner),
        torch.from_numpy(np.concatenate(positions)),
        torch.from_numpy(images_of[:, 0].copy()),
        torch.from_numpy(images_of[:, 1].copy()),
        images_of[owner],
    )


def place_in_image(kept: Any, total: int) -> np.ndarray:
    """float32: where slices lie in an image of `total`, from 0 to 1."""
    if total == 1:
        return np.full(len(kept), 0.5, np.float32)
    return np.asarray(kept, np.float32) / np.float32(total - 1)
