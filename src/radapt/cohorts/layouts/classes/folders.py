"""The class folders of a tree: `class/`, `class/patient/`, or these inside train/, val/ and test/, or inside sites."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from radapt.cohorts.image_names import VOLUMES, is_image, stem
from radapt.cohorts.layouts.image_files import folders_in, images_in
from radapt.cohorts.layouts.mask_names import MASK_WORDS, without_mask_words
from radapt.cohorts.layouts.names import kind_of, names_sequence

SPLIT_FOLDERS = {
    "train": "train", "training": "train", "train set": "train", "train_set": "train", "trainset": "train",
    "val": "val", "valid": "val", "validation": "val", "validierung": "val", "dev": "val", "val_set": "val",
    "test": "test", "testing": "test", "test set": "test", "test_set": "test", "testset": "test",
}  # fmt: skip
NOT_CLASSES = {
    "images", "masks", "mask", "labels", "segmentations", "imagestr", "labelstr", "imagests", "labelsts",
    "derivatives", "sourcedata",
}  # fmt: skip
IMAGE_FOLDERS = ("images", "image", "imgs", "img")
_CLASS_WORDS = {
    "normal", "abnormal", "healthy", "sick", "ill", "well", "control", "controls", "benign", "malignant", "cancer",
    "tumor", "tumour", "notumor", "positive", "negative", "pos", "neg", "pneumonia", "covid", "covid19", "noncovid",
    "tuberculosis", "tb", "nofinding", "finding", "disease", "diseased", "yes", "no",
}  # fmt: skip
"""Words in the names of classes; where every folder holds the same folders, they say which of the two are classes."""


@dataclass(frozen=True)
class ImageFolder:
    """A folder with images of one class, and of one patient or site if it lies in one's; '' where unknown."""

    path: Path
    label: str
    split: str = ""
    patient: str = ""
    site: str = ""


def image_folders(root: Path) -> list[ImageFolder]:
    """The class folders; or the patient folders inside them, if no class folder holds images itself."""
    classes = _class_folders(root)
    with_masks = [_inner_images(folder) for folder in classes]
    if with_masks and all(with_masks):
        return [folder for folder in with_masks if folder]
    plain = [folder for folder in classes if images_in(folder.path)]
    if plain:
        return plain
    return [
        replace(folder, path=inner, patient=inner.name)
        for folder in classes
        for inner in folders_in(folder.path)
        if images_in(inner)
    ]


def mask_folder(images: Path) -> Path | None:
    """The folder of masks beside a folder called `images`, or named after it (`ill`, `ill_masks`); None without one."""
    if images.name.casefold() in IMAGE_FOLDERS:
        return next((path for path in folders_in(images.parent) if path.name.casefold() in MASK_WORDS), None)
    return next((path for path in folders_in(images.parent) if _owner(path.name) == images.name.casefold()), None)


def _owner(name: str) -> str:
    """The folder that a folder of masks is named after, in lower case; '' for another name."""
    owner = without_mask_words(name.casefold())
    return owner if owner != name.casefold() else ""


def _inner_images(folder: ImageFolder) -> ImageFolder | None:
    """`class/images` of a class folder that has masks beside it."""
    inner = [path for path in folders_in(folder.path) if path.name.casefold() in IMAGE_FOLDERS and images_in(path)]
    if len(inner) != 1 or images_in(folder.path) or mask_folder(inner[0]) is None:
        return None
    return replace(folder, path=inner[0])


def left_out(taken: Sequence[ImageFolder]) -> int:
    """The number of folders directly inside `taken` that hold images."""
    return sum(bool(images_in(inner)) for folder in taken for inner in folders_in(folder.path))


def are_classes(folders: Sequence[ImageFolder]) -> bool:
    """Whether the folders look like classes, and patients inside them, rather than cases or parts of a case."""
    labels = {folder.label for folder in folders}
    if len(labels) < 2 or all(name.lower() in SPLIT_FOLDERS for name in labels):
        return False
    if any(name.lower() in NOT_CLASSES or name.startswith("sub-") for name in labels):
        return False
    if len(labels) == 2 and any(name.casefold() in MASK_WORDS for name in labels):  # `imgs` and `segs` are a pair
        return False
    if any(folder.patient.lower() in NOT_CLASSES | set(SPLIT_FOLDERS) for folder in folders):
        return False
    return not _same_words_everywhere(folders) and not _hold_cases(folders)


def split_folders(root: Path) -> list[tuple[Path, str]]:
    """The folders in `root` without a split, or those in its folders train/, val/ and test/ with theirs."""
    inner = folders_in(root)
    words = [SPLIT_FOLDERS.get(folder.name.lower(), "") for folder in inner]
    if inner and all(words) and not any(images_in(folder) for folder in inner):
        pairs = zip(words, inner, strict=True)
        return [(path, split) for split, folder in pairs for path in folders_in(folder)]
    return [(folder, "") for folder in inner]


def _class_folders(root: Path) -> list[ImageFolder]:
    """`class`, `split/class`, `class/split`, or any of the first two inside folders that are sites."""
    outer = _in_splits(root)
    if not outer or any(images_in(folder.path) for folder in outer):
        return outer
    inner = [(folder, path) for folder in outer for path in folders_in(folder.path)]
    names = {path.name.casefold() for _, path in inner}
    if names and names <= SPLIT_FOLDERS.keys() and not any(folder.split for folder in outer):
        return [replace(folder, path=path, split=SPLIT_FOLDERS[path.name.casefold()]) for folder, path in inner]
    if _are_sites({folder.label for folder in outer}, [{path.name for path in folders_in(f.path)} for f in outer]):
        return [ImageFolder(path, path.name, folder.split, site=folder.label) for folder, path in inner]
    return outer


def _are_sites(outer: set[str], inner: Sequence[set[str]]) -> bool:
    """Whether folders that hold the same folders are sites, and those classes: their names say so, and no kind."""
    every = set().union(*inner)
    return (
        len(outer) > 1
        and len(every) > 1
        and every in inner
        and any(map(_names_class, every))
        and not any(map(_names_class, outer))
        and not any(kind_of([name]) or names_sequence(name) for name in outer)
    )


def _names_class(name: str) -> bool:
    return not _CLASS_WORDS.isdisjoint(re.split(r"[\W_]+", name.casefold()))


def _in_splits(root: Path) -> list[ImageFolder]:
    found = split_folders(root)
    names = {(path.parent, path.name.casefold()) for path, _ in found}
    return [
        ImageFolder(path, path.name, split) for path, split in found if (path.parent, _owner(path.name)) not in names
    ]


def _same_words_everywhere(folders: Sequence[ImageFolder]) -> bool:
    """`north/ill`, `north/well`, `south/ill`, `south/well`: the inner folders are the classes, not patients."""
    inside: dict[str, set[str]] = defaultdict(set)
    for folder in folders:
        inside[folder.label].add(folder.patient)
    first, *others = inside.values()
    return "" not in first and all(names == first for names in others) and not any(map(_has_digit, first))


def _has_digit(name: str) -> bool:
    return any(letter.isdigit() for letter in name)


def _hold_cases(folders: Sequence[ImageFolder]) -> bool:
    """Whether every folder is a case: its volumes have the same names in every folder, or that of the folder."""
    images = {folder.path: images_in(folder.path) for folder in folders}
    if not all(is_image(path.name, VOLUMES) for paths in images.values() for path in paths):
        return False
    if all(folder.patient for folder in folders) and all(len(paths) == 1 for paths in images.values()):
        return False
    if all(_numbers_its_images(folder, paths) for folder, paths in images.items()):
        return False
    shapes = {frozenset(path.name.replace(folder.name, "") for path in paths) for folder, paths in images.items()}
    return len(shapes) < len(images)


def _numbers_its_images(folder: Path, paths: Sequence[Path]) -> bool:
    """Whether a folder without a number holds several images named after it and numbered: `benign/benign_01.nii.gz`."""
    rests = [stem(path.name).replace(folder.name, "", 1) for path in paths if folder.name in path.name]
    numbered = [rest for rest in rests if _has_digit(rest) and not any(map(str.isalpha, rest))]
    return len(numbered) == len(paths) > 1 and not _has_digit(folder.name)
