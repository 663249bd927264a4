"""Where a DICOM file lies in its series, and how many images its header says that there are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_PHILIPS, _GE = 0x2001, 0x0021
_NUMBER_OF_SLICES, _LOCATIONS_IN_ACQUISITION = (_PHILIPS, 0x1018), (_GE, 0x104F)
_CREATORS = {(_PHILIPS, 0x0010): "Philips Imaging DD 001", (_GE, 0x0010): "GEMS_RELA_01"}
"""Who wrote a private group, without which its elements mean nothing."""
_MAKERS = {_PHILIPS: "PHILIPS", _GE: "GE "}
"""Other software copies the elements to images of another number, and puts its own name as the manufacturer."""

SLICE_TAGS = (
    "FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Columns",
    "AcquisitionNumber", "ImagesInAcquisition", "NumberOfSlices", "NumberOfTimeSlices", "InConcatenationTotalNumber",
    "NumberOfSeriesRelatedInstances", "NumberOfFrames", "EchoNumbers", "TemporalPositionIdentifier",
    "NumberOfTemporalPositions",
)  # fmt: skip
PRIVATE_TAGS = (*_CREATORS, _NUMBER_OF_SLICES, _LOCATIONS_IN_ACQUISITION)

_LARGEST_COUNT = 100_000
"""A larger count is a damaged header."""


@dataclass(frozen=True, slots=True)
class SliceFacts:
    """The place of one image in the patient, in mm of DICOM's LPS, and what its header counts; 0 where it does not."""

    frame_of_reference: str = ""
    position: tuple[float, ...] | None = None
    """(3,)"""
    cosines: tuple[float, ...] | None = None
    """(6,)"""
    size_mm: tuple[float, float] = (0.0, 0.0)
    """Of the field of view, rows and columns."""
    acquisition: int = 0
    images_in_acquisition: int = 0
    """Of originals only: derived images copy the count of others."""
    images_in_series: int = 0
    files_in_series: int = 0
    """As an archive counted them."""
    locations: int = 0
    """Different positions in the acquisition, as Philips and GE write it; of originals of MRI with one image a file."""
    number: int = 0
    """InstanceNumber, of originals that are the first or only echo, time point and acquisition of their series."""
    concatenation: int = 0
    """Files that make one multi-frame image."""


def slice_facts(data: Any) -> SliceFacts:
    """From the header `data`; a value that is no number is left out."""
    spacing = _numbers(data.get("PixelSpacing"), 2) or (0.0, 0.0)
    types = [str(word).upper() for word in data.get("ImageType") or ()]
    original = "ORIGINAL" in types and "MOSAIC" not in types and _count(data.get("NumberOfFrames")) <= 1
    return SliceFacts(
        frame_of_reference=str(data.get("FrameOfReferenceUID") or ""),
        position=_numbers(data.get("ImagePositionPatient"), 3),
        cosines=_numbers(data.get("ImageOrientationPatient"), 6),
        size_mm=(_count(data.get("Rows")) * spacing[0], _count(data.get("Columns")) * spacing[1]),
        acquisition=_count(data.get("AcquisitionNumber")),
        images_in_acquisition=_count(data.get("ImagesInAcquisition")) if "ORIGINAL" in types else 0,
        images_in_series=_count(data.get("NumberOfSlices")) * max(_count(data.get("NumberOfTimeSlices")), 1),
        files_in_series=_count(data.get("NumberOfSeriesRelatedInstances")),
        locations=max(_private_counts(data), default=0) if original and data.get("Modality") == "MR" else 0,
        number=_count(data.get("InstanceNumber")) if original and _is_first(data) else 0,
        concatenation=_count(data.get("InConcatenationTotalNumber")),
    )


def _private_counts(data: Any) -> Iterator[int]:
    maker = f"{data.get('Manufacturer') or ''} ".upper()
    for tag in (_NUMBER_OF_SLICES, _LOCATIONS_IN_ACQUISITION):
        creator = (tag[0], 0x0010)
        if not maker.startswith(_MAKERS[tag[0]]) or creator not in data or tag not in data:
            continue
        if str(data[creator].value).strip() == _CREATORS[creator]:
            yield _count(data[tag].value)


def _is_first(data: Any) -> bool:
    """Whether the image is of the first or only echo, time point and acquisition of its series."""
    parts = ("EchoNumbers", "TemporalPositionIdentifier", "NumberOfTemporalPositions", "AcquisitionNumber")
    return all(_count(data.get(name)) <= 1 for name in parts)


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    try:
        numbers = tuple(float(each) for each in value)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(abs(each) < float("inf") for each in numbers) else None


def _count(value: Any) -> int:
    try:
        return min(max(int(value), 0), _LARGEST_COUNT)
    except (TypeError, ValueError):
        return 0
