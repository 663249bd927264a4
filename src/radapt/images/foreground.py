"""Which part of a plane shows the patient or a lesion: its area, and the box around it."""

from dataclasses import dataclass

import numpy as np

AIR_LIMIT_HU = -500.0
"""Between air (-1000) and soft tissue (from -150): what is denser is body, and the wall of the body encloses lungs."""

DARK_SHARE = 0.1
"""Grey values up to this share of the range are background, as in BET (Smith, Human Brain Mapping 2002)."""

LINE_SHARE = 0.02
"""A row or column with less foreground than this is outside the box, so that specks of noise do not widen it."""

MARGIN = 0.25
"""Added on each side of the box around a mask, in shares of its sides: crops show a tumour with its surroundings."""

LEAST = 0.25
"""The box around a mask has at least this share of the plane's sides, so that a speck is not blown up to a picture."""

ENOUGH = 0.1
"""A plane shows enough from this share of the area in the plane of its axis that shows most: the rest are tips of the
head or of a tumour. Judged, not tuned."""

_COUNTED = 1 << 24  # pixels looked at in one go


@dataclass(frozen=True, eq=False)
class Extents:
    """How much of each of n planes is foreground, in pixels, and the box around it.

    A plane without any has area 0 and the box 0, 0, 0, 0.
    """

    area: np.ndarray  # (n,) int32
    boxes: np.ndarray  # (n, 4) int16: y0, x0, y1, x1, the last two just beyond

    @classmethod
    def from_table(cls, table: np.ndarray) -> "Extents":
        """Of what `table` gave."""
        return cls(np.array(table[:, 0], np.int32), np.array(table[:, 1:], np.int16))

    @property
    def table(self) -> np.ndarray:
        """(n, 5) int32, to be kept in one small array."""
        return np.concatenate([self.area[:, None], self.boxes], axis=1).astype(np.int32)

    def __or__(self, other: "Extents") -> "Extents":
        """The box around both; the area is the larger one, which both together have at least."""
        boxes = np.where(other.area[:, None] == 0, self.boxes, other.boxes)
        both = (self.area > 0) & (other.area > 0)
        low, high = np.minimum(self.boxes, other.boxes)[:, :2], np.maximum(self.boxes, other.boxes)[:, 2:]
        boxes = np.where(both[:, None], np.concatenate([low, high], axis=1), boxes)
        return Extents(np.maximum(self.area, other.area), boxes)


def dark_levels(
    kind: str, windows: tuple[tuple[float, float], ...], channels: int, *, centre_only: bool = False
) -> np.ndarray:
    """(C,) int: grey levels of the planes of a `kind` of image above which a pixel of a channel is foreground.

    One channel that says so is enough. MRI: a tenth of the range, where the recipe puts the darkest tissue at black.
    CT: the level of -500 HU in each of the `windows`. X-ray: 0, so that all of the film counts and the black around it
    does not. Other: a tenth of the range. With `centre_only` the middle channel decides, of neighbouring planes.
    """
    if kind == "xray":
        levels = np.zeros(channels)
    elif kind == "ct" and channels == len(windows):
        low, high = np.asarray(windows).T
        levels = 255 * (AIR_LIMIT_HU - low) / (high - low)
    else:
        levels = np.full(channels, 255 * DARK_SHARE)
    if centre_only:
        levels = np.where(np.arange(channels) == channels // 2, levels[0], 255)
    return np.clip(levels, 0, 255 if centre_only else 254).astype(np.int64)


def foreground(planes: np.ndarray, dark: np.ndarray) -> Extents:
    """Of planes uint8 (n, C, H, W) whose channels are foreground above `dark` (C,)."""
    step = max(1, _COUNTED // planes[0].size)
    parts = [_brighter(planes[start : start + step], dark) for start in range(0, len(planes), step)]
    return Extents.from_table(np.concatenate([extents(part, LINE_SHARE).table for part in parts]))


def extents(inside: np.ndarray, share: float = 0.0) -> Extents:
    """Of planes bool (n, H, W); the box leaves out rows and columns with less than a `share` of their pixels inside."""
    rows = inside.sum(axis=2)
    columns = inside.sum(axis=1)
    area = rows.sum(axis=1)
    top, bottom = _ends(rows >= max(1, share * inside.shape[2]))
    left, right = _ends(columns >= max(1, share * inside.shape[1]))
    boxes = np.stack([top, left, bottom, right], axis=1)
    empty = (bottom == 0) | (right == 0)
    return Extents(np.where(empty, 0, area), np.where(empty[:, None], 0, boxes))


def shown(seen: Extents, axes: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The box of each of n planes of (H, W) pixels, and the planes that show enough, one array per axis that has any.

    `axes` (n,) is the number of the axis of each plane. A plane without foreground has the whole plane as its box.
    Where no plane has any foreground, every plane counts as shown.
    """
    boxes = np.where(seen.area[:, None] > 0, seen.boxes, np.asarray([0, 0, *size], seen.boxes.dtype))
    return boxes, enough(seen.area, axes) or enough(np.ones_like(seen.area), axes)


def enough(area: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, ...]:
    """Per axis with any: the planes with at least a share `ENOUGH` of the largest area of their axis."""
    most = np.zeros(int(axes.max()) + 1, area.dtype)
    np.maximum.at(most, axes, area)
    chosen = (area > 0) & (area >= ENOUGH * most[axes])
    found = (np.flatnonzero(chosen & (axes == axis)) for axis in range(len(most)))
    return tuple(planes for planes in found if len(planes))


def around(box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(4,) float64 edges of a box y0, x0, y1, x1 with `MARGIN` and at least `LEAST`, moved into a plane of (H, W)."""
    low, high, whole = box[:2].astype(float), box[2:].astype(float), np.asarray(size, float)
    side = np.minimum(np.maximum((high - low) * (1 + 2 * MARGIN), LEAST * whole), whole)
    start = np.clip((low + high - side) / 2, 0, whole - side)
    return np.concatenate([start, start + side])


def _brighter(planes: np.ndarray, dark: np.ndarray) -> np.ndarray:
    inside: np.ndarray = planes[:, 0] > dark[0]
    for channel in range(1, len(dark)):
        inside |= planes[:, channel] > dark[channel]
    return inside


def _ends(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and just beyond the last True of each row (n, size); 0 and 0 without any."""
    found = lines.any(axis=1)
    return np.where(found, lines.argmax(axis=1), 0), np.where(found, lines.shape[1] - lines[:, ::-1].argmax(axis=1), 0)
