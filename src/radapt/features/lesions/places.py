"""Where in the planes of a case a lesion lies: which planes to prefer, and the box around it in each."""

from dataclasses import dataclass

import numpy as np

from radapt.digests import digest
from radapt.features.lesions.locator import LesionLocator
from radapt.images.foreground import around, enough, extents

OWN, LOCATED, FOREGROUND = SOURCES = ("own mask", "locator", "foreground")
"""Where a place comes from."""


@dataclass(frozen=True, eq=False)
class LesionPlace:
    """What is looked at of a case: `boxes` (k, 4) y0, x0, y1, x1 in pixels, in its `planes` (k,), k ≥ 1.

    `source` says where it comes from: the case's own mask, a locator, or the foreground, where neither found anything.
    """

    planes: np.ndarray
    boxes: np.ndarray
    source: str


def place_of(inside: np.ndarray, axes: np.ndarray, size: tuple[int, int], source: str) -> LesionPlace | None:
    """The planes with enough of what is `inside` (n, h, w) bool, and the box around it with its surroundings.

    `size` (H, W) are the pixels of a plane that h × w parts cover; `axes` (n,) are the axes of the planes. None where
    nothing is inside.
    """
    found = extents(inside)
    planes = enough(found.area, axes)
    if not planes:
        return None
    chosen = np.concatenate(planes)
    scale = np.tile(np.asarray(size) / inside.shape[1:], 2)
    boxes = np.stack([around(box, size) for box in found.boxes[chosen] * scale])
    return LesionPlace(chosen, boxes, source)


def largest(scores: np.ndarray, threshold: float, axes: np.ndarray) -> np.ndarray:
    """bool (n, h, w): of what has more than a `threshold`, the connected part with the largest sum of each axis."""
    from scipy import ndimage  # heavy, and needed by few

    inside = scores > threshold
    out = np.zeros_like(inside)
    for axis in np.unique(axes):
        rows = np.flatnonzero(axes == axis)
        parts, count = ndimage.label(inside[rows])
        if count:
            sums = ndimage.sum_labels(scores[rows], parts, np.arange(1, count + 1))
            out[rows] = parts == 1 + int(np.argmax(sums))
    return out


def foreground_place(boxes: np.ndarray, shown: tuple[np.ndarray, ...]) -> LesionPlace:
    """What is looked at where no lesion is found."""
    planes = np.concatenate(shown)
    return LesionPlace(planes, boxes[planes].astype(np.float64), FOREGROUND)


@dataclass(frozen=True, eq=False)
class LesionPlaces:
    """Where the lesion of each of N cases was looked for: `of` (N,), by a locator that was trained on the masks of
    `masked` training cases."""

    of: tuple[LesionPlace, ...]
    locator: LesionLocator
    masked: int

    @property
    def digest(self) -> str:
        """32 hex digits that change with any place."""
        return digest([[place.source, place.planes.tolist(), place.boxes.tolist()] for place in self.of])

    def words(self, which: np.ndarray, name: str) -> str:
        """How many of the cases at the indices `which`, called `name`, were looked at where, as a sentence."""
        sources = [self.of[int(row)].source for row in which]
        own, located, lost = (sources.count(source) for source in SOURCES)
        parts = [f"{own} by their own masks"] * (own > 0) + [f"{located} by the locator"] * (located > 0)
        parts += [f"{lost} at the foreground, as no lesion was found"] * (lost > 0)
        return f"{name}: {', '.join(parts) or 'none'}"

    def note(self, splits: np.ndarray) -> str:
        """A sentence for the record: what was looked at, and by whose masks. `splits` (N,) are those of the cases."""
        train = splits == "train"
        seen = [self.words(np.flatnonzero(rows), name) for rows, name in ((train, "train"), (~train, "others"))]
        return (
            f"The lesion was looked at, in places by a locator trained on the masks of {self.masked} training cases, "
            f"out of fold for these cases. {seen[0].capitalize()}; {seen[1]}."
        )
