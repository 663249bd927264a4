"""The files of class folders: images, and the masks beside them or in a folder beside `images/`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from radapt.cohorts.layouts.classes.folders import ImageFolder, mask_folder
from radapt.cohorts.layouts.drawn_structures import note_other_images
from radapt.cohorts.layouts.image_files import images_in
from radapt.cohorts.layouts.mask_names import PairedImage, chosen_masks, pair
from radapt.cohorts.layouts.pairs.keys import name_keys
from radapt.errors import counted


@dataclass
class ClassFiles:
    """The images of every folder, and the mask of each image that has one."""

    images: dict[Path, list[Path]] = field(default_factory=dict)
    masks: dict[str, str] = field(default_factory=dict)


def images_and_masks(folders: Sequence[ImageFolder], notes: list[str]) -> ClassFiles:
    """Pair images and masks by name. `notes` gains what is paired and what is left out."""
    files = ClassFiles()
    paired: list[PairedImage] = []
    for folder in folders:
        images = pair(images_in(folder.path))
        files.images[folder.path] = [image.path for image in images]
        paired += images
        if beside := mask_folder(folder.path):
            files.masks |= _in_folder(beside, [image.path for image in images], notes)
    for image, mask in zip(paired, chosen_masks(paired, notes), strict=True):
        if mask:
            files.masks.setdefault(str(image.path), mask)
    note_other_images([image.path for image in paired], notes)
    return files


def _in_folder(folder: Path, images: Sequence[Path], notes: list[str]) -> dict[str, str]:
    """The masks of `folder`, by the name of the image."""
    masks = {key: str(path) for path, key in name_keys({"": images_in(folder)}, folder.name, masks=True).items()}
    keys = name_keys({"": images}, images[0].parent.name if images else "")
    found = {str(path): masks[key] for path, key in keys.items() if key in masks}
    where = f"{folder.parent.name}/{folder.name}/"
    if without := len(images) - len(found):
        notes.append(f"{counted(without, 'image')} without a mask in {where}.")
    if unused := len(masks) - len(found):
        notes.append(f"{counted(unused, 'mask')} in {where} left out: no such image.")
    return found
