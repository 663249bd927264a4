"""Everything DICOM about one case: its segmentation and its report, beside each other in one folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from radapt.deploy.dicom.algorithm import Algorithm
from radapt.deploy.dicom.measurements import segment_sizes
from radapt.deploy.dicom.report import ClassProbability, write_report
from radapt.deploy.dicom.segmentation import write_segmentation
from radapt.deploy.dicom.source import DicomSource
from radapt.deploy.dicom.structures import uncoded_names
from radapt.errors import UsageError
from radapt.images.dicom.frames import series_key
from radapt.images.volume import Volume


@dataclass(frozen=True)
class DicomResults:
    """The files written, None for what was not, and what a user should know about them."""

    segmentation: Path | None
    report: Path | None
    notes: tuple[str, ...] = ()


def write_results(
    folder: Path,
    case: str,
    source: DicomSource,
    algorithm: Algorithm,
    *,
    mask: Volume | None = None,
    labels: Mapping[int, str] | None = None,
    probabilities: Sequence[ClassProbability] = (),
    remarks: Sequence[str] = (),
    context: str = "",
) -> DicomResults:
    """Write `<case>-seg.dcm` where there is a `mask`, and `<case>-sr.dcm` with its sizes and the `probabilities`.

    A case whose key holds the PatientID of the images is written as `series-<12 hex digits>` instead, because file
    names travel further than files. Raises UsageError with neither mask nor probabilities, and as `write_segmentation`
    and `write_report` do.
    """
    if mask is None and not probabilities:
        raise UsageError(f"There is nothing to write for case {case}: neither a mask nor probabilities.")
    name = file_name(case, source)
    labels = dict(labels or {})
    path, segmentation, sizes, notes = None, None, [], []
    if mask is not None:
        path = folder / f"{name}-seg.dcm"
        segmentation = write_segmentation(path, source, mask, labels, algorithm, context)
        sizes = segment_sizes(source, mask, sorted(labels))
        if uncoded := uncoded_names(labels.values(), context):
            notes.append(f"no SNOMED CT code is known for {', '.join(uncoded)}; coded as Tissue")
    if name != case:
        notes.append(f"the key of case {case} cannot be a file name or holds the PatientID; written as {name}")
    report = folder / f"{name}-sr.dcm"
    write_report(
        report,
        source,
        algorithm,
        segmentation=segmentation,
        sizes=sizes,
        labels=labels,
        probabilities=probabilities,
        remarks=remarks,
        context=context,
    )
    return DicomResults(path, report, tuple(notes))


def file_name(case: str, source: DicomSource) -> str:
    """`case` as the start of a file name, or the key of the series if `case` holds the PatientID or a path."""
    patient = str(source.header.PatientID).strip().casefold()
    if (patient and patient in case.casefold()) or not case or set(case) & set('/\\:*?"<>|') or case.startswith("."):
        return series_key(source.header.SeriesInstanceUID)
    return case
