"""A tree of DICOM files, grouped by the UIDs of study and series, whatever folders and files are called.

A case is a study, a modality one of its series. Cases and patients go by pseudonyms: digests of the UIDs and
ids.
"""

from collections import Counter, defaultdict
from itertools import islice
from pathlib import Path

from radapt.cohorts.cohort import Kind
from radapt.cohorts.draft import CohortDraft, ScanOptions, text_table
from radapt.cohorts.layouts import folders
from radapt.cohorts.layouts.dicom_headers import SITE_FIELDS, Header, is_dicom, read_header
from radapt.cohorts.layouts.files import DICOM, is_image, unique, walk
from radapt.cohorts.layouts.names import slug
from radapt.cohorts.problem import Problem, raise_errors
from radapt.errors import DataError, UsageError, counted, suggest

_KINDS: dict[str, Kind] = {"CT": "ct", "MR": "mri", "CR": "xray", "DX": "xray", "MG": "xray"}
_RADIOGRAPHS = ("CR", "DX", "MG")
_NOT_IMAGES = ("SEG", "RTDOSE", "RTSTRUCT", "PR", "SR", "KO", "REG")
_SAMPLED = 100

Series = list[Header]


def recognise(root: Path) -> str | None:
    if not root.is_dir():
        return None
    sample = list(islice(walk(root), _SAMPLED))
    count = sum(is_dicom(path) for path in sample)
    if not count or count * 2 < len(sample) or folders.recognise(root):
        return None
    return f"{counted(count, 'DICOM file')} among the first {len(sample)}"


def read(root: Path, options: ScanOptions) -> CohortDraft:
    if options.site and options.site not in SITE_FIELDS:
        raise UsageError(f"--site {options.site}: not a field that may be kept. {suggest(options.site, SITE_FIELDS)}")
    notes: list[str] = []
    headers = _headers(root, notes)
    if not headers:
        raise DataError(f"{root} holds no DICOM images.")
    in_folder = Counter(header.path.parent for header in headers)
    studies: dict[str, list[tuple[str, Series]]] = defaultdict(list)
    for series in _series(headers, root, notes):
        studies[series[0].study].append((_location(series, in_folder), series))
    if not studies:
        raise DataError(f"{root} holds no series that can be used. {' '.join(notes)}")
    rows = [_row(study, found, options) for study, found in sorted(studies.items())]
    kinds = {_KINDS.get(header.modality) for header in headers}
    kind = kinds.pop() if len(kinds) == 1 else None
    table = text_table(rows)
    order = sorted(map(str, table.columns), key=lambda name: (name.startswith("image:"), name))
    notes.append("No label: DICOM headers hold none; add a 'label' column to the table of cases.")
    notes.append("Cases and patients go by pseudonyms; file paths are kept as they are, look at them before sharing.")
    return CohortDraft(options.name or root.name, "dicom", table[order], kind, notes=notes)


def _headers(root: Path, notes: list[str]) -> list[Header]:
    left_out: Counter[str] = Counter()
    headers = []
    broken: list[Problem] = []
    for path in walk(root):
        if path.name.upper() == "DICOMDIR":
            continue
        if not is_dicom(path):
            left_out["no DICOM preamble"] += is_image(path.name, DICOM)
            continue
        try:
            header = read_header(path)
        except DataError as error:
            broken.append(Problem("error", "unreadable", str(error), fix="Fetch it again, or take it away."))
            continue
        if header is None or header.modality in _NOT_IMAGES:
            left_out[header.modality if header else "no image"] += 1
        else:
            headers.append(header)
    raise_errors(broken, f"The DICOM tree {root}")
    for what, count in sorted(left_out.items()):
        if count:
            notes.append(f"{counted(count, 'DICOM file')} left out ({what}).")
    return headers


def _series(headers: list[Header], root: Path, notes: list[str]) -> list[Series]:
    """Files grouped by series; the radiographs of a series one by one. Second copies in other folders are
    dropped.
    """
    groups: dict[tuple[str, str], Series] = defaultdict(list)
    for header in headers:
        single = header.instance if header.modality in _RADIOGRAPHS else ""
        groups[header.series, single].append(header)
    kept = []
    for group in groups.values():
        parts: dict[Path, Series] = defaultdict(list)
        for header in group:
            parts[header.path.parent].append(header)
        first, *others = parts.values()
        instances = {header.instance for header in first}
        if any({header.instance for header in part} != instances for part in others):
            places = ", ".join(sorted(str(folder.relative_to(root)) for folder in parts))
            notes.append(f"A series that is spread over several folders is left out ({places}); put it into one.")
            continue
        if others:
            notes.append(f"A second copy of the series in {next(iter(parts)).relative_to(root)} is left out.")
        kept.append(first)
    return kept


def _location(series: Series, in_folder: Counter[Path]) -> str:
    """A file; a folder that holds this series only; or `folder::series-<digest>`."""
    folder = series[0].path.parent
    if len(series) == 1:
        return str(series[0].path)
    return str(folder) if in_folder[folder] == len(series) else f"{folder}::series-{series[0].series}"


def _row(study: str, found: list[tuple[str, Series]], options: ScanOptions) -> dict[str, str]:
    ordered = sorted(found, key=lambda item: (item[1][0].number, item[1][0].series, item[1][0].instance))
    names = unique(_modality(series[0]) for _, series in ordered)
    first = ordered[0][1][0]
    row = {"case": study, "patient": first.patient}
    if options.site:
        row["site"] = dict(first.sites)[options.site]
    row |= {f"image:{name}": location for name, (location, _) in zip(names, ordered, strict=True)}
    return row | {"sex": first.sex, "age": first.age, "scanner": first.scanner}


def _modality(header: Header) -> str:
    if header.modality in _RADIOGRAPHS and header.view:
        return slug(f"{header.modality} {header.view}")
    return slug(header.description) or slug(f"{header.modality}-{header.number}")
