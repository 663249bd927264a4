"""Brain tumours by Cheng et al.: one MATLAB 7.3 file per slice, with label, patient, image and mask inside."""

from collections import Counter
from itertools import islice
from pathlib import Path

from radapt.cohorts.draft import CohortDraft, ScanOptions, text_table
from radapt.cohorts.layouts.image_files import unique, walk
from radapt.cohorts.layouts.layout import Layout
from radapt.dataset_cards import dataset_cards
from radapt.errors import DataError, counted
from radapt.parsing.matlab import HDF5, MAGIC, open_matlab, text_of

CLASSES = ("meningioma", "glioma", "pituitary tumour")
"""In the order of the public labels 1, 2 and 3."""

_SAMPLED = 200


def recognise(root: Path) -> str | None:
    if not root.is_dir():
        return None
    files = [path for path in islice(walk(root), _SAMPLED) if path.suffix == ".mat" and path.stem.isdigit()]
    if not files or not _is_slice(files[0]):
        return None
    return f"{files[0].name} with the variable cjdata"


def read(root: Path, options: ScanOptions) -> CohortDraft:
    paths = [path for path in walk(root) if path.suffix == ".mat" and path.stem.isdigit()]
    rows: list[dict[str, str]] = []
    broken: list[str] = []
    unknown: Counter[str] = Counter()
    with options.progress(len(paths), "Reading MATLAB files", "files") as advance:
        for path in sorted(paths, key=lambda item: (int(item.stem), item)):
            try:
                rows.append(_row(path, unknown))
            except DataError as error:
                broken.append(str(error))
            advance(1)
    if not rows:
        raise DataError(f"{root} holds no readable file with the variable cjdata. {' '.join(broken[:1])}")
    for row, case in zip(rows, unique(row["case"] for row in rows), strict=True):
        row["case"] = case
    notes = [f"{counted(len(broken), 'file')} left out: {broken[0]}"] if broken else []
    notes += [f"{counted(count, 'case')} with the unknown label {label!r}." for label, count in unknown.items()]
    card = dataset_cards()["cheng"]
    source = {**card.source, **({"scan": " ".join(notes)} if notes else {})}
    draft = CohortDraft(
        options.name or root.name, "cheng", text_table(rows), "mri", CLASSES, source=source, notes=notes
    )
    draft.mask_labels = {1: "tumour"}
    return draft


def _row(path: Path, unknown: Counter[str]) -> dict[str, str]:
    with open_matlab(path) as file:
        label, patient = text_of(file, "cjdata/label", path), text_of(file, "cjdata/PID", path)
        masked = "tumorMask" in file["cjdata"]
    number = int(label) - 1 if label in ("1", "2", "3") else None
    unknown[label] += number is None
    return {
        "case": path.stem,
        "patient": patient,
        "image": f"{path}::cjdata/image",
        "mask": f"{path}::cjdata/tumorMask" if masked else "",
        "label": "" if number is None else CLASSES[number],
    }


def _is_slice(path: Path) -> bool:
    """Whether a file is a slice of the set: names of variables are plain text in it, so that h5py is not needed."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return content.startswith((MAGIC, HDF5)) and b"cjdata" in content


LAYOUT = Layout("cheng", "brain tumours by Cheng et al.", recognise, read, public=True)
