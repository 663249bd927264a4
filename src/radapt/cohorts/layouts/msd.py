"""Medical Segmentation Decathlon: dataset.json with imagesTr/ and labelsTr/ (Antonelli et al., 2022).

A file with several modalities has four dimensions; each becomes `file.nii.gz::channels[k]`.
"""

from pathlib import Path
from typing import Any

from radapt.cohorts.draft import CohortDraft, ScanOptions, text_table
from radapt.cohorts.image_names import is_image, stem
from radapt.cohorts.layouts.descriptions import (
    channels,
    has_description,
    is_nnunet,
    mask_labels,
    masks_in,
    note_masks,
    read_description,
    source_of,
)
from radapt.cohorts.layouts.image_files import files_in, unique
from radapt.cohorts.layouts.layout import Layout
from radapt.cohorts.layouts.names import kind_of, slug
from radapt.errors import DataError, counted


def recognise(root: Path) -> str | None:
    return "dataset.json that lists the files of imagesTr/" if has_description(root) and not is_nnunet(root) else None


def read(root: Path, options: ScanOptions) -> CohortDraft:
    content, notes = read_description(root), list[str]()
    names = channels(content, root / "dataset.json")
    listed = [
        (split, *_pair(root, entry))
        for key, split in (("training", ""), ("validation", "val"))
        for entry in _listed(root, content, key)
    ]
    present = [(split, image, mask) for split, image, mask in listed if image.is_file()]
    if not present:
        raise DataError(
            f"{root / 'dataset.json'} lists {counted(len(listed), 'training image')}, none of which exists."
        )
    if missing := len(listed) - len(present):
        notes.append(f"{counted(missing, 'image')} listed in dataset.json left out: no such file.")
    unmasked = [path for path in files_in(root / "imagesTs") if is_image(path.name)]
    if unmasked:
        notes.append(f"{counted(len(unmasked), 'image')} in imagesTs/ left out: no mask.")
    cases = unique(stem(image.name) for _, image, _ in present)
    rows = [
        {"case": case, "split": split, **_images(image, names), "mask": _existing(mask)}
        for case, (split, image, mask) in zip(cases, present, strict=True)
    ]
    note_masks(root, rows, notes)
    labels = mask_labels(content, notes)
    name = options.name or root.name
    return CohortDraft(name, "msd", text_table(rows), kind_of(names), (), False, labels, source_of(content), notes)


def _listed(root: Path, content: dict[str, Any], key: str) -> list[Any]:
    entries = content.get(key) or []
    if not isinstance(entries, list):
        raise DataError(f"{root / 'dataset.json'}: '{key}' must be a list.")
    return entries


def _pair(root: Path, entry: Any) -> tuple[Path, Path]:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("image", "label")):
        raise DataError(f"{root / 'dataset.json'}: a training entry must name an 'image' and a 'label', not {entry!r}.")
    return root / entry["image"].removeprefix("./"), root / entry["label"].removeprefix("./")


def _existing(mask: Path) -> str:
    """The mask, also under another ending; '' if there is none."""
    return str(mask) if mask.is_file() else masks_in(mask.parent).get(stem(mask.name), "")


def _images(image: Path, names: list[str]) -> dict[str, str]:
    if len(names) == 1:
        return {"image": str(image)}
    columns = unique(slug(name) or f"channel-{at}" for at, name in enumerate(names))
    return {f"image:{name}": f"{image}::channels[{at}]" for at, name in enumerate(columns)}


LAYOUT = Layout("msd", "Medical Segmentation Decathlon", recognise, read)
