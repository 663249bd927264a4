"""dataset.json of the Medical Segmentation Decathlon and of nnU-Net: reading it, and the fields that both share."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from radapt.cohorts.image_names import stem
from radapt.cohorts.layouts.image_files import images_in
from radapt.errors import DataError, counted


def read_description(root: Path) -> dict[str, Any]:
    """dataset.json of the folder `root`. Raises DataError if it is not a JSON object."""
    path = root / "dataset.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold a JSON object.")
    return content


def has_description(root: Path) -> bool:
    return root.is_dir() and (root / "dataset.json").is_file() and (root / "imagesTr").is_dir()


def is_nnunet(root: Path) -> bool:
    """Whether file names carry the channel (`CASE_0000.nii.gz`, nnU-Net); the Decathlon lists the files themselves."""
    try:
        content = read_description(root)
    except DataError:
        return False
    if "channel_names" in content or "file_ending" in content:
        return True
    for entry in _entries(content.get("training")):
        image = entry.get("image", "") if isinstance(entry, dict) else entry
        return not (root / str(image)).is_file()
    return True


def channels(content: dict[str, Any], path: Path) -> list[str]:
    """Channel names in order, from `channel_names` (nnU-Net 2) or `modality` (Decathlon, nnU-Net 1)."""
    named = content.get("channel_names", content.get("modality"))
    try:
        names = {int(key): str(value).strip() or key for key, value in named.items()}  # type: ignore[union-attr]
    except (AttributeError, ValueError, TypeError):
        names = {}
    if not names or sorted(names) != list(range(len(names))):
        raise DataError(f"{path}: 'modality' or 'channel_names' must name the channels '0', '1', …")
    return [names[at] for at in range(len(names))]


def mask_labels(content: dict[str, Any], notes: list[str]) -> dict[int, str]:
    """{1: 'tumour'} from `labels`, which maps number → name in the Decathlon and name → number in nnU-Net 2."""
    labels = content.get("labels")
    if not isinstance(labels, dict):
        return {}
    names: dict[int, str] = {}
    regions = []
    for key, value in labels.items():
        if str(key).isdigit() and isinstance(value, str):
            names[int(key)] = value
        elif isinstance(value, int) or (isinstance(value, str) and value.isdigit()):
            names[int(value)] = str(key)
        else:
            regions.append(str(key))
    for number in [number for number, name in names.items() if name.casefold() == "ignore"]:
        del names[number]
        notes.append(
            f"The label {number} is 'ignore', which marks voxels without an annotation and is no structure. radapt "
            f"cannot leave voxels out, so that `radapt check` refuses masks that hold {number}: annotate these voxels, "
            "or leave out their cases."
        )
    if regions:
        notes.append(f"Regions of several labels are left out: {', '.join(regions)}.")
    return {number: name for number, name in sorted(names.items()) if number != 0}


def masks_in(folder: Path) -> dict[str, str]:
    """Case → mask, whatever the ending of the file."""
    return {stem(path.name): str(path) for path in images_in(folder)}


def note_masks(root: Path, rows: Sequence[Mapping[str, str]], notes: list[str]) -> None:
    """Say how many cases have no mask, and how many masks of labelsTr/ belong to no case."""
    used = {row["mask"] for row in rows}
    if without := sum(not row["mask"] for row in rows):
        notes.append(f"{counted(without, 'case')} without a mask in labelsTr/.")
    if unused := sum(path not in used for path in masks_in(root / "labelsTr").values()):
        notes.append(f"{counted(unused, 'mask')} in labelsTr/ left out: no such image.")


def source_of(content: dict[str, Any]) -> dict[str, str]:
    pairs = {
        "title": content.get("name") or content.get("description"),
        "licence": content.get("licence") or content.get("license"),
        "url": content.get("reference"),
        "version": content.get("release"),
    }
    return {key: " ".join(str(value).split()) for key, value in pairs.items() if value}


def _entries(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
