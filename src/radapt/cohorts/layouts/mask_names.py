"""Masks that lie beside their images, recognised by name: `x.png` with `x_mask.png`, `x_seg.png` or `mask_x.png`; by
name and pixels: `x_lesion.png`."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from radapt.cohorts.image_names import stem
from radapt.cohorts.layouts.drawn_structures import is_structure, structure_masks
from radapt.cohorts.layouts.mask_parts import may_be_structures, united
from radapt.errors import counted

MASK_WORDS = {
    "mask", "masks", "seg", "segm", "segs", "segmentation", "segmentations", "label", "labels", "labelmap", "gt",
    "groundtruth", "roi", "rois", "annotation", "annotations", "contour", "contours", "maske", "masken",
    "segmentierung", "segmentierungen", "kontur",
}  # fmt: skip
_IMAGE_WORDS = ("image", "img", "orig", "original", "raw")
_SEPARATORS = r"[ _.\-()\[\]]+"
_CUT = re.compile(_SEPARATORS)
_GLUED = re.compile(
    rf"(?:(?<=[a-z\d)])(?=[A-Z])|(?<=\d))(?=(?i:{'|'.join(sorted(MASK_WORDS, key=len, reverse=True))})(?:[ _.\-\d]|$))"
)
"""Before a word for masks that only a capital or a number sets apart: `lesionMask`, `12seg`."""


@dataclass(frozen=True)
class PairedImage:
    """An image and the masks named after it, each with its kind: the rest of the name without numbers."""

    path: Path
    masks: tuple[tuple[str, Path], ...] = ()


def is_mask_name(name: str) -> bool:
    """Whether a word of the name, which has no file ending, is a word for masks."""
    plain = (
        _GLUED.sub("_", name).casefold().replace("ground_truth", "groundtruth").replace("ground truth", "groundtruth")
    )
    return any(word.rstrip("0123456789") in MASK_WORDS for word in _CUT.split(plain) if word)


def without_mask_words(name: str) -> str:
    """The name of the image that a mask in a folder of masks belongs to: `x_mask` and `mask-x` → `x`."""
    words = re.split(f"({_SEPARATORS})", _GLUED.sub("_", name))
    while len(words) > 2 and words[-1].casefold() in MASK_WORDS:
        words = words[:-2]
    while len(words) > 2 and words[0].casefold() in MASK_WORDS:
        words = words[2:]
    return "".join(words)


def pair(paths: Sequence[Path]) -> list[PairedImage]:
    """The images among the files of one folder, each with its masks; a mask without an image counts as an image."""
    stems = {path: _GLUED.sub("_", stem(path.name)).casefold() for path in paths}
    plain = {name: path for path, name in stems.items() if not is_mask_name(name)}
    plain |= {short: path for name, path in plain.items() if (short := _without_image_word(name))}
    structures = structure_masks({path: name for path, name in stems.items() if not is_mask_name(name)})
    masks: dict[Path, list[tuple[str, Path]]] = defaultdict(list)
    owned: set[Path] = set()
    for path, name in stems.items():
        if found := structures.get(path) or (_owner(name, plain) if is_mask_name(name) else None):
            owner, kind = found
            masks[plain[owner]].append((kind, path))
            owned.add(path)
    return [PairedImage(path, tuple(masks[path])) for path in paths if path not in owned]


def chosen_masks(images: Sequence[PairedImage], notes: list[str], *, prefer: str = "") -> list[str]:
    """The mask of each image, '' without one: of the kind that most images have, so that it is the same structure.

    `prefer` is the kind that goes first wherever it occurs. Several masks of the kind are joined if they are parts of
    one structure; else the image has none, because radapt reads one label map per case. `notes` gains what is paired,
    joined and left out.
    """
    kinds = Counter(kind for image in images for kind in {kind for kind, _ in image.masks})
    if not kinds:
        return [""] * len(images)
    kind = prefer if prefer in kinds else min(kinds, key=lambda name: (-kinds[name], len(name), name))
    of_kind = [[path for name, path in image.masks if name == kind] for image in images]
    paired = sum(len(paths) == 1 for paths in of_kind)
    if paired:
        what = f"named as the mask of an image beside it, such as *_{kind}"
        if is_structure(kind):
            what += ", with the few values of a mask"
        notes.append(f"{counted(paired, 'file')} {what}, read as mask.")
    masks = [str(paths[0]) if len(paths) == 1 else "" for paths in of_kind]
    if several := [at for at, paths in enumerate(of_kind) if len(paths) > 1]:
        notes += _joined(images, of_kind, several, masks)
    if others := {name: count for name, count in kinds.items() if name != kind}:
        notes.append(left_out_kinds(others, kind))
    return masks


def _joined(
    images: Sequence[PairedImage], of_kind: Sequence[Sequence[Path]], several: Sequence[int], masks: list[str]
) -> Iterator[str]:
    """Fill in the `masks` of the images with `several`, where they are parts of one structure; yields notes."""
    if not may_be_structures([(image.path, paths) for image, paths in zip(images, of_kind, strict=True) if paths]):
        for at in several:
            masks[at] = united(of_kind[at])
    if joined := [at for at in several if masks[at]]:
        parts, example = sum(len(of_kind[at]) for at in joined), of_kind[joined[0]][-1].name
        yield (
            f"{counted(len(joined), 'image')} with several masks of 0 and one other value, such as {example}: their "
            f"{parts} masks are joined, as parts of one structure."
        )
    if left := len(several) - len(joined):
        yield (
            f"{counted(left, 'image')} with several masks that may be different structures without a mask: their masks "
            "are left out, because a case has one label map. Merge them into one file to use them, or write "
            "FOLDER::{1=FILE|2=FILE} in the column mask."
        )


def left_out_kinds(others: dict[str, int], kind: str) -> str:
    """The note on masks of other structures than the one that is used."""
    listed = ", ".join(f"{name!r} of {counted(count, 'case')}" for name, count in sorted(others.items()))
    return (
        f"Masks of other kinds than {kind!r} left out: {listed}. A number in a mask means one structure in every case; "
        "merge them into one label map to use them, or put each into a folder of its own inside masks/, beside images/."
    )


def commonest(kinds: Iterable[str]) -> str | None:
    """The most frequent kind; the shortest of several, then the first by name."""
    counts = Counter(kinds)
    return min(counts, key=lambda name: (-counts[name], len(name), name), default=None)


def _owner(name: str, plain: dict[str, Path]) -> tuple[str, str] | None:
    """The image that a mask is named after, and the kind of the mask."""
    cuts = list(_CUT.finditer(name))
    for cut in reversed(cuts):  # the longest beginning that is an image
        for end in (cut.end(), cut.start()):  # `benign (1)_mask`: the bracket belongs to the image
            for at in range(end, cut.start() - 1, -1):
                if name[:at] in plain and is_mask_name(name[at:]):
                    return name[:at], _kind(name[at:])
    for cut in cuts:
        if name[cut.end() :] in plain and is_mask_name(name[: cut.start()]):
            return name[cut.end() :], _kind(name[: cut.start()])
    return None


def _kind(rest: str) -> str:
    words = [word for word in _CUT.split(rest) if word and not word.isdigit()]
    return "_".join(words) or "mask"


def _without_image_word(name: str) -> str:
    return next(
        (
            name[: -len(word) - 1]
            for word in _IMAGE_WORDS
            if name.endswith(word) and len(name) > len(word) + 1 and _CUT.fullmatch(name[-len(word) - 1])
        ),
        "",
    )
