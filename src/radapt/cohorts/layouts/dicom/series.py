"""DICOM files → series, each a volume, and the location to read it from."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from radapt.cohorts.image_names import DICOM, is_image
from radapt.cohorts.issue import CohortIssue, raise_errors
from radapt.cohorts.layouts.dicom.headers import Header, is_dicom, read_header, series_digest
from radapt.errors import DataError, counted
from radapt.progress import ProgressMaker

_NOT_IMAGES = ("SEG", "RTDOSE", "RTSTRUCT", "PR", "SR", "KO", "REG")

Series = list[Header]


def read_headers(paths: Sequence[Path], root: Path, notes: list[str], progress: ProgressMaker) -> list[Header]:
    """The headers of the images among `paths`. Raises a DataError that lists every broken file."""
    left_out: Counter[str] = Counter()
    headers = []
    broken: list[CohortIssue] = []
    with progress(len(paths), f"Reading headers of {root.name}", "files") as advance:
        for path in paths:
            try:
                header = _read(path, left_out)
            except DataError as error:
                broken.append(CohortIssue("error", "unreadable", str(error), fix="Download it again, or remove it."))
                header = None
            if header:
                headers.append(header)
            advance(1)
    raise_errors(broken, f"The DICOM tree {root}")
    for what, count in sorted(left_out.items()):
        if count:
            notes.append(f"{counted(count, 'DICOM file')} left out ({what}).")
    return headers


def _read(path: Path, left_out: Counter[str]) -> Header | None:
    if path.name.upper() == "DICOMDIR":
        return None
    if not is_dicom(path):
        left_out["no DICOM preamble"] += is_image(path.name, DICOM)
        return None
    header = read_header(path)
    if header is None or header.modality in _NOT_IMAGES:
        left_out[header.modality if header else "no image"] += 1
        return None
    if header.is_localizer:
        left_out["localizer"] += 1
        return None
    return header


def located_series(headers: Sequence[Header], root: Path, notes: list[str]) -> list[tuple[str, Series]]:
    """(location, files) of every series that can be read on its own; each other series gives a note.

    A location is a file, a folder that holds one series only, or `folder::series-<digest>`.
    """
    in_folder = Counter(header.path.parent for header in headers)
    same_uid = Counter((header.path.parent, header.series) for header in headers)
    located = []
    for series in _series(headers, root, notes):
        folder, uid = series[0].path.parent, series[0].series
        if len(series) == 1:
            located.append((str(series[0].path), series))
        elif in_folder[folder] == len(series):
            located.append((str(folder), series))
        elif same_uid[folder, uid] == len(series):
            located.append((f"{folder}::series-{uid or series_digest('')}", series))
        else:
            what = "is also that of another patient" if uid else "is empty, as that of another patient"
            where = f"{counted(len(series), 'file')} in {folder.relative_to(root)} left out"
            notes.append(f"{where}: their SeriesInstanceUID {what}. Give every patient a folder.")
    return located


def _series(headers: Sequence[Header], root: Path, notes: list[str]) -> list[Series]:
    """Files grouped by series and patient (by folder where the series UID is empty); radiographs one by one.

    Copies in other folders are dropped.
    """
    groups: dict[tuple[str, str, str], Series] = defaultdict(list)
    for header in headers:
        series = header.series or str(header.path.parent)
        groups[series, header.patient, header.instance if header.is_radiograph else ""].append(header)
    complete = []
    for group in groups.values():
        by_folder: dict[Path, Series] = defaultdict(list)
        for header in group:
            by_folder[header.path.parent].append(header)
        first, *others = by_folder.values()
        instances = {header.instance for header in first}
        if any({header.instance for header in copy} != instances for copy in others):
            where = ", ".join(sorted(str(folder.relative_to(root)) for folder in by_folder))
            notes.append(f"A series that is spread over several folders is left out ({where}); put it into one folder.")
            continue
        if others:
            notes.append(f"A second copy of the series in {next(iter(by_folder)).relative_to(root)} is left out.")
        complete.append(first)
    return complete
