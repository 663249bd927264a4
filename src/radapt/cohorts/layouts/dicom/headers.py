"""The few DICOM header fields that identify a file's series; pixels are never read.

Names, ids, dates and accession numbers of patients are written only as digests.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from pydicom.multival import MultiValue

from radapt.cohorts.layouts.dicom.slice_facts import PRIVATE_TAGS, SLICE_TAGS, SliceFacts, slice_facts
from radapt.cohorts.modalities.series_facts import SeriesFacts
from radapt.cohorts.patient_key import patient_key
from radapt.errors import DataError
from radapt.parsing.dicom import dcmread
from radapt.secret import secret_key

_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID",
    "SeriesInstanceUID", "SeriesDescription", "SeriesNumber", "InstanceNumber", "Modality", "ViewPosition", "Rows",
    "PatientSex", "PatientAge", "Manufacturer", "ManufacturerModelName", "InstitutionName", "StationName",
    "ImageType", "EchoTime", "RepetitionTime", "InversionTime", "DiffusionBValue", "ContrastBolusAgent",
    "StudyDate", "SeriesDate", "AcquisitionDate",
    *SLICE_TAGS,
]  # fmt: skip
SITE_FIELDS = ("InstitutionName", "StationName", "Manufacturer", "ManufacturerModelName")
RADIOGRAPHS = ("CR", "DX", "MG")
_SEXES = ("M", "F", "O")
_AGE = re.compile(r"[0-9]{3}[DWMY]")
"""What DICOM allows in PatientAge. Other text may be anything, a name too, and is not kept."""

_DATE = re.compile(r"[0-9]{8}")
_OLDEST_YEARS = 120
_SCOUT = re.compile(r"\b(scouts?|locali[sz]ers?|loc|survey|topogram|scanogram|(3|three)[ -]?plane)\b", re.IGNORECASE)
_NO_CONTRAST = ("", "no", "none", "n/a", "na", "ohne", "without")
_INTEGER = re.compile(r"-?[0-9]{1,9}")
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]*)?")
_MAGIC_AT = 128
_SAMPLED = 6
_DIGEST_BYTES = 8  # two of 100,000 patients share 64 bits once in 3.7 billion cohorts


@dataclass(frozen=True)
class Header:
    """One file. `patient` and `study` are pseudonyms, `series` is the digest of the series UID; '' if absent.

    `original` is the patient's id (the name without one) for a private table of ids and the join with a table of
    labels; it is never written with the cohort, and not shown.
    """

    path: Path
    patient: str
    study: str
    series: str
    instance: str
    modality: str
    description: str
    number: int
    view: str
    sex: str
    age: str
    scanner: str
    sites: tuple[tuple[str, str], ...]
    original: str = field(default="", repr=False)
    facts: SeriesFacts = field(default_factory=SeriesFacts)
    is_localizer: bool = False
    slice: SliceFacts = field(default_factory=SliceFacts)

    @property
    def is_radiograph(self) -> bool:
        """Whether the file is an image of its own, not a slice of a volume."""
        return self.modality in RADIOGRAPHS

    @property
    def owner(self) -> str:
        """The patient; without one, a pseudonym from the study."""
        return self.patient or self.study.replace("s-", "p-", 1)


def series_digest(uid: str) -> str:
    """12 hex digits in place of a SeriesInstanceUID, as in `folder::series-<digest>`."""
    return hashlib.blake2b(uid.encode(), digest_size=16).hexdigest()[:12]


def study_metadata(headers: Sequence[Header]) -> tuple[dict[str, str], list[str]]:
    """Sex, age and scanner of a study, '' where no file gives one, and a sentence for each that files disagree about.

    The first value that is given counts, as derived series often have none.
    """
    given = {name: [*dict.fromkeys(filter(None, map(attrgetter(name), headers)))] for name in ("sex", "age", "scanner")}
    doubts = [
        f"the files of the study give {' and '.join(given[name])} as {name}; {given[name][0]} is used"
        for name in ("sex", "age")
        if len(given[name]) > 1
    ]
    return {name: values[0] if values else "" for name, values in given.items()}, doubts


def is_dicom(path: Path) -> bool:
    """Whether the file has the DICOM preamble, whatever its name."""
    try:
        if not path.is_file():  # a pipe would wait for a writer
            return False
        with path.open("rb") as file:
            file.seek(_MAGIC_AT)
            return file.read(4) == b"DICM"
    except OSError:
        return False


def read_header(path: Path) -> Header | None:
    """The header of an image file; None if it holds no image. Raises DataError if it cannot be read."""
    try:
        data = dcmread(path, stop_before_pixels=True, specific_tags=[*_TAGS, *PRIVATE_TAGS])
        if "SOPClassUID" not in data:
            raise EOFError("its header is truncated")
        if "Rows" not in data:
            return None
        fields = {name: str(data.get(name) or "").strip() for name in _TAGS}
    except Exception as error:  # pydicom raises many types for broken elements
        # The text of the error may hold the value of a field that identifies the patient.
        raise DataError(f"{path} is not a readable DICOM file: {type(error).__name__}.") from error
    # Without an id, name and birth date together identify the patient.
    person = patient_key(fields["PatientID"]) or fields["PatientName"] + fields["PatientBirthDate"]
    study, series = fields["StudyInstanceUID"], fields["SeriesInstanceUID"]
    return Header(
        path=path,
        patient=f"p-{pseudonym(person)}" if person else "",
        study=f"s-{pseudonym(study)}" if study else "",
        series=series_digest(series) if series else "",
        instance=pseudonym(fields["SOPInstanceUID"] or str(path)),
        modality=fields["Modality"],
        description=fields["SeriesDescription"],
        number=_whole(fields["SeriesNumber"]),
        view=fields["ViewPosition"],
        sex=fields["PatientSex"] if fields["PatientSex"] in _SEXES else "",
        age=_age(fields),
        scanner=fields["ManufacturerModelName"],
        sites=tuple((name, fields[name]) for name in SITE_FIELDS),
        original=fields["PatientID"] or fields["PatientName"],
        facts=_facts(fields),
        is_localizer=_is_localizer(fields, data.get("ImageType")),
        slice=slice_facts(data),
    )


def _age(fields: Mapping[str, str]) -> str:
    """As DICOM writes ages; else from the dates of birth and study, in whole months below two years."""
    if _AGE.fullmatch(fields["PatientAge"]):
        return fields["PatientAge"]
    born = fields["PatientBirthDate"]
    seen = next((fields[name] for name in ("StudyDate", "SeriesDate", "AcquisitionDate") if fields[name]), "")
    if not (_DATE.fullmatch(born) and _DATE.fullmatch(seen)):
        return ""
    years, months, days = (int(seen[part]) - int(born[part]) for part in (slice(4), slice(4, 6), slice(6, 8)))
    lived = 12 * years + months - (days < 0)
    if not 0 <= lived <= 12 * _OLDEST_YEARS:
        return ""
    return f"{lived // 12:03d}Y" if lived >= 24 else f"{lived:03d}M"


def _facts(fields: Mapping[str, str]) -> SeriesFacts:
    return SeriesFacts(
        description=fields["SeriesDescription"],
        modality=fields["Modality"],
        number=_whole(fields["SeriesNumber"]),
        echo_time=_number(fields["EchoTime"]),
        repetition_time=_number(fields["RepetitionTime"]),
        inversion_time=_number(fields["InversionTime"]),
        b_value=_number(fields["DiffusionBValue"]),
        contrast=fields["ContrastBolusAgent"].casefold() not in _NO_CONTRAST,
    )


def _whole(text: str) -> int:
    return int(text) if _INTEGER.fullmatch(text) else 0


def _number(text: str) -> float | None:
    return float(text) if _DECIMAL.fullmatch(text) else None


def _is_localizer(fields: Mapping[str, str], image_type: Iterable[object] | None) -> bool:
    """Whether the file is one of the few slices by which the others are planned."""
    if fields["Modality"] in RADIOGRAPHS:
        return False
    words = {str(word).upper() for word in image_type} if isinstance(image_type, MultiValue) else set()
    return "LOCALIZER" in words or bool(_SCOUT.search(fields["SeriesDescription"].replace("_", " ")))


def looks_like_series(folders: Iterable[list[Path]], *, nested: bool = False) -> bool:
    """Whether folders of files are series or patients of a DICOM tree, not classes of single images.

    Folders of a tree hold several files of one series, or one patient each; a class holds many patients. With
    `nested`, each file comes from another folder inside; then only a patient id distinguishes patients from studies.
    """
    several_patients = False
    seen = False
    for paths in folders:
        headers = []
        for path in [path for path in paths[:_SAMPLED] if is_dicom(path)]:
            try:
                header = read_header(path)
            except DataError:
                continue
            if header:
                headers.append(header)
        seen |= bool(headers)
        if len({header.series or _own(header) for header in headers}) < len(headers):
            return True
        owners = {header.patient if nested else header.owner or _own(header) for header in headers}
        several_patients |= len(owners - {""} if nested else owners) > 1
    return seen and not several_patients


def _own(header: Header) -> str:
    """The key of a file without UIDs: its path for a radiograph, else ''."""
    return str(header.path) if header.is_radiograph else ""


def pseudonym(text: str) -> str:
    """16 hex digits in place of a UID or an id: a digest with the secret key, so that ids cannot be guessed."""
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES, key=secret_key()).hexdigest()
