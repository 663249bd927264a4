"""Image files without a layout: a file is a case, or files that differ in the name of the sequence are one."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from radapt.cohorts.layouts.image_files import IMAGES, folders_in, images_in, is_image, stem, unique
from radapt.deploy.inputs.raw_case import RawCase, RawInput
from radapt.deploy.sequences import ModelSequence, Series, plain_name, sequence_kind
from radapt.errors import DataError
from radapt.locations import Location

_PARTS = re.compile(r"[_\-. ]+")


def file_case(path: Path) -> RawInput:
    """One image file as a case. Raises DataError for a file that is no image."""
    if not is_image(path.name):
        raise DataError(
            f"{path} is not an image that radapt reads; expected {', '.join(IMAGES)}, a DICOM file, a cohort.yaml, or "
            "a folder."
        )
    name = stem(path.name)
    return RawInput((RawCase(name, name, (Series(name, Location(path)),)),))


def folder_cases(root: Path, wanted: Sequence[ModelSequence]) -> RawInput:
    """The images in a folder, and in the folders inside: each of these is a study.

    Files of the folder itself that differ only in a word that names a sequence belong to one case.
    """
    cases = _grouped(root, images_in(root), wanted)
    for folder in folders_in(root):
        images = images_in(folder)
        if images:
            series = tuple(Series(stem(path.name), Location(path)) for path in images)
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
    names = unique(owner or root.resolve().name for owner in groups)
    return [RawCase(name, name, tuple(series)) for name, series in zip(names, groups.values(), strict=True)]


def _split(name: str, wanted: Sequence[ModelSequence]) -> tuple[str, str]:
    """The case and the sequence in a file name: `p01_T1_post` is `p01` and `T1_post`; the sequence is the longest end
    of the name that means one of those wanted."""
    starts = [0, *(found.end() for found in _PARTS.finditer(name))]
    for start in starts:
        end = name[start:]
        known = {one for each in wanted for one in each.names}
        if plain_name(end) in known or (start and sequence_kind(end) and not sequence_kind(name[:start])):
            return name[:start].rstrip("_-. "), end
    return (name, name) if sequence_kind(name) is None else ("", name)
