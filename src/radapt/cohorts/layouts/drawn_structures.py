"""Masks named after a structure, `x_lesion.png` beside `x.png`: a name that a second picture may have, too, so that the
pixels decide."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from radapt.cohorts.image_names import RASTER, is_image, stem
from radapt.errors import counted

_STRUCTURES = {
    "lesion", "lesions", "läsion", "läsionen", "laesion", "laesionen", "tumor", "tumors", "tumour", "tumours",
    "tumoren", "nodule", "nodules", "polyp", "polyps", "outline", "outlines", "delineation", "delineations",
}  # fmt: skip
_NAMED = re.compile(
    rf"^(?P<image>.+?)[ _.\-]+(?P<structure>{'|'.join(sorted(_STRUCTURES, key=len, reverse=True))})(?:[ _.\-]?\d+)?$"
)
_SAMPLED = 6
_MOST_VALUES = 16  # of a mask, which has one per structure
_NEAR, _LEAST_NEAR = 16, 0.97  # in a JPEG, of black or white: so far, and the share of the pixels
_MOST_PIXELS = 1 << 26  # of a picture that is opened while names are sorted


def is_structure(word: str) -> bool:
    """Whether the word is one that masks and pictures of a structure are named by."""
    return word in _STRUCTURES


def structure_masks(stems: Mapping[Path, str]) -> dict[Path, tuple[str, str]]:
    """The files that are masks of a structure, by the name in lower case of each in one folder: that of the image, and
    the structure.

    Empty unless at least half of the other pictures have such a file, all that are looked at hold few values, and their
    images more.
    """
    named = _named_after({path: name for path, name in stems.items() if is_image(path.name, RASTER)})
    owners = {name: path for path, name in stems.items() if path not in named}
    if not named or 2 * len({image for image, _ in named.values()}) < len(owners):
        return {}
    sample = list(named)[:: max(1, len(named) // _SAMPLED)]
    looked_at = [*((path, True) for path in sample), *((owners[named[path][0]], False) for path in sample)]
    return named if all(_has_few_values(path) == few for path, few in looked_at) else {}


def note_other_images(images: Sequence[Path], notes: list[str]) -> None:
    """Add a note on images that are named after a structure of another image, but were not taken as its masks."""
    found: dict[Path, tuple[str, str]] = {}
    for folder in dict.fromkeys(path.parent for path in images):
        found |= _named_after({path: stem(path.name).casefold() for path in images if path.parent == folder})
    if found:
        example = min(found)
        (structure, _), *_ = Counter(structure for _, structure in found.values()).most_common(1)
        notes.append(
            f"{counted(len(found), 'image')} named after a structure in an image beside it, such as {example.name}, is "
            "read as a case, no mask: the pixels have many values, or the files are volumes. If the two are of one "
            f"patient, give --patient-regex '(.+?)(?:_{structure})?$'; if they are masks, name them *_mask."
        )


def _named_after(stems: Mapping[Path, str]) -> dict[Path, tuple[str, str]]:
    matches = {path: match for path, name in stems.items() if (match := _NAMED.match(name))}
    plain = {name for path, name in stems.items() if path not in matches}
    return {path: (match["image"], match["structure"]) for path, match in matches.items() if match["image"] in plain}


def _has_few_values(path: Path) -> bool:
    """Whether a picture holds few values, as a mask does; a JPEG of one holds others along the edges."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > _MOST_PIXELS:
                return False
            if image.format != "JPEG":
                return image.getcolors(_MOST_VALUES) is not None
            levels = image.convert("L").histogram()
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError):
        return False  # `radapt check` says what is wrong with it
    return sum(levels[:_NEAR]) + sum(levels[-_NEAR:]) >= _LEAST_NEAR * sum(levels)
