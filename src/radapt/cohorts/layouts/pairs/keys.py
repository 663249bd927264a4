"""What images and masks of one case have in common in their names."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from radapt.cohorts.image_names import stem
from radapt.cohorts.layouts.mask_names import MASK_WORDS

_WORD = re.compile(r"[^\W_]+")
_IMAGE_WORDS = {"image", "img", "orig", "original", "raw", "volume", "vol", "scan"}
_SEQUENCE = re.compile(r"^(.+?)[ _.\-]+([^\W\d_][^ _.\-]*)$")


def name_keys(files: Mapping[str, Sequence[Path]], folder: str, *, masks: bool = False) -> dict[Path, str]:
    """What each file is matched by: its name without the words of its folder, and without those for images or masks.

    `007` and `7` are the same. The whole name counts if two files of a split would be the same without these words. Of
    files in several folders the folder is part of the name.
    """
    inside = {path: own for paths in files.values() for path, own in folder_names(paths).items()}
    short = {path: inside[path] + _key(bare_name(path, folder, masks=masks)) for path in inside}
    if all(len({short[path] for path in paths}) == len(paths) for paths in files.values()):
        return short
    return {path: inside[path] + _key(stem(path.name)) for path in short}


def folder_names(paths: Sequence[Path]) -> dict[Path, str]:
    """The name of the folder of each file and a slash, '' if all lie in one folder."""
    several = len({path.parent for path in paths}) > 1
    return {path: f"{path.parent.name}/" if several else "" for path in paths}


def bare_name(path: Path, folder: str, *, masks: bool = False) -> str:
    """The name of a file without the words at its ends that say the same as its folder: `ADC/P1_ADC` → `P1`."""
    words = {word.casefold() for word in _WORD.findall(folder)} | (MASK_WORDS if masks else _IMAGE_WORDS)
    return _without(stem(path.name), words)


def sequence_of(name: str) -> tuple[str, str]:
    """A name and the sequence or kind of mask at its end, in lower case: `P1_FLAIR` → `P1`, `flair`."""
    match = _SEQUENCE.match(name)
    return (match[1], match[2].casefold()) if match else (name, "")


def _without(name: str, words: set[str]) -> str:
    found = list(_WORD.finditer(name))
    while len(found) > 1 and found[-1][0].casefold() in words:
        found.pop()
    while len(found) > 1 and found[0][0].casefold() in words:
        found.pop(0)
    return name[found[0].start() : found[-1].end()] if found else name


def _key(name: str) -> str:
    plain = name.strip().casefold()
    return str(int(plain)) if plain.isascii() and plain.isdigit() and len(plain) < 4000 else plain
