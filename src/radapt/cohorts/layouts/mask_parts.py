"""Several masks of one image that are one structure in parts: `x_mask.png` and `x_mask_1.png` of two lesions."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from radapt.cohorts.image_names import RASTER, is_image, stem
from radapt.locations import Location

_WORD = re.compile(r"[^ _.\-()\[\]]+")
_NOT_IN_A_LOCATION = set("{|}")
_FEW_BITS = ("L;2", "L;4")
_MOST_PIXELS = 1 << 26


def united(masks: Sequence[Path]) -> str:
    """The location that joins the masks of one image; '' if they are not parts of one structure.

    They are if their names differ in a number only, and if all are pictures of one size that hold 0 and another value,
    the same in all. The joined mask holds this value wherever a part does.
    """
    if not _differ_in_number(masks) or any(_NOT_IN_A_LOCATION & set(path.name) for path in masks):
        return ""
    found = [_size_and_value(path) for path in masks]
    sizes = {facts[0] for facts in found if facts}
    values = {facts[1] for facts in found if facts and facts[1]}
    if not all(found) or len(sizes) != 1 or len(values) > 1:
        return ""
    label = next(iter(values), 1)
    return str(Location(masks[0].parent, parts=tuple((label, path.name) for path in sorted(masks))))


def may_be_structures(masks: Sequence[tuple[Path, Sequence[Path]]]) -> bool:
    """Whether all images, each with its masks, have masks of the same numbers: `x_mask_1` of left, `_2` of right.

    Numbers that count lesions differ between images, or the first mask has none.
    """
    numbers = {tuple(sorted(_number(image, path) for path in paths)) for image, paths in masks}
    return len(numbers) == 1 and all(next(iter(numbers)))


def _differ_in_number(masks: Sequence[Path]) -> bool:
    names = [_WORD.findall(stem(path.name).casefold()) for path in masks]
    words = {tuple(word for word in name if not word.isdigit()) for name in names}
    same_place = len({(path.parent, path.suffix.casefold()) for path in masks}) == 1
    return same_place and len(words) == 1 and len({tuple(name) for name in names}) == len(names)


def _number(image: Path, mask: Path) -> str:
    """The number in the name of a mask that is not in that of its image."""
    own, others = (Counter(word for word in _WORD.findall(stem(path.name)) if word.isdigit()) for path in (mask, image))
    return " ".join((own - others).elements())


def _size_and_value(path: Path) -> tuple[tuple[int, int], int] | None:
    """The size of a picture and its value besides 0, 0 of an empty one; None for another file, or with more values."""
    if not is_image(path.name, RASTER):
        return None
    try:
        with Image.open(path) as image:
            # Grey of 2 and 4 bits is spread to 255 here, and read as stored by the reader of label maps.
            if image.width * image.height > _MOST_PIXELS or (image.tile and image.tile[0].args in _FEW_BITS):
                return None
            colours = image.getcolors(2) if getattr(image, "n_frames", 1) == 1 else None
            mode, size = image.mode, image.size
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError):
        return None  # `radapt check` says what is wrong with it
    values = {_grey(colour, mode) for _, colour in colours or ()} - {0}
    if not colours or None in values or len(values) > 1:
        return None
    return size, int(next(iter(values), 0) or 0)


def _grey(colour: object, mode: str) -> int | None:
    """The value of a pixel as the reader of label maps gives it; None for a colour."""
    if mode == "RGB" and isinstance(colour, tuple):
        return int(colour[0]) if len(set(colour)) == 1 else None
    if mode not in ("1", "L", "P") or not isinstance(colour, int):
        return None
    return int(colour > 0) if mode == "1" else colour
