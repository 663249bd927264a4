"""DICOM segmentations (SEG): a label map or fractional maps on the slices of their source series."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radapt.deploy.dicom.algorithm import RESEARCH_ONLY, Algorithm, require_highdicom, short, source_values
from radapt.deploy.dicom.source import DicomSource, SourceFrame, frame_uid
from radapt.deploy.dicom.structures import ConceptCode, Structure, structure_of
from radapt.durable import atomic_path
from radapt.errors import DataError, UsageError, unwritable
from radapt.images.volume import Volume

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription

SERIES_NUMBER = 9501
"""Far above the series numbers of scanners, so that results stand behind the images in a viewer's list."""


def write_segmentation(
    path: Path,
    source: DicomSource,
    mask: Volume | Mapping[int, Volume],
    labels: Mapping[int, str],
    algorithm: Algorithm,
    context: str = "",
) -> Any:
    """Write `mask` as a DICOM SEG into the study of `source`, and return the object that was written.

    `mask` is a label map on the grid of the series, or for each label value a map of its probability from 0 to 1,
    which is stored in steps of 1/255. `labels` gives the names: segment 1 is the smallest label value, and so on; every
    label is described, also one without a voxel. Codes and colours come from `structure_of(name, context)`. There is a
    frame for each segment and slice that hold something; a mask that is empty altogether keeps all its frames, because
    an object without frames is not valid. Each frame lies where its source frame lies and refers to it.

    Raises DataError for a mask on another grid, an undeclared label value and fractions outside 0 to 1; UsageError if
    highdicom is not installed, there is no label, or the file cannot be written.
    """
    require_highdicom()
    if not labels:
        raise UsageError("A DICOM segmentation needs at least one label, such as {1: tumour}.")
    values = sorted(labels)
    planes = _label_planes(source, mask, values) if isinstance(mask, Volume) else _fractions(source, mask, values)
    segmentation = _segmentation(source, planes, [labels[value] for value in values], algorithm, context)
    _name_true_sources(segmentation, source)
    save_object(path, segmentation)
    return segmentation


def save_object(path: Path, dataset: Any) -> None:
    """Write a DICOM object to a temporary path and rename it. Raises UsageError if the folder cannot be written."""
    try:
        with atomic_path(path) as part:
            dataset.save_as(part, enforce_file_format=True)
    except OSError as error:
        raise unwritable(path, error) from error


def _label_planes(source: DicomSource, mask: Volume, values: list[int]) -> np.ndarray:
    """(n, rows, columns) segment numbers from 1."""
    planes = source.planes(mask)
    if planes.dtype.kind not in "iub":
        raise DataError(f"A label map holds whole numbers; this one holds {planes.dtype}.")
    numbers = np.zeros(planes.shape, np.uint8 if len(values) < 256 else np.uint16)
    for number, value in enumerate(values, start=1):
        numbers[planes == value] = number
    if unknown := sorted(set(np.unique(planes[numbers == 0]).tolist()) - {0}):
        raise DataError(f"The mask holds the value {unknown[0]}, which has no name; labels are {values}.")
    return numbers


def _fractions(source: DicomSource, maps: Mapping[int, Volume], values: list[int]) -> np.ndarray:
    """(n, rows, columns, segments) float32 from 0 to 1."""
    if sorted(maps) != values:
        raise DataError(f"There are maps for the labels {sorted(maps)}, and names for {values}.")
    planes = np.stack([source.planes(maps[value]) for value in values], axis=-1).astype(np.float32)
    if not (planes.min() >= 0 and planes.max() <= 1):  # NaN fails as well
        raise DataError(f"Fractions lie between 0 and 1; these go from {planes.min():g} to {planes.max():g}.")
    return planes


def _segmentation(source: DicomSource, planes: np.ndarray, names: list[str], algorithm: Algorithm, context: str) -> Any:
    from highdicom.seg import Segmentation

    series = source.header.SeriesInstanceUID
    content = ("SEG", series, planes.shape, planes.tobytes(), *names)
    described = f"{RESEARCH_ONLY}: segmentation, {algorithm.model}"
    with source_values():
        segmentation = Segmentation(
            source_images=source.frame_images(),
            pixel_array=planes,
            segmentation_type="FRACTIONAL" if planes.ndim == 4 else "BINARY",
            segment_descriptions=[
                _description(number, name, structure_of(name, context), algorithm, series)
                for number, name in enumerate(names, start=1)
            ],
            series_instance_uid=algorithm.uid("SEG series", series),
            series_number=SERIES_NUMBER,
            sop_instance_uid=algorithm.uid(*content),
            instance_number=1,
            **algorithm.equipment(),
            omit_empty_frames=bool(planes.any()),
            content_label="RADAPT",
            content_creator_name="radapt^",
            content_description=short(described),
            series_description=short(described),
            content_qualification="RESEARCH",
            content_date=algorithm.created.date(),
            content_time=algorithm.created.time(),
            specific_character_set="ISO_IR 192",
        )
    stamp(segmentation, algorithm)
    if not source.series.has_geometry:
        segmentation.PatientOrientation = source.header.get("PatientOrientation", "")
    for item in (*segmentation.DimensionIndexSequence, *segmentation.DimensionOrganizationSequence):
        item.DimensionOrganizationUID = algorithm.uid("dimensions", *content)
    return segmentation


def stamp(dataset: Any, algorithm: Algorithm) -> None:
    """Set the times at which highdicom reads the clock to the time of the result, so that equal results are equal."""
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = dataset.ContentDate, dataset.ContentTime
    for item in dataset.get("ContributingEquipmentSequence", [])[-1:]:  # highdicom itself
        item.ContributionDateTime = algorithm.created


def _description(
    number: int, name: str, structure: Structure, algorithm: Algorithm, series: str
) -> "SegmentDescription":
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    description = SegmentDescription(
        segment_number=number,
        segment_label=short(name),
        segmented_property_category=coded(structure.category),
        segmented_property_type=coded(structure.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name="radapt",
            family=codes.DCM.ArtificialIntelligence,
            version=algorithm.equipment()["software_versions"],
            source="radapt",
            parameters={"model": algorithm.model, "digest": algorithm.digest},
        ),
        tracking_uid=tracking_uid(algorithm, series, number),
        tracking_id=short(name),
        display_color=CIELabColor.from_rgb(*structure.rgb),
    )
    if not structure.is_known:
        description.SegmentDescription = "No standard code for this name is known to radapt; coded as Tissue."
    if structure.modifier:
        kind = description.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [coded(structure.modifier)]
    return description


def tracking_uid(algorithm: Algorithm, series: str, number: int) -> str:
    """The UID by which a segment is the same in the SEG and in the SR."""
    return algorithm.uid("segment", series, number)


def coded(code: ConceptCode) -> Any:
    """`code` as an item of a DICOM code sequence."""
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)


def _name_true_sources(segmentation: Any, source: DicomSource) -> None:
    """Replace the frames as `DicomSource.frame_images` shows them by the files and frames that they are."""
    shown = {frame_uid(index): frame for index, frame in enumerate(source.frames)}
    for group in segmentation.PerFrameFunctionalGroupsSequence:
        for derivation in group.get("DerivationImageSequence", []):
            derivation.SourceImageSequence = [_true(item, shown, True) for item in derivation.SourceImageSequence]
    for series in segmentation.get("ReferencedSeriesSequence", []):
        series.ReferencedInstanceSequence = _instances(series.ReferencedInstanceSequence, shown)
    if "SourceImageSequence" in segmentation:
        segmentation.SourceImageSequence = _instances(segmentation.SourceImageSequence, shown)


def _instances(items: Any, shown: Mapping[str, SourceFrame]) -> list[Any]:
    """One item for each file among the frames of `items`."""
    renamed = (_true(item, shown, False) for item in items)
    return list({item.ReferencedSOPInstanceUID: item for item in renamed}.values())


def _true(item: Any, shown: Mapping[str, SourceFrame], with_frame: bool) -> Any:
    """A copy, because highdicom puts the same item into several sequences."""
    item = deepcopy(item)
    if frame := shown.get(item.ReferencedSOPInstanceUID):
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = frame.sop_class, frame.sop_instance
        if with_frame and frame.number is not None:
            item.ReferencedFrameNumber = frame.number
    return item
