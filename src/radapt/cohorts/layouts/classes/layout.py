"""A folder of images per class, or per patient inside the class, also inside train/, val/ and test/."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from radapt.cohorts.draft import CohortDraft, ScanOptions, text_table
from radapt.cohorts.image_names import DICOM, is_image, stem
from radapt.cohorts.layouts.classes.files import images_and_masks
from radapt.cohorts.layouts.classes.folders import ImageFolder, are_classes, image_folders, left_out
from radapt.cohorts.layouts.dicom.headers import Header, is_dicom, looks_like_series, read_header
from radapt.cohorts.layouts.dicom.series import located_series, read_headers
from radapt.cohorts.layouts.image_files import images_in, unique
from radapt.cohorts.layouts.layout import Layout
from radapt.cohorts.layouts.pairs.finding import find_pairs
from radapt.cohorts.layouts.patients.group import patients_of
from radapt.cohorts.layouts.patients.table import add_table
from radapt.errors import DataError, counted

_SAMPLED = 6

LocatedImage = tuple[ImageFolder, str, str]
"""The folder of an image, its location, and the patient's pseudonym from its DICOM header or ''."""


def recognise(root: Path) -> str | None:
    folders = image_folders(root)
    if (
        not are_classes(folders)
        or patients_of(root)
        or find_pairs(root).are_likely()
        or looks_like_series(_samples(folders), nested=bool(folders[0].patient))
    ):
        return None
    names = sorted({folder.label for folder in folders})
    within = sorted({folder.split for folder in folders if folder.split})
    within += sorted({folder.site for folder in folders if folder.site})
    where = f" inside {', '.join(within)}" if within else ""
    what = "of patients" if folders[0].patient else "with images"
    return f"{len(names)} folders {what}: {', '.join(names[:4])}{', …' if len(names) > 4 else ''}{where}"


def _samples(folders: Sequence[ImageFolder]) -> list[list[Path]]:
    """Some images of every class, of different patients where folders name them."""
    samples: dict[str, list[Path]] = defaultdict(list)
    for folder in folders:
        sample = samples[folder.split + "/" + folder.label]
        if len(sample) < _SAMPLED:
            sample += images_in(folder.path)[: 1 if folder.patient else _SAMPLED]
    return list(samples.values())


def read(root: Path, options: ScanOptions) -> CohortDraft:
    folders = image_folders(root)
    names = tuple(sorted({folder.label for folder in folders}))
    if len(names) < 2:
        raise DataError(f"{root} holds fewer than two folders of images; expected one per class.")
    notes: list[str] = []
    nested = bool(folders[0].patient)
    files = images_and_masks(folders, notes)
    paths = [(folder, path) for folder in folders for path in files.images[folder.path]]
    originals: dict[str, str] = {}
    images = _series(paths, root, options, notes, originals) if nested else _files(paths, options, originals)
    patients = _patients(images)
    cases = [stem(Path(location.partition("::")[0]).name) for _, location, _ in images]
    if len(set(cases)) < len(cases):
        cases = unique(_name(root, location) for _, location, _ in images)
    rows = [
        {"case": case, "patient": patient, "split": folder.split, "image": location, "label": folder.label}
        | ({"site": folder.site} if folder.site else {})
        | ({"mask": files.masks.get(location, "")} if files.masks else {})
        for case, patient, (folder, location, _) in zip(cases, patients, images, strict=True)
    ]
    if not options.patient_regex:
        notes += _notes(images, patients)
    if sites := sorted({folder.site for folder in folders if folder.site}):
        notes.append(f"Assumed: the folders {', '.join(sites)} are sites, and those inside them classes.")
    if not nested and (passed := left_out(folders)):
        notes.append(f"{counted(passed, 'folder')} of images inside the class folders left out.")
    draft = CohortDraft(options.name or root.name, "folders", text_table(rows), classes=names, notes=notes)
    draft.originals = {name: originals[name] for name in set(patients) & set(originals)}
    add_table(draft, root, options)
    return draft


def _files(
    paths: Sequence[tuple[ImageFolder, Path]], options: ScanOptions, originals: dict[str, str]
) -> list[LocatedImage]:
    """Every file is an image."""
    with options.progress(len(paths), "Reading image headers", "files") as advance:
        images = []
        for folder, path in paths:
            images.append((folder, str(path), _pseudonym(path, originals)))
            advance(1)
    return images


def _pseudonym(path: Path, originals: dict[str, str]) -> str:
    try:
        header = read_header(path) if is_image(path.name, DICOM) and is_dicom(path) else None
    except DataError:  # `radapt check` reports broken files
        return ""
    return _owner(header, originals) if header else ""


def _owner(header: Header, originals: dict[str, str]) -> str:
    """The patient's pseudonym; `originals` gains the id behind it."""
    if header.original:
        originals[header.owner] = header.original
    return header.owner


def _series(
    files: Sequence[tuple[ImageFolder, Path]],
    root: Path,
    options: ScanOptions,
    notes: list[str],
    originals: dict[str, str],
) -> list[LocatedImage]:
    """Every file is an image, except that a DICOM series is one image."""
    single = [(folder, str(path), "") for folder, path in files if not is_image(path.name, DICOM)]
    of_folder = {folder.path: folder for folder, _ in files}
    slices = [path for _, path in files if is_image(path.name, DICOM)]
    headers = read_headers(slices, root, notes, options.progress)
    series = [
        (of_folder[headers[0].path.parent], location, _owner(headers[0], originals))
        for location, headers in located_series(headers, root, notes)
    ]
    return sorted(single + series, key=lambda images: images[1])


def _patients(images: Sequence[LocatedImage]) -> list[str]:
    """Patients by the pseudonyms of DICOM headers, '' for other files; images in one patient folder stay together.

    A single pseudonym for all images comes from an anonymiser and is ignored.
    """
    pseudonyms = [pseudonym for *_, pseudonym in images]
    if len(set(pseudonyms)) < 2:
        pseudonyms = [""] * len(images)
    of_folder: dict[Path, str] = {}
    for (folder, *_), pseudonym in zip(images, pseudonyms, strict=True):
        if folder.patient and pseudonym:
            of_folder.setdefault(folder.path, pseudonym)
    return [
        of_folder.get(folder.path, folder.patient) or pseudonym
        for (folder, *_), pseudonym in zip(images, pseudonyms, strict=True)
    ]


def _name(root: Path, location: str) -> str:
    path, _, inside = location.partition("::")
    parts = (*Path(path).parent.relative_to(root).parts, stem(Path(path).name), *([inside] if inside else []))
    return "-".join(parts)


def _notes(images: Sequence[LocatedImage], patients: Sequence[str]) -> list[str]:
    """Notes on what is assumed about patients."""
    if not images[0][0].patient:
        if not all(patients):
            return []
        return ["Patients are named by pseudonyms from DICOM headers; check the file names before sharing."]
    dicom = any(pseudonym for *_, pseudonym in images)
    what = (
        "every file in it an image, a DICOM series one image (else --layout dicom)"
        if dicom
        else "every file in it an image"
    )
    notes = [f"Assumed: a folder inside that of a class is a patient, {what}. Check the names before sharing."]
    places: dict[str, dict[str, set[str]]] = {
        "in several classes": defaultdict(set),
        "at several sites": defaultdict(set),
    }
    for (folder, *_), patient in zip(images, patients, strict=True):
        for seen, place in zip(places.values(), (folder.label, folder.site), strict=True):
            seen[patient].add(place)
    for where, seen in places.items():
        if several := sum(len(names) > 1 for names in seen.values()):
            what = "folders of the same name count as one patient; rename them if they are not"
            notes.append(f"{counted(several, 'patient')} {where}: {what}.")
    return notes


LAYOUT = Layout("folders", "a folder of images per class, or per class and patient", recognise, read, by_content=True)
