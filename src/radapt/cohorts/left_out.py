"""The files of a scanned folder that no case has, counted by ending: nothing is dropped in silence."""

from collections import Counter
from pathlib import Path

from radapt.cohorts.draft import CohortDraft
from radapt.cohorts.image_names import IMAGES
from radapt.cohorts.layouts.image_files import holds_picture, is_text, walk
from radapt.errors import counted
from radapt.locations import Location
from radapt.parsing.text_header import voxel_file

_NO_IMAGES = frozenset(
    {
        "", ".txt", ".md", ".rst", ".pdf", ".html", ".csv", ".tsv", ".parquet", ".json", ".yaml", ".yml", ".xlsx",
        ".xls", ".xlsm", ".ods", ".xml",
        ".py", ".ini", ".log", ".docx", ".bval", ".bvec", ".npz",
        ".sha256", ".md5",
    }
)  # fmt: skip
_LISTED = 8
_MOST_LOOKED = 20_000
"""So many files of other endings are opened to see whether they are pictures."""


def left_out(draft: CohortDraft, root: Path) -> str:
    """How many images below `root` no case has, and how many files of endings that are not read; '' without any.

    Of files with another ending, or none, those that begin as a picture does are counted apart.
    """
    used, folders = _used(draft)
    others: Counter[str] = Counter()
    images: Counter[str] = Counter()
    pictures: Counter[str] = Counter()
    looked = unnamed = 0
    for path in walk(root, undecodable=True):
        ending = _ending(path)
        if not is_text(path):
            unnamed += 1
        elif ending in IMAGES:
            if str(path) not in used and not any(str(parent) in folders for parent in path.parents):
                images[ending] += 1
        elif str(path) not in used:
            looked += 1
            if looked <= _MOST_LOOKED and holds_picture(path):
                pictures[ending or "without ending"] += 1
            elif ending not in _NO_IMAGES:
                others[ending] += 1
    parts = []
    if unnamed:
        parts.append(f"{counted(unnamed, 'file')} left out: the name is not text in UTF-8. Rename it to use it.")
    if pictures:
        parts.append(
            f"{counted(sum(pictures.values()), 'picture')} of an ending that scan does not know left out: "
            f"{_listed(pictures)}; name them .png, .jpg or .tif, or list them in a table."
        )
    if others:
        which = "them" if sum(others.values()) > 1 else "it"
        parts.append(
            f"{counted(sum(others.values()), 'file')} left out, radapt does not read {which} here: {_listed(others)}."
        )
    if images and draft.layout != "dicom":
        parts.append(f"{counted(sum(images.values()), 'image file')} of no case left out: {_listed(images)}.")
    return " ".join(parts)


def _used(draft: CohortDraft) -> tuple[set[str], set[str]]:
    """The files that the cases have, and the folders that they have whole (a DICOM series)."""
    columns = [*draft.modalities, *(["mask"] if "mask" in draft.table else [])]
    used = {
        str(path) for column in columns for text in draft.table[column] if text for path in Location.parse(text).files
    }
    used |= {str(voxels) for path in used if (voxels := voxel_file(Path(path)))}
    return used, {path for path in used if not _ending(Path(path)) and Path(path).is_dir()}


def _ending(path: Path) -> str:
    name = path.name.lower()
    return next((ending for ending in IMAGES if name.endswith(ending)), path.suffix.lower())


def _listed(endings: Counter[str]) -> str:
    most = endings.most_common(_LISTED)
    more = ", …" if len(endings) > _LISTED else ""
    return ", ".join(f"{count} {ending}" for ending, count in most) + more
