"""A folder of images per class, also inside train/, val/ and test/."""

from pathlib import Path

from radapt.cohorts.draft import CohortDraft, ScanOptions, text_table
from radapt.cohorts.layouts.dicom_headers import is_dicom, looks_like_series, read_header
from radapt.cohorts.layouts.files import DICOM, NIFTI, folders_in, images_in, is_image, stem, unique
from radapt.errors import DataError

SPLIT_FOLDERS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_NOT_CLASSES = {
    "images", "masks", "mask", "labels", "segmentations", "imagestr", "labelstr", "imagests", "labelsts",
    "derivatives", "sourcedata",
}  # fmt: skip


def recognise(root: Path) -> str | None:
    classes = _class_folders(root)
    names = sorted({folder.name for _, folder in classes})
    if len(names) < 2 or any(name.lower() in _NOT_CLASSES or name.startswith("sub-") for name in names):
        return None
    images = {folder: images_in(folder) for _, folder in classes}
    if _looks_like_cases(images) or looks_like_series(images.values()):
        return None
    within = sorted({split for split, _ in classes if split})
    place = f" inside {', '.join(within)}" if within else ""
    return f"{len(names)} folders with images: {', '.join(names[:4])}{', …' if len(names) > 4 else ''}{place}"


def read(root: Path, options: ScanOptions) -> CohortDraft:
    classes = _class_folders(root)
    if len({folder.name for _, folder in classes}) < 2:
        raise DataError(f"{root} does not hold two folders of images or more, one per class.")
    found = [(split, folder.name, path) for split, folder in classes for path in images_in(folder)]
    stems = [stem(path.name) for _, _, path in found]
    if len(set(stems)) < len(stems):
        stems = unique("-".join((*path.parent.relative_to(root).parts, stem(path.name))) for _, _, path in found)
    patients = _patients([path for _, _, path in found])
    rows = [
        {"case": case, "patient": patient, "split": split, "image": str(path), "label": label}
        for case, patient, (split, label, path) in zip(stems, patients, found, strict=True)
    ]
    notes = []
    if not options.patient_regex and not all(patients):
        notes.append("Which images are of one patient is not known: every image counts as one (--patient-regex).")
    elif not options.patient_regex:
        notes.append("Patients go by pseudonyms of their DICOM headers; look at the file names before sharing.")
    names = tuple(sorted({label for _, label, _ in found}))
    return CohortDraft(options.name or root.name, "folders", text_table(rows), classes=names, notes=notes)


def _patients(paths: list[Path]) -> list[str]:
    """The pseudonyms that DICOM headers give the patients, '' for other files. One for all is an anonymiser's."""
    found = [_patient(path) for path in paths]
    return found if len(set(found)) > 1 else [""] * len(found)


def _patient(path: Path) -> str:
    try:
        header = read_header(path) if is_image(path.name, DICOM) and is_dicom(path) else None
    except DataError:  # `radapt check` tells of every broken file
        return ""
    return header.owner if header else ""


def _class_folders(root: Path) -> list[tuple[str, Path]]:
    """(split word or '', class folder) of every folder that holds images."""
    inner = folders_in(root)
    words = [SPLIT_FOLDERS.get(folder.name.lower()) for folder in inner]
    if inner and all(words) and not any(images_in(folder) for folder in inner):
        classes = [(word or "", at) for word, folder in zip(words, inner, strict=True) for at in folders_in(folder)]
    else:
        classes = [("", folder) for folder in inner]
    return [(word, folder) for word, folder in classes if images_in(folder)]


def _looks_like_cases(images: dict[Path, list[Path]]) -> bool:
    """One folder per case, not per class: volumes that are called the same in every folder, or after it."""
    if not all(is_image(path.name, NIFTI) for paths in images.values() for path in paths):
        return False
    shapes = {frozenset(path.name.replace(folder.name, "") for path in paths) for folder, paths in images.items()}
    return len(shapes) < len(images)
