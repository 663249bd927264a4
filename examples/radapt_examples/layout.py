"""A layout: images with their class in a text file beside each, `scan1.nii.gz` and `scan1.txt`."""

from pathlib import Path

from radapt.cohorts.draft import CohortDraft, ScanOptions, text_table
from radapt.cohorts.layouts import Layout
from radapt.errors import DataError

ENDING = ".nii.gz"


def recognise(root: Path) -> str | None:
    """What was seen that makes `root` this layout; None if it is another one."""
    images = sorted(root.glob(f"*{ENDING}")) if root.is_dir() else []
    if images and all(_text_beside(image).is_file() for image in images):
        return f"{len(images)} images, each with a text file of its name"
    return None


def read(root: Path, options: ScanOptions) -> CohortDraft:
    """A row for each image. Columns are those of `cases.csv`; radapt draws the splits that are missing."""
    rows = []
    for image in sorted(root.glob(f"*{ENDING}")):
        label = _text_beside(image).read_text(encoding="utf-8").strip()
        if not label:
            raise DataError(f"{_text_beside(image)} is empty; expected the class of {image.name}.")
        rows.append({"case": image.name.removesuffix(ENDING), "image": str(image), "label": label})
    classes = tuple(sorted({row["label"] for row in rows}))
    return CohortDraft(options.name or root.name, "sidecar", text_table(rows), "mri", classes)


def _text_beside(image: Path) -> Path:
    return image.with_name(image.name.removesuffix(ENDING) + ".txt")


LAYOUT = Layout("sidecar", "images with a text file beside each that names the class", recognise, read)
