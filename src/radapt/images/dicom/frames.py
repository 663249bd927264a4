"""DICOM headers: which files are images, and the geometry and window of each frame.

Only the tags listed here are parsed. Names, ids, dates and accession numbers of patients are not among them.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from radapt.errors import DataError
from radapt.images.claims import OTHER, check_claim
from radapt.images.reading import reading
from radapt.images.window import Window
from radapt.parsing.dicom import dcmread

FIX = "Was the export or copy interrupted? Export it again."
ENDINGS = (".dcm", ".dicom", ".ima")
_SMALLEST_ITEM = 8  # bytes that the tag and the length of an encapsulated frame take
NOT_PICTURES = ("Segmentation", "RT Dose", "Presentation State", "Directory")
"""Parts of SOP class names of objects that may have rows and columns but are not images of a patient."""

DISTINGUISHING = (
    "EchoTime",
    "EchoNumbers",
    "InversionTime",
    "DiffusionBValue",
    "TemporalPositionIdentifier",
    "TriggerTime",
    "AcquisitionNumber",
    "ImageType",
    "ConvolutionKernel",
)
"""Tags that usually explain several images at one position."""

TAGS = (
    *DISTINGUISHING,
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "FrameIncrementPointer",
    "NumberOfTemporalPositions",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
)
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths")


@dataclass(frozen=True, eq=False)
class DicomFrame:
    """One plane of one file: its position (DICOM's LPS, mm) and the tags to convert its stored values.

    `spacing_mm` is (between rows, between columns). `position_mm` (3,) and `orientation` (6,) are None without
    geometry. `header` holds the file's parsed tags, `index` is the frame's number in the file, and `placed_mm` is its
    position if the header gives only that of the first frame.
    """

    path: Path
    index: int
    header: Any
    groups: tuple[Any, ...]
    placed_mm: np.ndarray | None = None

    @property
    def name(self) -> str:
        several = int(self.header.get("NumberOfFrames") or 1) > 1
        return f"{self.path.name} frame {self.index + 1}" if several else self.path.name

    def get(self, tag: str, group: str | None = None) -> Any:
        """The tag's value for this frame: from its functional group, else from the file, else None."""
        for functional in self.groups if group else ():
            items = functional.get(group)
            if items and (value := items[0].get(tag)) not in (None, ""):
                return value
        value = self.header.get(tag)
        return None if value in (None, "") else value

    @property
    def is_mosaic(self) -> bool:
        """Whether the image holds the slices of a volume as tiles, as Siemens writes diffusion and time series."""
        kinds = self.get("ImageType")
        return not isinstance(kinds, (str, type(None))) and "MOSAIC" in [str(kind).upper() for kind in kinds]

    @property
    def position_mm(self) -> np.ndarray | None:
        if self.placed_mm is not None:
            return self.placed_mm
        return _numbers(self.get("ImagePositionPatient", "PlanePositionSequence"), 3)

    @property
    def orientation(self) -> np.ndarray | None:
        cosines = _numbers(self.get("ImageOrientationPatient", "PlaneOrientationSequence"), 6)
        return None if cosines is None or not cosines.any() else cosines

    @property
    def spacing_mm(self) -> tuple[float, float]:
        for tag in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
            spacing = _numbers(self.get(tag, "PixelMeasuresSequence"), 2)
            if spacing is not None and (spacing > 0).all():
                return float(spacing[0]), float(spacing[1])
        return 1.0, 1.0

    @property
    def thickness_mm(self) -> float:
        """Distance between slices: |SpacingBetweenSlices|, else SliceThickness, else 1."""
        step, thickness = self.slice_step_mm, _numbers(self.get("SliceThickness", "PixelMeasuresSequence"), 1)
        if step:
            return abs(step)
        return float(thickness[0]) if thickness is not None and thickness[0] > 0 else 1.0

    @property
    def slice_step_mm(self) -> float | None:
        """SpacingBetweenSlices as stored; negative if the slices run against the normal."""
        step = _numbers(self.get("SpacingBetweenSlices", "PixelMeasuresSequence"), 1)
        return None if step is None else float(step[0])

    @property
    def size(self) -> tuple[int, int, int]:
        """(rows, columns, samples per pixel)."""
        return int(self.header.Rows), int(self.header.Columns), int(self.header.get("SamplesPerPixel") or 1)

    @property
    def window(self) -> Window | None:
        """The first display window or VOI LUT of the frame, after rescaling; None without a usable one."""
        try:
            if tables := self.header.get("VOILUTSequence"):
                return _table(tables[0])
            centre = _first(self.get("WindowCenter", "FrameVOILUTSequence"))
            width = _first(self.get("WindowWidth", "FrameVOILUTSequence"))
            function = str(self.get("VOILUTFunction", "FrameVOILUTSequence") or "LINEAR")
        except (ValueError, TypeError, IndexError, AttributeError):
            return None  # the window is only a recommendation, so a damaged one is ignored
        if centre is None or width is None or not np.isfinite([centre, width]).all() or width <= 0:
            return None
        if function == "LINEAR":  # PS3.3 C.11.2.1.2.1 counts in whole grey values
            return Window(centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)
        return Window(centre - width / 2, centre + width / 2, "sigmoid" if function == "SIGMOID" else "linear")


def series_key(uid: str) -> str:
    """`series-` and 12 hex digits that identify a series without revealing its UID."""
    return "series-" + hashlib.blake2b(str(uid).encode(), digest_size=16).hexdigest()[:12]


def read_header(path: Path, *, pixels: bool = False) -> Any | None:
    """The tags of a DICOM file that radapt uses, or None if it is not DICOM. Raises DataError if it is damaged."""
    with path.open("rb") as file:
        has_preamble = file.read(132)[128:] == b"DICM"
    if not has_preamble and not path.name.lower().endswith(ENDINGS) and "." in path.name:
        return None
    tags = list(TAGS + PIXELS) if pixels else list(TAGS)
    with reading(path, "DICOM", FIX):
        try:
            header = dcmread(path, stop_before_pixels=not pixels, specific_tags=tags, force=not has_preamble)
            sop_class(header)
        except Exception:
            if has_preamble or path.name.lower().endswith(ENDINGS):
                raise
            return None
    if not has_preamble and "SOPClassUID" not in header and "Rows" not in header:
        if path.name.lower().endswith(ENDINGS):
            raise DataError(f"{path} is not a DICOM file, or it is truncated. {FIX}")
        return None
    return header


def sop_class(header: Any) -> str:
    """The SOP class in words, such as `CT Image Storage`; empty if the header does not name it."""
    uid = header.get("SOPClassUID") or getattr(header, "file_meta", {}).get("MediaStorageSOPClassUID")
    return "" if uid is None else str(uid.name)


def is_image(header: Any, path: Path) -> bool:
    """Whether the object is an image. Raises DataError if it should be one but its header is truncated."""
    kind = sop_class(header)
    if any(word in kind for word in NOT_PICTURES):
        return False
    if header.get("Rows") and header.get("Columns"):
        return True
    if "Image Storage" in kind or not kind:
        raise DataError(f"{path} is truncated: the DICOM header gives no image size. {FIX}")
    return False


def frames_of(header: Any, path: Path) -> list[DicomFrame]:
    """The frames of one image file, in stored order."""
    count = max(int(header.get("NumberOfFrames") or 1), 1)
    _check_claim(header, path, count)
    own = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])[:1]
    if own and len(own) != count:
        raise DataError(f"{path} has {count} frames but describes {len(own)}. {FIX}")
    return [DicomFrame(path, index, header, (*([own[index]] if own else []), *shared)) for index in range(count)]


def _check_claim(header: Any, path: Path, frames: int) -> None:
    """Raise DataError for more frames or pixels than the file can hold."""
    stored = path.stat().st_size
    syntax = getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", None)
    encapsulated = syntax is not None and syntax.is_encapsulated
    compressed = encapsulated or (syntax is not None and syntax.is_deflated)
    bits = int(header.get("BitsAllocated") or 16)
    pixels = int(header.get("Rows") or 0) * int(header.get("Columns") or 0) * int(header.get("SamplesPerPixel") or 1)
    check_claim(path, frames * pixels * bits // 8, stored, OTHER if compressed else 1, FIX)
    if encapsulated and frames * _SMALLEST_ITEM > stored:
        raise DataError(f"{path} claims {frames:,} frames, more than its {stored:,} bytes can hold. {FIX}")


def _numbers(value: Any, count: int) -> np.ndarray | None:
    if value is None:
        return None
    numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
    return numbers if numbers.shape == (count,) and np.isfinite(numbers).all() else None


def _first(value: Any) -> float | None:
    if value is None:
        return None
    return float(np.atleast_1d(np.asarray(value, dtype=np.float64))[0])


def _table(item: Any) -> Window | None:
    count, first, bits = (int(number) for number in item.LUTDescriptor)
    count = count or 65536  # PS3.3 C.11.2.1.1: 0 stands for 2 to the power of 16
    data = item.LUTData
    values = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.asarray(data)
    if len(values) < count or count < 2:
        return None
    return Window(first, first + count - 1, "table", (values[:count] / (2.0**bits - 1)).astype(np.float32))
