"""The DICOM objects of a predicted case: which of its images they belong to, and what is written."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from radapt.deploy.dicom.algorithm import Algorithm
from radapt.deploy.dicom.report import ClassProbability
from radapt.deploy.dicom.results import DicomResults, write_results
from radapt.deploy.dicom.source import DicomSource, read_source
from radapt.errors import DataError
from radapt.images.dicom.frames import read_header
from radapt.images.plausibility import same_grid
from radapt.images.volume import Volume
from radapt.locations import Location
from radapt.remote.local_copies import local_copy


def write_case(
    folder: Path,
    case: str,
    images: Mapping[str, Location],
    algorithm: Algorithm,
    *,
    mask: Volume | None = None,
    labels: Mapping[int, str] | None = None,
    probabilities: Mapping[str, float] | None = None,
    predicted: Sequence[str] = (),
    remarks: Sequence[str] = (),
    context: str = "",
) -> DicomResults | None:
    """Write the segmentation and the report of a case, or nothing, with None, if none of its `images` is DICOM.

    `images` are the sequences of the case by name. A mask belongs to the first of them on whose grid it lies,
    probabilities to the first. A case whose images cannot carry a DICOM result has notes that say why and no files,
    because the prediction itself is sound. Raises UsageError if the folder cannot be written.
    """
    if mask is None and not probabilities:
        return None
    try:
        with ExitStack() as copies:
            here = [copies.enter_context(local_copy(location)) for location in images.values()]
            located = [location for location in here if is_dicom(location)]
            if not located:
                return None
            source = _source(located, mask)
        return write_results(
            folder,
            case,
            source,
            algorithm,
            mask=mask,
            labels=labels,
            probabilities=[
                ClassProbability(name, probability, name in predicted)
                for name, probability in (probabilities or {}).items()
            ],
            remarks=remarks,
            context=context,
        )
    except DataError as error:
        return DicomResults(None, None, (f"no DICOM result: {error}",))


def is_dicom(location: Location) -> bool:
    """Whether the image is a DICOM file or a series folder."""
    return location.path.is_dir() or (location.path.is_file() and read_header(location.path) is not None)


def _source(located: Sequence[Location], mask: Volume | None) -> DicomSource:
    """The first series, or the first on whose grid the mask lies. Raises DataError if there is none."""
    if mask is None:
        return read_source(located[0])
    differences = []
    for location in located:
        source = read_source(location)
        difference = same_grid(source.grid, mask)
        if difference is None:
            return source
        differences.append(difference)
    raise DataError(f"The mask lies on the grid of none of its DICOM series: it has {differences[0]}.")
