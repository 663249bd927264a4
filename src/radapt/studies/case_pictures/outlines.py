"""Outlines of label maps as text: the `d` of an SVG path, along the edges of pixels."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

Point = tuple[int, int]


def outline_path(mask: np.ndarray, numbers: Sequence[int], width: int, height: int) -> str:
    """The outlines of every structure of label maps (n, H, W), 0 outside, on the planes `numbers`.

    Each plane is taken to `width` × `height` pixels (nearest) and lies below the one before. '' where no plane shows a
    structure.
    """
    parts = []
    for place, number in enumerate(numbers):
        labels = Image.fromarray(mask[number].astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
        plane = np.asarray(labels)
        for label in np.unique(plane[plane > 0]):
            parts += [_as_text(loop, place * height) for loop in loops(plane == label)]
    return "".join(parts)


def loops(inside: np.ndarray) -> list[list[Point]]:
    """The closed lines (x, y) around the pixels of a mask (H, W), each by its corners, the mask on the right hand.

    Lines around holes run the other way. Pixels that touch at a corner may share a line.
    """
    padded = np.pad(inside, 1)
    after: dict[Point, list[Point]] = {}
    # An edge of a pixel is a part of the outline where the pixel on its other side is not of the mask.
    for (dy, dx), start, end in (
        ((-1, 0), (0, 0), (1, 0)), ((0, 1), (1, 0), (1, 1)), ((1, 0), (1, 1), (0, 1)), ((0, -1), (0, 1), (0, 0)),
    ):  # fmt: skip
        beyond = np.roll(padded, (-dy, -dx), axis=(0, 1))
        for y, x in (np.argwhere(padded & ~beyond) - 1).tolist():
            after.setdefault((x + start[0], y + start[1]), []).append((x + end[0], y + end[1]))
    found = []
    while after:
        first = at = next(iter(after))
        corners: list[Point] = []
        while True:
            onward = after[at]
            following = onward.pop()
            if not onward:
                del after[at]
            if len(corners) > 1 and _turns_not(corners[-2], corners[-1], following):
                corners[-1] = following
            else:
                corners += [following] if corners else [at, following]
            at = following
            if at == first:
                break
        corners.pop()  # the first again
        if _turns_not(corners[-1], corners[0], corners[1]):
            corners.pop(0)
        found.append(corners)
    return found


def _turns_not(one: Point, two: Point, three: Point) -> bool:
    return (two[0] - one[0]) * (three[1] - two[1]) == (two[1] - one[1]) * (three[0] - two[0])


def _as_text(corners: Sequence[Point], below: int) -> str:
    """`M3 4h2v1h-2z`, moved down; the last side is that which `z` closes."""
    (x, y), text = corners[0], [f"M{corners[0][0]} {corners[0][1] + below}"]
    for to_x, to_y in corners[1:]:
        text.append(f"h{to_x - x}" if to_y == y else f"v{to_y - y}")
        x, y = to_x, to_y
    return "".join([*text, "z"])
