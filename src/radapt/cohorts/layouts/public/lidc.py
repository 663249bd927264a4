"""LIDC-IDRI: a folder of DICOM files per CT series, and XML with the nodules that up to four radiologists read.

Follows the download of TCIA: `LIDC-IDRI-0001/<study>/<series>/1-01.dcm`, the XML in the folder of its series or apart.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from radapt.cohorts.draft import CohortDraft, ScanOptions, text_table
from radapt.cohorts.layouts.dicom.headers import is_dicom, read_header, series_digest
from radapt.cohorts.layouts.image_files import unique, walk
from radapt.cohorts.layouts.layout import Layout
from radapt.cohorts.layouts.public.matching import sampled
from radapt.dataset_cards import dataset_cards
from radapt.errors import DataError, counted
from radapt.parsing.xml import read_xml

CLASSES = ("benign", "malignant")
MASK_LABELS = {1: "nodule"}
_UNDECIDED = 3
"""Of the ratings from 1, highly unlikely to be malignant, to 5, highly suspicious."""

_PATIENT = re.compile(r"LIDC-IDRI-\d{4}")


@dataclass(frozen=True)
class Reading:
    """The malignancy ratings of all nodules of 3 mm or more in a scan, how many radiologists read it, and the XML."""

    path: Path
    ratings: tuple[int, ...]
    readers: int


def recognise(root: Path) -> str | None:
    if not root.is_dir():
        return None
    files = [name for name in sampled(root) if name.lower().endswith(".dcm")]
    patients = [found[0] for name in files if (found := _PATIENT.search(name))]
    return f"{counted(len(patients), 'DICOM file')} in folders such as {patients[0]}" if patients else None


def read(root: Path, options: ScanOptions) -> CohortDraft:
    paths = list(walk(root))
    notes: list[str] = []
    readings = _readings([path for path in paths if path.suffix.lower() == ".xml"], notes)
    folders = sorted({path.parent for path in paths if path.suffix.lower() == ".dcm" and _PATIENT.search(str(path))})
    rows: list[dict[str, str]] = []
    left: Counter[str] = Counter()
    with options.progress(len(folders), "Reading DICOM headers", "series") as advance:
        for folder in folders:
            row = _row(folder, readings, left)
            rows += [row] if row else []
            advance(1)
    if not rows:
        raise DataError(f"{root} holds no readable file of a CT series in a folder such as LIDC-IDRI-0001.")
    for row, case in zip(rows, unique(row["patient"] for row in rows), strict=True):
        row["case"] = case
    notes += [f"{count} series left out: {what}." for what, count in sorted(left.items())]
    notes += _labels_said(rows)
    card = dataset_cards()["lidc-idri"]
    source = {**card.source, "scan": " ".join(notes)}
    name = options.name or root.name
    return CohortDraft(
        name, "lidc-idri", text_table(rows), "ct", CLASSES, mask_labels=MASK_LABELS, source=source, notes=notes
    )


def _row(folder: Path, readings: dict[str, Reading], left: Counter[str]) -> dict[str, str] | None:
    """The row of a folder, which holds one series as TCIA delivers it."""
    first = next((path for path in sorted(folder.glob("*.dcm")) if is_dicom(path)), None)
    try:
        header = read_header(first) if first else None
    except DataError:
        header = None
    if header is None or header.modality != "CT":
        left["not readable" if header is None else f"{header.modality}, no CT"] += 1
        return None
    found = _PATIENT.findall(str(folder))
    reading = readings.get(header.series)
    row = {"case": "", "patient": found[-1], "image": str(folder), "label": "", "scanner": header.scanner}
    if reading is None:
        return row
    row |= {"readers": str(reading.readers), "ratings": str(len(reading.ratings))}
    if reading.readers:
        row["mask"] = f"{folder}::{{1={os.path.relpath(reading.path, folder)}}}"
    if not reading.ratings:
        return row
    middle = median(reading.ratings)
    row["malignancy"] = f"{middle:g}"
    row["label"] = "" if middle == _UNDECIDED else CLASSES[middle > _UNDECIDED]
    return row


def _labels_said(rows: Sequence[dict[str, str]]) -> list[str]:
    notes = [
        "The label is the median malignancy over all ratings of all nodules of a scan, above 3 malignant and below "
        "benign. Nodules are not matched between radiologists. The mask of a scan is where at least half of the "
        "radiologists who read it outline a nodule of 3 mm or more."
    ]
    unread = sum("readers" not in row for row in rows)
    empty = sum(row.get("ratings") == "0" for row in rows)
    undecided = sum(bool(row.get("malignancy")) and not row["label"] for row in rows)
    for count, what in (
        (unread, "without annotations"),
        (empty, "without a rated nodule"),
        (undecided, "with the median 3"),
    ):
        notes += [f"{counted(count, 'case')} {what}: no label."] if count else []
    return notes


def _readings(paths: Sequence[Path], notes: list[str]) -> dict[str, Reading]:
    """Digest of a SeriesInstanceUID → what was read in it."""
    readings: dict[str, Reading] = {}
    broken: list[str] = []
    for path in paths:
        try:
            found = _reading(path)
        except (OSError, ValueError) as error:
            broken.append(f"{path.name} ({str(error).splitlines()[0]})")
            continue
        if found:
            readings[found[0]] = found[1]
    if broken:
        notes.append(f"{counted(len(broken), 'XML file')} left out, not readable: {', '.join(broken[:3])}.")
    return readings


def _reading(path: Path) -> tuple[str, Reading] | None:
    """None for XML of a radiograph, or of something else."""
    root = read_xml(path)
    if root.tag != "LidcReadMessage":
        return None
    uid = next((item.text for item in root.iter() if item.tag.lower() == "seriesinstanceuid"), None)
    if not uid:
        raise ValueError("it names no series")
    texts = [item.text or "" for item in root.iter("malignancy")]
    ratings = tuple(int(text) for text in texts if text.strip() in ("1", "2", "3", "4", "5"))
    return series_digest(uid.strip()), Reading(path, ratings, len(list(root.iter("readingSession"))))


LAYOUT = Layout("lidc-idri", "LIDC-IDRI, DICOM with XML annotations", recognise, read, public=True)
