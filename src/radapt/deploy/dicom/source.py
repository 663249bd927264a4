"""The DICOM images that a result belongs to: their frames in slice order, their patient and study."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from radapt.errors import DataError
from radapt.images.dicom.frames import FIX
from radapt.images.dicom.series import DicomSeries, read_series
from radapt.images.plausibility import same_grid
from radapt.images.reading import reading
from radapt.images.volume import Volume
from radapt.locations import Location
from radapt.parsing.dicom import dcmread

SINGLE_FRAME = "1.2.840.10008.5.1.4.1.1.7"
"""Secondary Capture Image Storage: the SOP class under which highdicom sees each frame (`DicomSource.frame_images`)."""

SHARED = ("StudyInstanceUID", "PatientID", "PatientName", "FrameOfReferenceUID")
"""Tags that have one value in all files of a series."""

EMPTY_IF_ABSENT = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
"""Tags that every object of a study must have and may leave empty (type 2)."""

SEXES = ("M", "F", "O", "")

DATES = {"PatientBirthDate": "DA", "StudyDate": "DA", "StudyTime": "TM"}


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """The frame of an image file that a segment frame refers to; `number` counts from 1, None in single-frame files."""

    sop_class: str
    sop_instance: str
    number: int | None


@dataclass(frozen=True, eq=False)
class DicomSource:
    """The series that a result belongs to. `frames[k]` is the source of the planes `[:, :, k]` on `grid`."""

    series: DicomSeries
    header: Any
    frames: tuple[SourceFrame, ...]

    @property
    def grid(self) -> Volume:
        return self.series.grid

    @property
    def pixel_mm(self) -> tuple[float, float] | None:
        """(between rows, between columns) in the patient; None without PixelSpacing.

        A film without it may give the spacing at its detector, which shows the patient enlarged.
        """
        frame = self.series.frames[0]
        return None if frame.get("PixelSpacing", "PixelMeasuresSequence") is None else frame.spacing_mm

    @property
    def voxel_ml(self) -> float | None:
        """None for images without position or PixelSpacing."""
        if not self.series.has_geometry or self.pixel_mm is None:
            return None
        return float(abs(np.linalg.det(self.grid.affine[:3, :3]))) / 1000

    def planes(self, values: Volume) -> np.ndarray:
        """(n, rows, columns) planes of `values`, one for each source frame and in their order.

        `values` may be stored with other axes. Raises DataError if it does not have the voxels of the series.
        """
        if difference := same_grid(self.grid, values):
            raise DataError(f"The mask does not lie on its DICOM series: it has {difference}.")
        return values.stored_like(self.grid).array.transpose(2, 1, 0)

    @cached_property
    def instances(self) -> list[Any]:
        """One header for each source file, with what a reference to it needs."""
        seen: dict[str, Any] = {}
        for frame in self.frames:
            if frame.sop_instance not in seen:
                seen[frame.sop_instance] = self._image(frame.sop_class, frame.sop_instance)
        return list(seen.values())

    def frame_images(self) -> list[Any]:
        """One single-frame header for each frame, as highdicom expects images of a series.

        highdicom takes one multi-frame file at most, with geometry in functional groups. radapt reads more than that,
        so every frame is shown to it as an image of its own; `frame_uid` is its UID there.
        """
        images = []
        for index, placed in enumerate(self.series.frames):
            image = self._image(SINGLE_FRAME, frame_uid(index))
            if self.series.has_geometry and placed.position_mm is not None and placed.orientation is not None:
                image.ImagePositionPatient = _decimals(placed.position_mm)
                image.ImageOrientationPatient = _decimals(np.asarray(self.series.frames[0].orientation))
            elif "FrameOfReferenceUID" in image:
                del image.FrameOfReferenceUID
            if self.series.has_geometry or self.pixel_mm is not None:
                image.PixelSpacing = _decimals(np.asarray(self.series.frames[0].spacing_mm))
            image.SliceThickness = _decimals(np.asarray([self._thickness_mm]))[0]
            images.append(image)
        if self.series.has_geometry and len(images) > 1:
            for image in images:
                image.SpacingBetweenSlices = _decimals(np.asarray([self._between_slices_mm]))[0]
        return images

    @property
    def _between_slices_mm(self) -> float:
        """Along the normal of the slices, also for a tilted gantry, as SpacingBetweenSlices is defined."""
        columns, rows, step = self.grid.affine[:3, :3].T
        normal = np.cross(columns, rows)
        return float(abs(step @ normal) / np.linalg.norm(normal))

    @property
    def _thickness_mm(self) -> float:
        stored = self.series.frames[0].get("SliceThickness", "PixelMeasuresSequence")
        thickness = float(stored) if stored is not None else 0.0
        return thickness if np.isfinite(thickness) and thickness > 0 else self._between_slices_mm

    def _image(self, sop_class: str, sop_instance: str) -> Any:
        from pydicom.dataset import Dataset

        image = Dataset()
        image.update({element.tag: element for element in self.header})
        image.SOPClassUID, image.SOPInstanceUID = sop_class, sop_instance
        return image


def frame_uid(index: int) -> str:
    """The UID under which `DicomSource.frame_images` shows frame `index`, from 0."""
    return f"2.25.{index + 1}"


def read_source(location: Location) -> DicomSource:
    """The DICOM file or series at `location` as the source of a result: headers, no pixels.

    Raises DataError if it is not one volume (see `read_series`), if its files name different patients or studies, if it
    has no StudyInstanceUID or SeriesInstanceUID, and if several slices lack a FrameOfReferenceUID, without which a
    segmentation has no place.
    """
    series = read_series(location)
    paths = dict.fromkeys(frame.path for frame in series.frames)
    headers = {}
    for path in paths:
        with reading(path, "DICOM", FIX):
            headers[path] = dcmread(path, stop_before_pixels=True, specific_tags=list(SHARED), force=True)
    first = next(iter(paths))
    _check_shared(headers, first, str(location))
    with reading(first, "DICOM", FIX):
        header = _patient_and_study(dcmread(first, stop_before_pixels=True, force=True))
    if not header.get("FrameOfReferenceUID") and series.has_geometry and len(series.frames) > 1:
        raise DataError(
            f"{location} has no FrameOfReferenceUID, so a DICOM segmentation cannot be placed on its slices. Export "
            "the series again without removing UIDs, or use the mask as NIfTI."
        )
    if not series.has_geometry and len(series.frames) > 1:
        raise DataError(
            f"{location} has {len(series.frames)} frames without a position, on which a DICOM segmentation cannot be "
            "placed. Use the mask as NIfTI or PNG."
        )
    frames = tuple(_reference(frame, len(series.frames)) for frame in series.frames)
    return DicomSource(series, header, frames)


def _reference(frame: Any, count: int) -> SourceFrame:
    uid = frame.header.get("SOPInstanceUID")
    kind = frame.header.get("SOPClassUID")
    if not uid or not kind:
        raise DataError(f"{frame.path} has no SOPInstanceUID or SOPClassUID, so nothing can refer to it. {FIX}")
    several = int(frame.header.get("NumberOfFrames") or 1) > 1
    return SourceFrame(str(kind), str(uid), frame.index + 1 if several else None)


def _check_shared(headers: dict[Path, Any], first: Path, where: str) -> None:
    for tag in SHARED:
        for path, header in headers.items():
            if header.get(tag) != headers[first].get(tag):
                # The values may name a patient, so they are not printed.
                raise DataError(
                    f"{where}: {path.name} and {first.name} differ in {tag}, so they are not images of one patient in "
                    "one study. Put each series into a folder of its own."
                )


def _patient_and_study(stored: Any) -> Any:
    """The header without pixels, private tags and `PER_IMAGE`, with empty values where the standard wants any."""
    from pydicom.dataset import Dataset

    header = Dataset()
    # Values are decoded here, by the character set of the file, because results are written as UTF-8.
    stored.decode()
    for element in stored:
        if element.tag.is_private or element.keyword in PER_IMAGE:
            continue
        header.add(element)
    for keyword in EMPTY_IF_ABSENT:
        if keyword not in header:
            setattr(header, keyword, "")
    for keyword in EMPTY_IF_ABSENT:
        if not _is_valid(keyword, header[keyword].value):
            setattr(header, keyword, "")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        if not header.get(keyword):
            raise DataError(f"The DICOM header has no {keyword}, so no result can be added to its study. {FIX}")
    if "Modality" not in header:
        header.Modality = "OT"
    header.SpecificCharacterSet = "ISO_IR 192"
    return header


def _is_valid(keyword: str, value: Any) -> bool:
    """Whether a value of the patient or study is one that a new object may hold."""
    from pydicom.valuerep import DA, TM

    if keyword == "PatientSex":
        return value in SEXES
    if keyword not in DATES:
        return True
    try:
        DA(value) if DATES[keyword] == "DA" else TM(value)
    except (ValueError, TypeError):
        return False
    return True


PER_IMAGE = (
    "SOPClassUID",
    "SOPInstanceUID",
    "NumberOfFrames",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
"""Tags that differ between the images of a series, or that radapt gives in its own way."""


def _decimals(values: np.ndarray) -> list[Any]:
    from pydicom.valuerep import DSfloat

    return [DSfloat(float(value), auto_format=True) for value in values]
