"""Near-duplicates in a cohort: pictures of two patients that are one picture, found by hashes, confirmed by pixels."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from radapt.cohorts.cohort import Case, Cohort
from radapt.errors import DataError
from radapt.images import Volume
from radapt.images.duplicates.hashes import hashed_planes
from radapt.images.duplicates.registration import Compared, Match, compare
from radapt.images.duplicates.search import Candidates, similar
from radapt.locations import Location

MOST_NEEDED = 3
"""Planes of two stacks that have to match."""

_PATIENCE = 200  # comparisons in a row without a match after which less similar pairs are left
_FIRST_TRIES = 4  # planes of two stacks, most similar first, of which one has to match
_READERS = 2
_OPEN = 8  # images that are kept decoded


@dataclass(frozen=True, eq=False)
class HashedImage:
    """An image of a case, and its perceptual hashes, int8 (n, SIZE)."""

    case: Case
    modality: str
    location: Location
    hashes: np.ndarray


@dataclass(frozen=True, eq=False)
class NearDuplicate:
    """Two cases of different patients that show one picture.

    `match` is that of the best planes: the correlation, and what turns the second into the first. `n_planes` planes of
    the two images match.
    """

    first: Case
    second: Case
    modality: str
    match: Match
    n_planes: int

    @property
    def across(self) -> bool:
        """Whether the two cases are in different splits or folds."""
        return (self.first.split, self.first.fold) != (self.second.split, self.second.fold)


def near_duplicates(
    cohort: Cohort,
    images: Sequence[HashedImage],
    read: Callable[[Location, str], Volume],
    *,
    across: bool,
    skip: Callable[[HashedImage, HashedImage], bool] = lambda *_: False,
) -> list[NearDuplicate]:
    """The near-duplicates of different patients among `images` of a `cohort`, in the order of the table.

    With `across` only those in different splits or folds are searched for. `read` decodes an image. Pairs that `skip`
    names are known already. Two stacks count when several of their planes match in order. An image that cannot be
    decoded has no duplicates.
    """
    if not images:
        return []
    sizes = [len(image.hashes) for image in images]
    owner = np.repeat(np.arange(len(images)), sizes)
    patients = _codes([image.case.patient for image in images])[owner]
    places = _codes([(image.case.split, image.case.fold) for image in images])[owner] if across else None
    candidates = similar(np.concatenate([image.hashes for image in images]), patients, places)
    plane = np.arange(len(owner)) - np.repeat(np.cumsum([0, *sizes[:-1]]), sizes)
    confirm = _Confirmation(images, read)
    best: dict[tuple[str, str], NearDuplicate] = {}
    for first, second, match, n_planes in confirm.matches(_by_image(candidates, owner, plane), skip):
        key = first.case.case, second.case.case
        if key not in best or best[key].match.correlation < match.correlation:
            best[key] = NearDuplicate(first.case, second.case, first.modality, match, n_planes)
    return sorted(best.values(), key=lambda pair: (pair.first.row, pair.second.row))


def _codes(values: Sequence[object]) -> np.ndarray:
    numbers: dict[object, int] = {}
    return np.asarray([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


PlanePairs = list[tuple[int, int, int]]
"""Planes of two images that look alike, and the class of their turn, most similar first."""


def _by_image(candidates: Candidates, owner: np.ndarray, plane: np.ndarray) -> dict[tuple[int, int], PlanePairs]:
    """The candidates of each pair of images, the smaller number first; the most similar pairs of images first."""
    pairs: dict[tuple[int, int], PlanePairs] = defaultdict(list)
    for first, second, turn in zip(candidates.first, candidates.second, candidates.turn, strict=True):
        if owner[first] > owner[second]:
            # The transposed turns are each other's inverse, and the class holds both.
            first, second = second, first
        pairs[int(owner[first]), int(owner[second])].append((int(plane[first]), int(plane[second]), int(turn)))
    return pairs


_TURNS_OF = {0: (0, 3), 1: (1, 2), 2: (5, 6), 3: (4, 7)}
"""The turns that each class of a hash leaves open: with and without half a turn."""


class _Confirmation:
    """Compares the pixels of candidates; the images used last stay decoded."""

    def __init__(self, images: Sequence[HashedImage], read: Callable[[Location, str], Volume]) -> None:
        self._images, self._read = images, read
        self._planes = lru_cache(maxsize=_OPEN)(self._decoded)
        self._compared = lru_cache(maxsize=4 * _OPEN)(lambda image, plane: Compared(self._planes(image)[plane]))

    def matches(
        self, pairs: dict[tuple[int, int], PlanePairs], skip: Callable[[HashedImage, HashedImage], bool]
    ) -> Iterator[tuple[HashedImage, HashedImage, Match, int]]:
        items = [item for item in pairs.items() if not skip(*(self._images[at] for at in item[0]))]
        patience, idle = max(_PATIENCE, len(self._images) // 10), 0
        with ThreadPoolExecutor(_READERS, "radapt-compare") as pool:
            for start in range(0, len(items), 8 * _READERS):
                chunk = items[start : start + 8 * _READERS]
                for (images, _), found in zip(chunk, pool.map(lambda item: self._match(*item), chunk), strict=True):
                    idle = 0 if found else idle + 1
                    if found:
                        yield self._images[images[0]], self._images[images[1]], *found
                if idle > patience:
                    return

    def _match(self, images: tuple[int, int], planes: PlanePairs) -> tuple[Match, int] | None:
        """The best match and the number of matching planes in order; None with too few."""
        shown = [int((self._images[image].hashes[:, 0] > 0).sum()) for image in images]
        needed = min(MOST_NEEDED, *shown)
        if len({first for first, _, _ in planes}) < needed:
            return None
        found: dict[int, tuple[int, Match]] = {}
        try:
            for tried, (first, second, turn) in enumerate(planes[: 4 * needed]):
                if tried == _FIRST_TRIES and not found:
                    return None  # the likeliest planes come first, and comparing them is what takes the time
                if first in found:
                    continue
                pair = self._compared(images[0], first), self._compared(images[1], second)
                match = compare(*pair, turns=_TURNS_OF[turn])
                if match.is_same_of_stacks if needed > 1 else match.is_same:
                    found[first] = second, match
                if (in_order := _in_order([found[first][0] for first in sorted(found)])) >= needed:
                    return max((match for _, match in found.values()), key=lambda match: match.correlation), in_order
        except DataError:
            return None
        return None

    def _decoded(self, image: int) -> np.ndarray:
        return hashed_planes(self._read(self._images[image].location, self._images[image].modality))


def _in_order(planes: Sequence[int]) -> int:
    """The length of the longest rising or falling run that can be picked from the planes in order."""
    best = 0
    for sign in (1, -1):
        lengths: list[int] = []
        for at, plane in enumerate(planes):
            lengths.append(
                1 + max((lengths[before] for before in range(at) if sign * (plane - planes[before]) > 0), default=0)
            )
        best = max([best, *lengths])
    return best
