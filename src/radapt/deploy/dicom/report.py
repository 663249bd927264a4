"""DICOM structured reports (SR, template TID 1500): sizes of segments and probabilities of classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radapt.deploy.dicom.algorithm import RESEARCH_ONLY, Algorithm, require_highdicom, short, source_values
from radapt.deploy.dicom.measurements import SegmentSize
from radapt.deploy.dicom.segmentation import SERIES_NUMBER, coded, save_object, stamp, tracking_uid
from radapt.deploy.dicom.source import DicomSource
from radapt.deploy.dicom.structures import ANATOMY, MODIFIERS, ConceptCode, Structure, structure_of, uncoded_names
from radapt.errors import UsageError

OWN_SCHEME = "99RADAPT"
"""The private coding scheme (PS3.16 8.2) of class names, which no standard scheme knows."""

MILLILITER = ConceptCode("ml", "UCUM", "milliliter")

WARNING = f"{RESEARCH_ONLY}. Not for diagnosis or treatment."


@dataclass(frozen=True)
class ClassProbability:
    """The probability, 0 to 1, of one class or finding, and whether the model decided for it."""

    name: str
    probability: float
    is_predicted: bool


def write_report(
    path: Path,
    source: DicomSource,
    algorithm: Algorithm,
    *,
    segmentation: Any = None,
    sizes: Sequence[SegmentSize] = (),
    labels: Mapping[int, str] | None = None,
    probabilities: Sequence[ClassProbability] = (),
    remarks: Sequence[str] = (),
    context: str = "",
) -> Any:
    """Write a TID 1500 report into the study of `source`, and return the object that was written.

    Each of `sizes` becomes a measurement group that refers to its segment in `segmentation`, the object that
    `write_segmentation` returned for the same `labels`; an absent segment is reported with a volume of 0 ml. Each of
    `probabilities` becomes a measurement, and each predicted class an evaluation. The text says that the result is for
    research only, then `remarks`, such as a missing sequence or the reason for an abstention.

    Raises UsageError if highdicom is not installed, there is nothing to report, or the file cannot be written.
    """
    require_highdicom()
    if not sizes and not probabilities:
        raise UsageError("A DICOM report needs sizes of segments or probabilities of classes.")
    groups = []
    if sizes:
        names = dict(labels or {})
        numbers = {value: number for number, value in enumerate(sorted(names), start=1)}
        groups += [
            _size_group(size, names[size.value], numbers[size.value], segmentation, source, algorithm, context)
            for size in sizes
        ]
        if uncoded := uncoded_names([names[size.value] for size in sizes], context):
            remarks = [*remarks, f"Without a code of their own, coded as Tissue: {', '.join(uncoded)}."]
    if probabilities:
        groups.append(_class_group(probabilities, source, algorithm))
    report = _report(groups, source, segmentation if sizes else None, algorithm, remarks)
    save_object(path, report)
    return report


def _report(
    groups: list[Any], source: DicomSource, segmentation: Any, algorithm: Algorithm, remarks: Sequence[str]
) -> Any:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    series = source.header.SeriesInstanceUID
    observer = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=algorithm.uid("device"),
            name="radapt",
            manufacturer_name="radapt",
            model_name=short(algorithm.model),
            serial_number=short(algorithm.digest),
        ),
    )
    with source_values():
        content = sr.MeasurementReport(
            observation_context=sr.ObservationContext(observer_device_context=observer),
            procedure_reported=sr.CodedConcept("363679005", "SCT", "Imaging procedure"),
            title=codes.DCM.ImagingMeasurementReport,
            imaging_measurements=groups,
        )
        for text in (WARNING, algorithm.described, *remarks):
            content[0].ContentSequence.append(_comment(text))
        described = f"{RESEARCH_ONLY}: report, {algorithm.model}"
        report = sr.Comprehensive3DSR(
            evidence=[*source.instances, *([segmentation] if segmentation is not None else [])],
            content=content[0],
            series_instance_uid=algorithm.uid("SR series", series),
            series_number=SERIES_NUMBER + 1,
            sop_instance_uid=algorithm.uid("SR", series, str(content[0])),
            instance_number=1,
            is_complete=True,
            is_final=False,
            is_verified=False,
            **algorithm.equipment(),
            series_description=short(described),
            content_date=algorithm.created.date(),
            content_time=algorithm.created.time(),
            specific_character_set="ISO_IR 192",
        )
    stamp(report, algorithm)
    return report


def _size_group(
    size: SegmentSize,
    name: str,
    number: int,
    segmentation: Any,
    source: DicomSource,
    algorithm: Algorithm,
    context: str,
) -> Any:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    structure = structure_of(name, context)
    measured = []
    if size.volume_ml is not None:
        measured.append(sr.Measurement(codes.SCT.Volume, _rounded(size.volume_ml), coded(MILLILITER)))
    if size.longest_mm is not None:
        measured.append(
            sr.Measurement(
                codes.SCT.Diameter,
                _rounded(size.longest_mm),
                codes.UCUM.Millimeter,
                derivation=codes.SCT.Maximum,
            )
        )
    series = source.header.SeriesInstanceUID
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=tracking_uid(algorithm, series, number), identifier=short(name)),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=number,
            source_series=sr.SourceSeriesForSegmentation(series),
        ),
        finding_category=coded(structure.category),
        finding_type=coded(structure.type),
        finding_sites=_sites(structure),
        algorithm_id=_algorithm(algorithm),
        measurements=measured,
    )


def _sites(structure: Structure) -> list[Any] | None:
    """Where an anatomical structure lies: there. Lesions have no site, because nothing says which organ they are in."""
    from highdicom import sr

    if structure.category != ANATOMY:
        return None
    modifier = coded(structure.modifier) if structure.modifier else None
    is_side = structure.modifier in (MODIFIERS["left"], MODIFIERS["right"])
    return [
        sr.FindingSite(
            anatomic_location=coded(structure.type),
            laterality=modifier if is_side else None,
            topographical_modifier=None if is_side else modifier,
        )
    ]


def _class_group(probabilities: Sequence[ClassProbability], source: DicomSource, algorithm: Algorithm) -> Any:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    predicted = ConceptCode("PREDICTED", OWN_SCHEME, "Predicted class")
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=algorithm.uid("classification", source.header.SeriesInstanceUID), identifier="Classification"
        ),
        algorithm_id=_algorithm(algorithm),
        measurements=[
            sr.Measurement(
                coded(class_code(row.name, "Probability of ")), _rounded(row.probability), codes.UCUM.NoUnits
            )
            for row in probabilities
        ],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(coded(predicted), coded(class_code(row.name)))
            for row in probabilities
            if row.is_predicted
        ],
        source_images=[
            sr.SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID) for image in source.instances
        ],
    )


def class_code(name: str, before: str = "") -> ConceptCode:
    """A private code for a class: a digest of its name, and the name, after `before`, as its meaning."""
    from hashlib import blake2b

    value = blake2b(f"{before}{name}".encode(), digest_size=6).hexdigest().upper()
    return ConceptCode(value, OWN_SCHEME, short(before + name))


def _algorithm(algorithm: Algorithm) -> Any:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    return sr.AlgorithmIdentification(
        name="radapt",
        version=algorithm.equipment()["software_versions"],
        parameters=[f"model {short(algorithm.model)}", f"digest {algorithm.digest}"],
        family=codes.DCM.ArtificialIntelligence,
        manufacturer="radapt",
    )


def _comment(text: str) -> Any:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    return sr.TextContentItem(codes.DCM.Comment, " ".join(text.split()), sr.RelationshipTypeValues.CONTAINS)


def _rounded(value: float) -> float:
    """Six significant digits: a decimal string holds at most 16 characters."""
    return float(f"{value:.6g}")
