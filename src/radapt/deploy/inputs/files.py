"""Image files without a layout: a file is a case, or files that differ in the name of the sequence are one."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from radapt.cohorts.image_names import IMAGES, is_image, stem
from radapt.cohorts.layouts.image_files import folders_in, images_in, unique
from radapt.deploy.inputs.raw_case import RawCase, RawInput
from radapt.deploy.sequences import ModelSequence, Series, plain_name, sequence_kind
from radapt.errors import DataError
from radapt.locations import Location

_PARTS = re.compile(r"[_\-. ]+")
_BEFORE = ("ce", "gad", "gd", "pre", "post", "contrast", "ax", "axial", "tra", "sag", "cor", "2d", "3d", "tse", "se")
"""Words in front of the kind of an image that belong to it and not to the name of a patient."""


def file_case(path: Path) -> RawInput:
    """One image file as a case. Raises DataError for a file that is no image."""
    if not is_image(path.name):
        raise DataError(
            f"{path} is not an image that radapt reads; expected {', '.join(IMAGES)}, a DICOM file, a cohort.yaml, or "
            "a folder."
        )
    name = stem(path.name)
    return RawInput((RawCase(name, name, (Series(name, Location(path)),)),))


def remote_case(location: Location) -> RawInput:
    """The image, or folder of a DICOM series, at an address as a case, named by the end of the address."""
    name = stem(location.path.name)
    return RawInput((RawCase(name, name, (Series(name, location),)),))


def folder_cases(root: Path, wanted: Sequence[ModelSequence]) -> RawInput:
    """The images in a folder, and in the folders inside: each is a study, of files or of folders of series.

    Files of the folder itself that differ only in a word that names a sequence belong to one case.
    """
    cases = _grouped(root, images_in(root), wanted)
    for folder in folders_in(root):
        images = images_in(folder)
        if images:
            cases.append(_study(folder, images, wanted))
        elif series := _in_folders(folder):
            cases.append(RawCase(folder.name, folder.name, series))
        else:
            cases.append(RawCase(folder.name, folder.name, problem=f"The folder {folder} holds no images."))
    if not cases:
        raise DataError(f"The folder {root} holds no images; expected {', '.join(IMAGES)} or DICOM files.")
    return RawInput(tuple(cases), (f"{root.name}: no known layout, so files are grouped by their names.",))


def _grouped(root: Path, images: Sequence[Path], wanted: Sequence[ModelSequence]) -> list[RawCase]:
    groups = defaultdict[str, list[Series]](list)
    for path in images:
        name = stem(path.name)
        owner, sequence = _split(name, wanted) if len(wanted) > 1 else (name, name)
        groups[owner].append(Series(sequence, Location(path)))
    unnamed = groups.get("", [])
    if len({sequence_kind(each.name) for each in unnamed}) < len(unnamed):  # each of another patient: ct_001, ct_002
        groups |= {each.name: [each] for each in groups.pop("")}
    names = unique(owner or root.resolve().name for owner in groups)
    return [RawCase(name, name, tuple(series)) for name, series in zip(names, groups.values(), strict=True)]


def _study(folder: Path, images: Sequence[Path], wanted: Sequence[ModelSequence]) -> RawCase:
    """The images of one folder as a case, named by what their names share, else by the folder."""
    split = [_split(stem(path.name), wanted) for path in images]
    owners = {owner for owner, _ in split}
    shared = len(owners) == 1 and "" not in owners
    name = owners.pop() if shared else folder.name
    names = [sequence if shared else stem(path.name) for path, (_, sequence) in zip(images, split, strict=True)]
    series = tuple(Series(each, Location(path)) for each, path in zip(names, images, strict=True))
    return RawCase(name, name, series)


def _in_folders(study: Path) -> tuple[Series, ...]:
    """The images in the folders of a study. The only one of a folder is named by that, unless it names a sequence."""
    series = []
    for folder in folders_in(study):
        images = images_in(folder)
        for path in images:
            own = stem(path.name)
            name = folder.name if len(images) == 1 and sequence_kind(own) is None else own
            series.append(Series(name, Location(path)))
    return tuple(series)


def _split(name: str, wanted: Sequence[ModelSequence]) -> tuple[str, str]:
    """The case and the sequence in a file name: `p01_T1_post` is `p01` and `T1_post`.

    The sequence is the longest end that is the name of one of those wanted, else the shortest end that means the same
    kind of image as the whole name; with words such as `ce` or `ax` before it. A name without any is the case.
    """
    starts = [0, *(found.end() for found in _PARTS.finditer(name))]
    known = {one for each in wanted for one in each.names}
    kind = sequence_kind(name)
    exact = [start for start in starts if plain_name(name[start:]) in known]
    if not exact and kind is None:
        return name, name
    at = exact[0] if exact else max(start for start in starts if sequence_kind(name[start:]) == kind)
    while at > 0 and _word_before(name, starts, at) in _BEFORE:
        at = starts[starts.index(at) - 1]
    return name[:at].rstrip("_-. "), name[at:]


def _word_before(name: str, starts: Sequence[int], at: int) -> str:
    return name[starts[starts.index(at) - 1] : at].strip("_-. ").lower()
