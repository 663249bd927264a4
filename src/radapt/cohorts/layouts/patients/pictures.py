"""Folders of patients whose files are numbered: every picture is a case, or several sequences of one picture are."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from radapt.cohorts.image_names import stem
from radapt.cohorts.layouts.image_files import images_in
from radapt.cohorts.layouts.mask_names import PairedImage, chosen_masks, is_mask_name, pair
from radapt.cohorts.layouts.pairs.keys import name_keys
from radapt.cohorts.layouts.patients.group import Group
from radapt.cohorts.layouts.patients.tree import READ, PatientFolder
from radapt.errors import counted


def pictures(group: Group, notes: list[str]) -> list[dict[str, str]]:
    """Every image is a case of its patient, with the mask that is named after it.

    Pictures of the same names in the folders of several sequences are one case; where the names differ, each is a case
    with one sequence.
    """
    found = [
        _Picture(folder, outer, leaf, image)
        for folder, outer in zip(group.folders, group.outer, strict=True)
        for leaf in folder.leaves
        if not folder.is_of_masks(leaf)
        for image in _with_masks_of_folders(pair(images_in(leaf, READ)), leaf, folder)
    ]
    masks = chosen_masks([picture.image for picture in found], notes)
    sequences = sorted({picture.sequence for picture in found})
    places = _aligned_places(found)
    stems = Counter(picture.name for picture in found)
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for picture, mask in zip(found, masks, strict=True):
        place = picture.place if picture.place in places else picture.image.path.parent
        inside = "-".join([picture.folder.name, *place.relative_to(picture.folder.path).parts, picture.name])
        row = rows.setdefault(
            (picture.folder.name, picture.outer, str(place), picture.name),
            {
                "case": picture.name if stems[picture.name] == 1 else inside,
                "patient": picture.folder.name,
                "split": picture.folder.split,
                "mask": "",
                **group.columns(picture.outer),
            },
        )
        row["image" if len(sequences) == 1 else f"image:{picture.sequence or 'image'}"] = str(picture.image.path)
        row["mask"] = row["mask"] or mask
    if len(sequences) > 1 and (apart := len({picture.place for picture in found} - places)):
        notes.append(
            f"Folders of sequences hold pictures of different names in {counted(apart, 'place')}; there every picture "
            "is a case with one sequence."
        )
    return list(rows.values())


@dataclass(frozen=True)
class _Picture:
    """An image of a patient that lies in the folder `leaf`."""

    folder: PatientFolder
    outer: str
    leaf: Path
    image: PairedImage

    @property
    def name(self) -> str:
        return stem(self.image.path.name)

    @cached_property
    def place(self) -> Path:
        """The folder around that of its sequence."""
        found = self.folder.sequence_at(self.leaf)
        return found[0] if found else self.leaf

    @cached_property
    def sequence(self) -> str:
        """The sequence that its folder is named by, '' without one."""
        found = self.folder.sequence_at(self.leaf)
        return found[1] if found else ""


def _aligned_places(pictures: Sequence[_Picture]) -> set[Path]:
    """The folders whose folders of sequences all hold pictures of the same names."""
    names: dict[Path, dict[Path, set[str]]] = defaultdict(lambda: defaultdict(set))
    for picture in pictures:
        names[picture.place][picture.leaf].add(picture.name)
    return {place for place, of in names.items() if len({frozenset(each) for each in of.values()}) == 1}


def _with_masks_of_folders(images: list[PairedImage], leaf: Path, folder: PatientFolder) -> list[PairedImage]:
    """The images of a folder, also with the masks of the same names in the folders of masks inside or beside it."""
    beside = [path for path in folder.leaves if is_mask_name(path.name) and path.parent in (leaf, leaf.parent)]
    keys = name_keys({"": [image.path for image in images]}, leaf.name)
    for masks in beside if leaf not in beside else ():
        by_key = {key: path for path, key in name_keys({"": images_in(masks, READ)}, masks.name, masks=True).items()}
        kind = masks.name.casefold()
        images = [
            replace(image, masks=(*image.masks, (kind, by_key[key]))) if (key := keys[image.path]) in by_key else image
            for image in images
        ]
    return images
