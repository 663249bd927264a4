"""Where a DICOM file lies in its series, and how many images its header says that there are."""

from dataclasses import dataclass
from typing import Any

SLICE_TAGS = (
    "FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Columns",
    "AcquisitionNumber", "ImagesInAcquisition", "NumberOfSlices", "NumberOfTimeSlices", "InConcatenationTotalNumber",
)  # fmt: skip

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
    concatenation: int = 0
    """Files that make one multi-frame image."""


def slice_facts(data: Any) -> SliceFacts:
    """From the header `data`; a value that is no number is left out."""
    spacing = _numbers(data.get("PixelSpacing"), 2) or (0.0, 0.0)
    types = [str(word).upper() for word in data.get("ImageType") or ()]
    return SliceFacts(
        frame_of_reference=str(data.get("FrameOfReferenceUID") or ""),
        position=_numbers(data.get("ImagePositionPatient"), 3),
        cosines=_numbers(data.get("ImageOrientationPatient"), 6),
        size_mm=(_count(data.get("Rows")) * spacing[0], _count(data.get("Columns")) * spacing[1]),
        acquisition=_count(data.get("AcquisitionNumber")),
        images_in_acquisition=_count(data.get("ImagesInAcquisition")) if "ORIGINAL" in types else 0,
        images_in_series=_count(data.get("NumberOfSlices")) * max(_count(data.get("NumberOfTimeSlices")), 1),
        concatenation=_count(data.get("InConcatenationTotalNumber")),
    )


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
