"""A folder of masks that holds a folder for each structure: `masks/heart/1.png` and `masks/lungs/1.png` of `1.png`."""

import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from radapt.cohorts.image_names import NIFTI, RASTER, is_image
from radapt.cohorts.layouts.classes.folders import SPLIT_FOLDERS
from radapt.cohorts.layouts.image_files import folders_in, images_in
from radapt.cohorts.layouts.pairs.keys import name_keys
from radapt.errors import counted
from radapt.locations import Location

_NOT_IN_A_LOCATION = set("{|}")
_RATER = re.compile(
    r"(?:rater|reader|annotator|observer|expert|radiologist|doctor|round|session|version|[arv])?[\W_]*(?:\d+|[a-z])"
    r"|.*(?:pred|auto).*",
    re.IGNORECASE,
)
"""Names of folders that hold the same structure again, drawn by somebody else or by a program."""
_MOST_VOXELS = 1 << 27
_SAME, _ALIKE, _INSIDE = 0.98, 0.6, 0.97  # Dice; Dice of two raters; the share of the smaller one in the other
_SAMPLED = 8  # cases, to see which structure is larger


def structure_folders(masks: Path, images: Sequence[Path], folder: str) -> list[Path]:
    """The folders inside `masks`, two or more, if each names its files as the `images` of `folder` are named.

    [] if `masks` holds images itself, or if the folders are those of splits or of patients.
    """
    inner = folders_in(masks)
    if len(inner) < 2 or images_in(masks) or any(path.name.casefold() in SPLIT_FOLDERS for path in inner):
        return []
    if len({path.parent for path in images}) > 1:
        return []
    keys = set(name_keys({"": images}, folder).values())
    for path in inner:
        own = set(name_keys({"": images_in(path)}, path.name, masks=True).values())
        if not own or 2 * len(own & keys) < len(own):
            return []
    return inner


def are_structures(names: Sequence[str]) -> bool:
    """Whether folders are of different structures, and not of the same one by several raters."""
    return not any(_RATER.fullmatch(name) for name in names)


def joined(
    masks: Sequence[Sequence[tuple[str, Path]]], structures: Sequence[str], notes: list[str]
) -> tuple[list[str], dict[int, str]]:
    """The label map of each case, '' without any mask, and the names of its values: structures from large to small.

    Where two overlap, the later one counts, so that a lesion is not lost in its organ.
    """
    largest_first = _by_size(masks, structures)
    values = {name: number for number, name in enumerate(largest_first, start=1)}
    listed = ", ".join(f"{name} {value}" for name, value in values.items())
    notes.append(f"A mask of each case is joined from the folders of its structures: {listed}. Later ones lie on top.")
    if fewer := sum(0 < len(own) < len(values) for own in masks):
        notes.append(f"{counted(fewer, 'case')} without the file of some structure: it counts as absent there.")
    return [_location(own, values) for own in masks], {value: name for name, value in values.items()}


def _location(masks: Sequence[tuple[str, Path]], values: dict[str, int]) -> str:
    if not masks:
        return ""
    folder = Path(os.path.commonpath([path.parent for _, path in masks]))
    parts = sorted((values[name], path.relative_to(folder).as_posix()) for name, path in masks)
    return str(Location(folder, parts=tuple(parts)))


def drawn_twice(masks: Sequence[Sequence[tuple[str, Path]]]) -> bool:
    """Whether two folders hold the same structure, drawn again: in most of some cases their masks are alike, and
    neither lies inside the other as a core inside its tumour."""
    votes: Counter[bool] = Counter()
    for own in _sample(masks):
        drawn = [voxels for _, path in own if (voxels := _voxels(path)) is not None and voxels.any()]
        votes[any(_alike(one, other) for one, other in combinations(drawn, 2))] += 1
    return votes[True] > votes[False]


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape:
        return False
    both, sizes = int((one & other).sum()), sorted([int(one.sum()), int(other.sum())])
    dice = 2 * both / sum(sizes)
    return dice > _SAME or (dice > _ALIKE and both < _INSIDE * sizes[0])


def _by_size(masks: Sequence[Sequence[tuple[str, Path]]], structures: Sequence[str]) -> list[str]:
    """The structures from the largest to the smallest, by the masks of some cases; by name where that says nothing."""
    sizes = dict.fromkeys(structures, 0.0)
    for own in _sample(masks):
        for name, path in own:
            voxels = _voxels(path)
            sizes[name] += 0.0 if voxels is None else float(voxels.mean())
    return sorted(structures, key=lambda name: (-sizes[name], name))


def _sample(masks: Sequence[Sequence[tuple[str, Path]]]) -> list[Sequence[tuple[str, Path]]]:
    return [masks[at] for at in range(0, len(masks), max(1, len(masks) // _SAMPLED))]


def _voxels(path: Path) -> np.ndarray | None:
    """Where a mask is not 0; None of a file that cannot be read, of which `radapt check` says why."""
    try:
        if is_image(path.name, RASTER):
            with Image.open(path) as image:
                return np.asarray(image.convert("L")) != 0
        if is_image(path.name, NIFTI):
            import nibabel

            volume = nibabel.load(path)
            if math.prod(volume.shape) <= _MOST_VOXELS:  # what a header claims would be allocated
                return np.asarray(np.asanyarray(volume.dataobj) != 0)
    except Exception:  # whatever a damaged file raises in one of two libraries
        return None
    return None


def can_be_joined(masks: Sequence[Sequence[tuple[str, Path]]]) -> bool:
    """Whether the names of all files can stand in a location of several parts."""
    return not any(_NOT_IN_A_LOCATION & set(str(path)) for own in masks for _, path in own)
