"""The columns of a table that name images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from radapt.cohorts.layouts.id_columns import most_like_ids
from radapt.cohorts.layouts.image_finder import ImageFinder
from radapt.cohorts.layouts.joining import join_key
from radapt.cohorts.layouts.tables import is_patient_word
from radapt.errors import DataError

_MASK_WORDS = ("mask", "seg")


@dataclass(frozen=True)
class ImageColumn:
    """A column of images: its name in the table, and `image`, `image:<name>` or `mask` in the cohort.

    `is_patient` marks a column of patients whose images bear their names.
    """

    name: str
    role: str
    is_patient: bool = False


def image_columns(
    columns: Mapping[str, Sequence[str]], finder: ImageFinder, *, tolerant: bool = False
) -> list[ImageColumn]:
    """The columns that name images, by the names of the contract or by what is in them.

    File names without their ending count where no column holds paths; `tolerant` as in `ImageFinder.are_stems`.
    """
    contract = [
        ImageColumn(name, name)
        for name in columns
        if name in ("image", "mask") or (name.startswith("image:") and len(name) > len("image:"))
    ]
    if any(column.role != "mask" for column in contract):
        return contract
    named = [name for name, cells in columns.items() if finder.names_images(cells)]
    masks = [name for name in named if any(word in name.lower() for word in _MASK_WORDS)]
    images = [name for name in named if name not in masks]
    if not images:
        return [ImageColumn(name, "image", is_patient_word(name)) for name in _stems(columns, finder, tolerant)[:1]]
    roles = {name: "image" if len(images) == 1 else f"image:{name.replace(':', '-')}" for name in images}
    roles |= dict.fromkeys(masks[:1], "mask")
    return [ImageColumn(name, role) for name, role in roles.items()]


def _stems(columns: Mapping[str, Sequence[str]], finder: ImageFinder, tolerant: bool) -> list[str]:
    """The columns of file names without their ending, those whose names say so; a running number may look like one."""
    return most_like_ids([name for name, cells in columns.items() if finder.are_stems(cells, tolerant=tolerant)])


def refuse_header(image: ImageColumn, cells: Sequence[str], finder: ImageFinder, path: Path) -> None:
    """Raise DataError if the name of a column of images is that of an image itself: its first one would be lost."""
    if image.name == image.role:
        return
    if finder.names_images([image.name]) or (not finder.names_images(cells) and finder.are_stems([image.name])):
        raise DataError(
            f"The first line of {path} names the image {image.name!r}, so the table has no header. Put a line above "
            "it that names the columns, such as image,label."
        )


def refuse_rivals(image: ImageColumn, columns: Mapping[str, Sequence[str]], finder: ImageFinder, path: Path) -> None:
    """Raise DataError if a second column names the images of other rows as well."""
    keys = {name: [join_key(text) for text in columns[name]] for name in _stems(columns, finder, tolerant=True)}
    own = keys.get(image.name)
    if own and (rivals := [name for name, others in keys.items() if len(set(others)) == len(others) and others != own]):
        raise DataError(
            f"{path}: the columns {' and '.join(map(repr, sorted([image.name, *rivals])))} all name the images, but "
            "each in other rows. Rename the right one to 'image'."
        )
