"""What to say of a folder or file that no layout recognises: what it holds, and the nearest fix."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile, is_zipfile

from radapt.cohorts.archives import SUFFIXES
from radapt.cohorts.image_names import is_image
from radapt.cohorts.layouts.classes.folders import IMAGE_FOLDERS, SPLIT_FOLDERS
from radapt.cohorts.layouts.image_files import files_in, folders_in, images_in
from radapt.errors import counted

_TEXTS = {".txt", ".csv", ".xlsx", ".json", ".xml", ".md", ".pdf", ""}
_BOX_FOLDERS = ("labels", "annotations", "bboxes", "boxes")
_MOST_FOLDERS = 10_000

_UNREAD_PACKS = (".h5", ".hdf5", ".hdf", ".tfrecord", ".tfrecords", ".pkl", ".pickle", ".pt", ".pth", ".lmdb", ".zarr")
"""Endings of files of arrays that radapt does not read."""


def _is_zip(path: Path) -> bool:
    try:
        return is_zipfile(path)
    except BadZipFile:  # an end that claims several disks
        return False


def seen_in(root: Path) -> str:
    if root.is_file():
        if root.suffix.lower() == ".npz" and not _is_zip(root):
            return "It is not a whole .npz file: it is empty or breaks off. Fetch it again."
        return f"It is a single file of type {''.join(root.suffixes) or 'unknown'}."
    folders, files = [path.name for path in folders_in(root)], [path.name for path in files_in(root)]
    if not folders and not files:
        return f"The folder {root} is empty."
    parts = [f"{counted(len(folders), 'folder')} ({_some(folders)})"] if folders else []
    parts += [f"{counted(len(files), 'file')} ({_some(files)})"] if files else []
    return f"{root} holds {' and '.join(parts)}."


def nearest(root: Path) -> str:
    """What would make a folder of images, or a file that packs some, a cohort; '' where nothing is known of it."""
    files = [root] if root.is_file() else files_in(root)
    inner = [folder for folder in folders_in(root) if images_in(folder)]
    if not inner and not images_in(root) and (hint := _of_packs(files)):
        return hint
    if files and not inner and all(path.name.lower().endswith((*SUFFIXES, ".7z", ".rar")) for path in files):
        return "Archives inside are not opened: unpack them, each into a folder. "
    if inner and (unread := [found for folder in folders_in(root) if (found := _unread(folder))]):
        return f"{' '.join(unread)} Convert them to NIfTI or PNG. "
    if hint := _of_boxes(root) or _of_stacks(images_in(root)):
        return hint
    if images_in(root) or any(folder.name.casefold() in IMAGE_FOLDERS for folder in inner):
        return (
            "Images alone have no labels: join a table with --layout pairs --labels TABLE --on COLUMN, or put the "
            "images into one folder per class, or masks beside them (x.png, x_mask.png). "
        )
    if len(inner) > 1:
        return (
            "If the folders are sites, visits or sequences, list the files in a table with the columns patient, image "
            "(or image:t1, image:flair, …), mask, label and site, and scan the table. "
        )
    if not inner and (same := _same_inside(folders_in(root))):
        return (
            f"The folders inside are the same ones: {_some(same)}. If those are classes, scan one folder at a time, "
            f"such as {folders_in(root)[0]}, or list the files in a table with the columns image, label and site, and "
            "scan the table. "
        )
    return "" if inner or root.is_file() else _no_image_below(root)


def _of_boxes(root: Path) -> str:
    """What to do with a folder of images and boxes, as for detectors: a JSON of COCO, or labels/ of YOLO or VOC."""
    folders = [root, *(folder for folder in folders_in(root) if folder.name.casefold() in SPLIT_FOLDERS)]
    with_images = [at for at in folders if any(images_in(inner) for inner in folders_in(at))]
    lists = [path for at in with_images for path in files_in(at) if path.suffix.lower() == ".json"]
    lists += [
        path
        for at in with_images
        for inner in folders_in(at)
        if inner.name.casefold() in _BOX_FOLDERS and not images_in(inner)
        for path in files_in(inner)[:1]
        if path.suffix.lower() in (".txt", ".xml", ".json")
    ]
    if not lists:
        return ""
    name = lists[0].relative_to(root).as_posix()
    return (
        f"Annotations such as {name} are not read: list the images in a table with the columns image and label, and "
        "scan the table. "
    )


def _of_stacks(images: Sequence[Path]) -> str:
    """What to do with arrays of many images, X_train.npy and y_train.npy."""
    if not images or any(path.suffix.lower() != ".npy" for path in images):
        return ""
    return (
        f"If {images[0].name} holds many images, save all arrays in one file with numpy.savez, as train_images, "
        "train_labels, val_images, val_labels, test_images and test_labels, and scan it as --layout medmnist. "
    )


def _no_image_below(root: Path) -> str:
    """What a folder without any image holds; '' if one lies somewhere below it."""
    endings: Counter[str] = Counter()
    for at, (_, _, files) in enumerate(os.walk(root)):
        if at > _MOST_FOLDERS or any(is_image(name) for name in files):
            return ""
        endings.update(Path(name).suffix.lower() for name in files)
    found = ", ".join(f"{count:,} {ending or 'without ending'}" for ending, count in endings.most_common(4))
    return f"No file in it has the ending of an image that radapt reads; there are {found}. " if found else ""


def _same_inside(folders: Sequence[Path]) -> list[str]:
    """The names of the folders with images inside each of `folders`, if several of these hold the same ones."""
    names = [sorted(inner.name for inner in folders_in(folder) if images_in(inner)) for folder in folders]
    return names[0] if len(names) > 1 and len(names[0]) > 1 and all(each == names[0] for each in names) else []


def _of_packs(files: Sequence[Path]) -> str:
    """How the arrays of files that pack many images become a cohort; '' without such a file."""
    if unread := [path for path in files if path.suffix.lower() in _UNREAD_PACKS]:
        return (
            f"{unread[0].suffix} files are not read: save the arrays with numpy.savez, or each image as PNG or NIfTI. "
        )
    name = next((path.name for path in files if path.suffix.lower() == ".npz" and _is_zip(path)), "")
    return name and (
        f"Of {name}, list the images in a table beside it, with the columns image ({name}::ARRAY[0], {name}::ARRAY[1], "
        "…) and label, and scan the table. "
    )


def _unread(folder: Path) -> str:
    """What a folder of files holds instead of images; '' if it holds images, or nothing of one ending."""
    endings = {path.suffix.lower() for path in files_in(folder)}
    if images_in(folder) or len(endings) != 1 or endings <= _TEXTS:
        return ""
    return f"{folder.name}/ holds {counted(len(files_in(folder)), 'file')} {endings.pop()!r}, which is no image here."


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
