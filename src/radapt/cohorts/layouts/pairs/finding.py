"""Images and their masks: `x.png` with `x_mask.png`, or `photos/x.png` with `masks/x.png`, also in train/ and test/."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from radapt.cohorts.image_names import stem
from radapt.cohorts.layouts.classes.folders import IMAGE_FOLDERS, NOT_CLASSES, SPLIT_FOLDERS
from radapt.cohorts.layouts.image_files import folders_in, images_in
from radapt.cohorts.layouts.mask_names import is_mask_name, pair, without_mask_words
from radapt.cohorts.layouts.names import kind_of, name_sequences, names_sequence
from radapt.cohorts.layouts.pairs.keys import bare_name, folder_names, name_keys, sequence_of
from radapt.cohorts.layouts.pairs.structures import structure_folders

_MOST_SEQUENCES = 12
_FIRST = ("masks", "mask", "segmentations", "labels")
"""The folders of masks that go first where there are several."""


@dataclass
class PairedCase:
    """The images of a case by sequence, '' for the only one; its masks by kind; its split, and its class and patient if
    known."""

    name: str
    split: str
    images: dict[str, Path]
    masks: list[tuple[str, Path]] = field(default_factory=list)
    label: str = ""
    patient: str = ""


@dataclass
class Pairs:
    """The cases, the names of the folders of images and of masks, and how many masks belong to no image.

    `structures` are the folders of masks that lie inside one, if there are such.
    """

    cases: list[PairedCase] = field(default_factory=list)
    image_folders: list[str] = field(default_factory=list)
    mask_folders: list[str] = field(default_factory=list)
    structures: list[str] = field(default_factory=list)
    unused: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Pairs") -> None:
        self.cases += other.cases
        self.image_folders += [name for name in other.image_folders if name not in self.image_folders]
        self.mask_folders += [name for name in other.mask_folders if name not in self.mask_folders]
        self.structures += [name for name in other.structures if name not in self.structures]
        self.unused += other.unused

    def are_likely(self) -> bool:
        """Whether most images have a mask or most masks an image, or the images lie in folders of known sequences."""
        if self.mask_folders and self.image_folders[:1] and self.image_folders[0].casefold() in IMAGE_FOLDERS:
            return True
        matched = sum(bool(case.masks) for case in self.cases)
        if not matched:
            return any(len(case.images) > 1 for case in self.cases)
        return matched * 2 >= len(self.cases) or matched >= self.unused.total()


@dataclass(frozen=True)
class _Folder:
    """A folder with files, those of its folders train/, val/ and test/, or of patients, included, by split."""

    path: Path
    files: dict[str, list[Path]]


def find_pairs(root: Path) -> Pairs:
    """The images and masks directly in `root`, in folders of it, or in its folders train/, val/ and test/."""
    inner = folders_in(root)
    splits = [SPLIT_FOLDERS.get(folder.name.lower(), "") for folder in inner]
    if not inner or not all(splits) or images_in(root):
        return _part(root, inner, "")
    found = Pairs()
    for folder, split in zip(inner, splits, strict=True):
        found.add(_part(folder, folders_in(folder), split))
    return found


def _part(root: Path, inner: Sequence[Path], split: str) -> Pairs:
    masks = [path for path in inner if is_mask_name(path.name)]
    others = [path for path in inner if not is_mask_name(path.name)]
    named = [path for path in others if path.name.casefold() in IMAGE_FOLDERS]
    owners = {without_mask_words(path.name.casefold()) for path in masks}
    if len(others) > 1 and any(path.name.casefold() in owners for path in others):
        return Pairs()  # every class has masks of its own: `ill`, `ill_masks`
    if not masks and not named and len(others) > 1 and not _are_sequences([path.name for path in others]):
        return Pairs()  # classes or patients; nothing more is listed
    images = [folder for path in named or others if (folder := _content(path, split)).files]
    if here := images_in(root):
        if images:
            return Pairs()
        images = [_Folder(root, {split: here})]
    if not images or any(folder.path.name.casefold() in NOT_CLASSES - set(IMAGE_FOLDERS) for folder in images):
        return Pairs()
    structures = _structures(images, masks)
    beside = [folder for path in structures or masks if (folder := _content(path, split)).files]
    beside.sort(key=lambda folder: (folder.path.name.casefold() not in _FIRST, folder.path.name))
    by_key = _of_one_folder(images[0], beside) if len(images) == 1 else _of_folders(images, beside)
    cases = list({id(case): case for case in by_key.values()}.values())
    names = [folder.path.name for folder in images], [folder.path.name for folder in beside]
    kinds = [path.name.casefold() for path in structures]
    return Pairs(cases, *names, kinds, _add_masks(by_key, beside)) if cases else Pairs()


def _structures(images: Sequence[_Folder], masks: Sequence[Path]) -> list[Path]:
    """The folders of structures inside the only folder of masks, beside one folder of images."""
    if len(images) != 1 or len(masks) != 1:
        return []
    files = [path for paths in images[0].files.values() for path in paths]
    return structure_folders(masks[0], files, images[0].path.name)


def _are_sequences(names: Sequence[str]) -> bool:
    """Whether names are kinds of images that one case may have, and not classes of one kind."""
    return all(kind_of([name]) for name in names) and (name_sequences(names) or not any(map(names_sequence, names)))


def _content(folder: Path, split: str) -> _Folder:
    if files := images_in(folder):
        return _Folder(folder, {split: files})
    inner = folders_in(folder)
    if split or not all(path.name.lower() in SPLIT_FOLDERS for path in inner):
        of_patients = folder.name.casefold() in IMAGE_FOLDERS or is_mask_name(folder.name)
        nested = [image for path in inner for image in images_in(path)] if of_patients else []
        return _Folder(folder, {split: nested} if nested else {})
    by_split: dict[str, list[Path]] = defaultdict(list)
    for path in inner:
        by_split[SPLIT_FOLDERS[path.name.lower()]] += images_in(path)
    return _Folder(folder, {word: paths for word, paths in by_split.items() if paths})


ByKey = dict[tuple[str, str], PairedCase]
"""Cases by their split and what their files are matched by."""


def _of_one_folder(folder: _Folder, beside: Sequence[_Folder]) -> ByKey:
    """Every image is a case, with the mask named after it; or several files are the sequences of a case."""
    owners = {path: name for paths in folder.files.values() for path, name in folder_names(paths).items()}
    paired = [
        (split, image)
        for split, paths in folder.files.items()
        for of_folder in _by_folder(paths)
        for image in pair(of_folder)
    ]
    if not beside and not any(image.masks for _, image in paired):
        return _of_other_names(folder)
    keys = name_keys(folder.files, folder.path.name)
    return {
        (split, keys[image.path]): PairedCase(
            owners[image.path].replace("/", "-") + stem(image.path.name),
            split,
            {"": image.path},
            list(image.masks),
            patient=owners[image.path].rstrip("/"),
        )
        for split, image in paired
    }


def _by_folder(paths: Sequence[Path]) -> list[list[Path]]:
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        by_folder[path.parent].append(path)
    return list(by_folder.values())


def _of_other_names(folder: _Folder) -> ByKey:
    """The cases of `P1_t1`, `P1_flair` and `P1_seg`; or of `volume-1` and `segmentation-1`; or of images alone."""
    if cases := [case for split, paths in folder.files.items() for case in _of_sequences(paths, split)]:
        return {(case.split, case.name.casefold()): case for case in cases}
    masks = {split: [path for path in paths if is_mask_name(stem(path.name))] for split, paths in folder.files.items()}
    images = {split: [path for path in paths if path not in masks[split]] for split, paths in folder.files.items()}
    if not any(images.values()):
        images, masks = masks, {}
    keys = name_keys(images, folder.path.name)
    by_key = {
        (split, keys[path]): PairedCase(stem(path.name), split, {"": path})
        for split, paths in images.items()
        for path in paths
    }
    keys = name_keys(masks, folder.path.name, masks=True)
    for split, paths in masks.items():
        for path in paths:
            if (split, keys[path]) in by_key:
                by_key[split, keys[path]].masks.append(("mask", path))
    return by_key


def _of_sequences(paths: Sequence[Path], split: str) -> list[PairedCase]:
    """Cases of files such as `P1_t1`, `P1_flair` and `P1_seg`; none if the files are not named in this way."""
    cases: dict[str, PairedCase] = {}
    counts: Counter[str] = Counter()
    for path in paths:
        name, sequence = sequence_of(stem(path.name))
        case = cases.setdefault(name.casefold(), PairedCase(name, split, {}))
        counts[sequence] += 1
        if is_mask_name(sequence):
            case.masks.append((sequence, path))
        else:
            case.images[sequence] = path
    shared = [name for name, count in counts.items() if count > 1 and count * 2 >= len(cases)]
    alike = len(shared) > 1 and sum(counts[name] for name in shared) * 5 >= len(paths) * 4
    images = [name for name in counts if not is_mask_name(name)]
    if not alike or len(counts) > _MOST_SEQUENCES or not all(images) or kind_of(images) is None:
        return []
    return [case for case in cases.values() if case.images]


def _of_folders(images: Sequence[_Folder], beside: Sequence[_Folder]) -> ByKey:
    """Folders of images with the same names are sequences; with different names, beside masks, they are classes."""
    keys = [name_keys(folder.files, folder.path.name) for folder in images]
    counts = Counter(key for of_folder in keys for key in set(of_folder.values()))
    several = sum(count > 1 for count in counts.values())
    unknown = [folder.path.name for folder in images if kind_of([folder.path.name]) is None]
    if (several and several * 2 < len(counts)) or not (several or beside):
        return {}
    if len(images) > _MOST_SEQUENCES or any(letter.isdigit() for name in unknown for letter in name):
        return {}  # they may be patients
    cases: ByKey = {}
    for folder, of_folder in zip(images, keys, strict=True):
        sequence, label = (folder.path.name.casefold(), "") if several else ("", folder.path.name)
        for split, paths in folder.files.items():
            for path in paths:
                name = bare_name(path, folder.path.name) if several else stem(path.name)
                new = PairedCase(name, split, {}, label=label)
                cases.setdefault((split, of_folder[path]), new).images[sequence] = path
    return cases


def _add_masks(cases: ByKey, beside: Sequence[_Folder]) -> Counter[str]:
    """Give the cases the masks of the folders `beside`, by name; count those without an image."""
    unused: Counter[str] = Counter()
    for folder in beside:
        keys = name_keys(folder.files, folder.path.name, masks=True)
        for split, paths in folder.files.items():
            for path in paths:
                case = cases.get((split, keys[path])) or cases.get(("", keys[path]))
                if case is None:
                    unused[folder.path.name] += 1
                else:
                    case.masks.append((folder.path.name.casefold(), path))
    return unused
