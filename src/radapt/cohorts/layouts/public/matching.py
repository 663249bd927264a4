"""The files of a public data set by the patterns of its card: which case each is of, and what it shows."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from radapt.cohorts.image_names import IMAGES
from radapt.cohorts.layouts.image_files import files_in, folders_in
from radapt.dataset_cards import FilePattern, SetFiles

ROLES = ("case", "patient", "sequence", "structure", "label", "split", "site")
_PER_FOLDER = 12
_SAMPLED = 400
_DEPTH = 8
_SHARE = 0.25
"""Of the sampled images, so many must be named as the card says: a data set also holds derived images."""

Groups = dict[str, str]
Match = Callable[[str], tuple[int, Groups] | None]
"""A path → the number of the first pattern that it matches, and its groups; None if it matches none."""


@dataclass
class SetCase:
    """The files of one case: sequence → image, and the masks as (structure, file), all of the pattern `masks_of`;
    `facts` are groups of the names."""

    facts: Groups
    images: dict[str, str] = field(default_factory=dict)
    masks: list[tuple[str, str]] = field(default_factory=list)
    masks_of: int = 0


def matcher(patterns: tuple[FilePattern, ...]) -> Match:
    compiled = [(at, below_any_folder(item.path), item.sequence) for at, item in enumerate(patterns)]

    def match(path: str) -> tuple[int, Groups] | None:
        for at, pattern, sequence in compiled:
            if found := pattern.fullmatch(path):
                groups = {name: text for name, text in found.groupdict().items() if text is not None}
                return at, groups | ({"sequence": sequence} if sequence else {})
        return None

    return match


def below_any_folder(pattern: str) -> re.Pattern[str]:
    return re.compile(f"(?:.*?/)??(?:{pattern})")


def case_of(groups: Groups) -> str:
    """The name of the case: the group `case`, or all that tells it from others."""
    others = [text for name, text in groups.items() if name not in (*ROLES[2:], "case") and text]
    return groups.get("case") or "-".join(others)


def sampled(root: Path) -> list[str]:
    """The paths of some files in every folder of `root`, without listing a data set of a million."""
    return [path.relative_to(root).as_posix() for path in islice(_sample(root, _DEPTH), _SAMPLED)]


def looks_like(names: Sequence[str], files: SetFiles) -> int:
    """How many of the images among sampled paths are named as the card says; 0 if too few are."""
    image, mask = matcher(files.images), matcher(files.masks)
    if not _present(files.needs, names, True) or _present(files.unless, names, False):
        return 0
    pictures = [name for name in names if name.lower().endswith(IMAGES)]
    images = sum(image(name) is not None for name in pictures)
    others = sum(mask(name) is not None for name in pictures) if images else 0
    return images if images + others >= _SHARE * len(pictures) else 0


def _present(pattern: str, names: Sequence[str], default: bool) -> bool:
    if not pattern:
        return default
    compiled = below_any_folder(pattern)
    return any(compiled.fullmatch(name) for name in names)


def _sample(folder: Path, depth: int) -> Iterator[Path]:
    yield from files_in(folder)[:_PER_FOLDER]
    if depth:
        for inner in folders_in(folder)[:_PER_FOLDER]:
            yield from _sample(inner, depth - 1)


def cases_in(root: Path, paths: Sequence[Path], files: SetFiles, notes: list[str]) -> list[SetCase]:
    """Every case with an image among `paths`, by name. `notes` gains how many masks and second files are left out."""
    image, mask = matcher(files.images), matcher(files.masks)
    cases: dict[str, SetCase] = {}
    masks: dict[str, dict[int, list[tuple[str, str]]]] = {}
    left: Counter[str] = Counter()
    for path in paths:
        if not path.name.lower().endswith(IMAGES):
            continue
        name = path.relative_to(root).as_posix()
        if found := image(name):
            groups = found[1]
            case = cases.setdefault(case_of(groups), SetCase(groups))
            sequence = groups.get("sequence", "").lower()
            if sequence in case.images:
                left["second files of a sequence that the case has already"] += 1
            case.images.setdefault(sequence, str(path))
        elif found := mask(name):
            at, groups = found
            of_case = masks.setdefault(case_of(groups), {})
            of_case.setdefault(at, []).append((groups.get("structure", ""), str(path)))
    for name, of_case in masks.items():
        if name in cases:
            cases[name].masks_of = min(of_case)
            cases[name].masks = of_case[min(of_case)]
            left["further masks of a case"] += sum(map(len, of_case.values())) - len(cases[name].masks)
        else:
            left["masks whose image is not there"] += sum(map(len, of_case.values()))
    notes += [f"Left out: {count} {what}." for what, count in left.items() if count]
    return [cases[name] for name in sorted(cases)]
