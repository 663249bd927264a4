"""A tree of DICOM files, grouped by the UIDs of study and series, whatever the names of folders and files.

A case is a study, a modality one of its series. Cases and patients are named by pseudonyms: digests of UIDs and ids.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path

from radapt.cohorts.cohort import Kind
from radapt.cohorts.draft import CohortDraft, ScanOptions, text_table
from radapt.cohorts.layouts.classes import layout as class_layout
from radapt.cohorts.layouts.dicom.cut_series import CutSeries, cut_series
from radapt.cohorts.layouts.dicom.headers import SITE_FIELDS, Header, is_dicom, study_metadata
from radapt.cohorts.layouts.dicom.identity import identified
from radapt.cohorts.layouts.dicom.series import Series, located_series, read_headers
from radapt.cohorts.layouts.image_files import unique, walk
from radapt.cohorts.layouts.layout import Layout
from radapt.cohorts.layouts.names import slug
from radapt.cohorts.modalities.series_facts import SeriesFacts
from radapt.errors import DataError, UsageError, counted, suggest

_KINDS: dict[str, Kind] = {"CT": "ct", "MR": "mri", "CR": "xray", "DX": "xray", "MG": "xray"}
_SAMPLED = 100
_NAMED = 10


def recognise(root: Path) -> str | None:
    if not root.is_dir():
        return None
    sample = list(islice(walk(root), _SAMPLED))
    count = sum(is_dicom(path) for path in sample)
    if not count or count * 2 < len(sample) or class_layout.recognise(root):
        return None
    return f"{counted(count, 'DICOM file')} among the first {len(sample)}"


def read(root: Path, options: ScanOptions) -> CohortDraft:
    if options.site and options.site not in SITE_FIELDS:
        raise UsageError(f"--site {options.site}: not a field that radapt keeps. {suggest(options.site, SITE_FIELDS)}")
    notes: list[str] = []
    headers = identified(read_headers(list(walk(root)), root, notes, options.progress), root, notes)
    if not headers:
        raise DataError(" ".join([f"{root} holds no DICOM images that are read.", *notes]))
    studies: dict[tuple[str, str], list[tuple[str, Series]]] = defaultdict(list)
    facts: dict[str, SeriesFacts] = {}
    for location, series in located_series(headers, root, notes):
        facts[location] = replace(series[0].facts, n_images=len(series))
        studies[series[0].study, series[0].patient].append((location, series))
    if not studies:
        raise DataError(f"{root} holds no usable series. {' '.join(notes)}")
    cases = unique(study for study, _ in sorted(studies))
    cut: list[tuple[str, CutSeries]] = []
    doubtful: list[str] = []
    rows = []
    for case, key in zip(cases, sorted(studies), strict=True):
        named = _named(studies[key])
        metadata, doubts = study_metadata([header for _, series in named.values() for header in series])
        rows.append(_row(case, named, options) | metadata)
        doubtful += [f"Case {case}: {doubt}." for doubt in doubts]
        cut += [(case, each) for each in cut_series({name: series for name, (_, series) in named.items()})]
    notes += [*_warnings(cut), *doubtful[:_NAMED]]
    if doubtful[_NAMED:]:
        notes.append(f"{len(doubtful) - _NAMED} more cases have files that disagree about age or sex.")
    if shared := len(studies) - len({study for study, _ in studies}):
        notes.append(f"{counted(shared, 'case')} shared a StudyInstanceUID with another patient and is kept separate.")
    kinds = {_KINDS.get(header.modality) for header in headers}
    kind = kinds.pop() if len(kinds) == 1 else None
    table = text_table(rows)
    order = sorted(map(str, table.columns), key=lambda name: (name.startswith("image:"), name))
    notes.append("No label: DICOM headers have none; join a table with --labels TABLE --on COLUMN.")
    notes.append("Cases and patients are named by pseudonyms; file paths are unchanged, check them before sharing.")
    originals = {header.patient: header.original for header in headers if header.original}
    if several := _written_in_several_ways(headers):
        notes.append(
            f"{counted(several, 'patient')} written in several ways in PatientID count as one each: ids that differ "
            "only in letter case, blanks or leading zeros are the same patient."
        )
    draft = CohortDraft(options.name or root.name, "dicom", table[order], kind, notes=notes, originals=originals)
    draft.series = facts
    return draft


def _written_in_several_ways(headers: Iterable[Header]) -> int:
    spellings: dict[str, set[str]] = defaultdict(set)
    for header in headers:
        spellings[header.patient].add(header.original)
    return sum(len(texts - {""}) > 1 for texts in spellings.values())


def _warnings(cut: list[tuple[str, CutSeries]]) -> list[str]:
    named = [f"Case {case}: {each}" for case, each in cut[:_NAMED]]
    return [*named, f"{len(cut) - _NAMED} more series may be cut; radapt check names all."] if cut[_NAMED:] else named


def _named(located: list[tuple[str, Series]]) -> dict[str, tuple[str, Series]]:
    """The series of a study by the names of their modalities."""
    ordered = sorted(located, key=lambda item: (item[1][0].number, item[1][0].series, item[1][0].instance))
    names = unique(_modality(series[0]) for _, series in ordered)
    return dict(zip(names, ordered, strict=True))


def _row(case: str, named: dict[str, tuple[str, Series]], options: ScanOptions) -> dict[str, str]:
    first = next(iter(named.values()))[1][0]
    row = {"case": case, "patient": first.patient}
    if options.site:
        row["site"] = dict(first.sites)[options.site]
    return row | {f"image:{name}": location for name, (location, _) in named.items()}


def _modality(header: Header) -> str:
    if header.is_radiograph and header.view:
        return slug(f"{header.modality} {header.view}")
    return slug(header.description) or slug(f"{header.modality}-{header.number}")


LAYOUT = Layout("dicom", "a tree of DICOM files", recognise, read, by_content=True, columns=("site",))
