"""Programs by others accept what is written: dciodvfy (dicom3tools) and dcmqi, where they are installed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom import dcmread

from radapt.deploy.dicom.algorithm import Algorithm
from radapt.deploy.dicom.report import ClassProbability
from radapt.deploy.dicom.results import write_results
from radapt.images import Volume
from toy_dicom import ToySeries

from .conftest import toy_film, toy_patient

LABELS = {1: "tumour", 2: "left kidney", 3: "hippocampus anterior", 4: "wibble"}
CLASSES = (ClassProbability("astrocytoma", 0.75, True), ClassProbability("oligodendroglioma", 0.25, False))


def program(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if path is None:
        pytest.skip(f"{name} is not installed; it comes with radapt[dev]")
    return path


def random_case(folder: Path, form: str) -> ToySeries:
    pixels = np.random.default_rng(0).choice([0, 0, 1, 2], (4, 16, 12)).astype(np.uint8)
    pixels[0] = 0
    turned = np.array([0.8, 0.6, 0.0, -0.6 * 0.96, 0.8 * 0.96, -0.28])
    return ToySeries(pixels, turned, step=np.cross(turned[:3], turned[3:]) * 2.5, form=form)


def results_of(form: str, algorithm, tmp_path: Path, kind: str = "labels"):
    series = random_case(tmp_path, form)
    patient = toy_patient(series, tmp_path / "series")
    mask = patient.mask if kind == "labels" else Volume(np.zeros_like(patient.mask.array), patient.mask.affine)
    return series, write_results(
        tmp_path / "out", "c", patient.source, algorithm, mask=mask, labels=LABELS, probabilities=CLASSES
    )


def errors_in(path: Path) -> list[str]:
    said = subprocess.run([program("dciodvfy"), str(path)], capture_output=True, text=True, check=False)
    lines = (said.stdout + said.stderr).splitlines()
    assert any(word in lines[0] for word in ("Segmentation", "Comprehensive3DSR")), lines
    return [line for line in lines if line.startswith(("Error", "Abort"))]


@pytest.mark.parametrize("form", ["files", "enhanced", "parts", "stacked"])
@pytest.mark.parametrize("kind", ["labels", "empty"])
def test_dciodvfy_finds_no_error(algorithm, tmp_path, form, kind):
    _, results = results_of(form, algorithm, tmp_path, kind)
    for path in (results.segmentation, results.report):
        assert errors_in(path) == []


@pytest.mark.parametrize("tags", [{}, {"PixelSpacing": [0.2, 0.3]}])
def test_dciodvfy_finds_no_error_in_those_of_a_film(algorithm, tmp_path, tags):
    film = toy_film(tmp_path / "film", **tags)
    results = write_results(
        tmp_path / "out", "c", film.source, algorithm, mask=film.mask, labels=LABELS, probabilities=CLASSES
    )
    for path in (results.segmentation, results.report):
        assert errors_in(path) == []


def test_dciodvfy_finds_no_error_after_a_long_name_of_a_model(tmp_path):
    """Which counts the bytes of a description, and names of studies have characters of two."""
    named = Algorithm("lgg-subtype · dinov2-s-focus · logistic · ein sehr langer Name", "0123456789abcdef")
    _, results = results_of("files", named, tmp_path)
    for path in (results.segmentation, results.report):
        assert errors_in(path) == []


def test_dcmqi_and_simpleitk_see_the_segments_where_they_are(algorithm, tmp_path):
    convert = program("segimage2itkimage")
    series, results = results_of("files", algorithm, tmp_path)
    subprocess.run(
        [convert, "--inputDICOM", str(results.segmentation), "--outputDirectory", str(tmp_path), "-t", "nii"],
        check=True,
        capture_output=True,
    )
    for number, label in ((1, 1), (2, 2)):
        image = sitk.ReadImage(str(tmp_path / f"{number}.nii.gz"))
        seen = {
            tuple(np.round(image.TransformIndexToPhysicalPoint(tuple(int(i) for i in index[::-1])), 2))
            for index in np.argwhere(sitk.GetArrayFromImage(image))
        }
        row, column = series.cosines[:3] * series.spacing[1], series.cosines[3:] * series.spacing[0]
        true = {
            tuple(np.round(series.origin + k * series.step + r * column + c * row, 2))
            for k, r, c in np.argwhere(series.pixels == label)
        }
        difference = np.abs(np.array(sorted(seen)) - np.array(sorted(true)))
        assert len(seen) == len(true)
        assert difference.max() < 0.02


def test_dcmqi_reads_the_report(algorithm, tmp_path):
    read = program("tid1500reader")
    _, results = results_of("files", algorithm, tmp_path)
    out = tmp_path / "sr.json"
    subprocess.run(
        [read, "--inputDICOM", str(results.report), "--outputMetadata", str(out)], check=True, capture_output=True
    )
    groups = json.loads(out.read_text())["Measurements"]
    assert [group.get("ReferencedSegment") for group in groups[:4]] == [1, 2, 3, 4]
    assert groups[0]["measurementItems"][0]["quantity"]["CodeMeaning"] == "Volume"


SEG_MANDATORY = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "SeriesNumber",
    "FrameOfReferenceUID",
    "Manufacturer",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "InstanceNumber",
    "ContentDate",
    "ContentTime",
    "ImageType",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "LossyImageCompression",
    "SegmentationType",
    "SegmentSequence",
    "ContentLabel",
    "NumberOfFrames",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "DimensionOrganizationSequence",
    "DimensionIndexSequence",
    "ReferencedSeriesSequence",
    "PixelData",
]
SR_MANDATORY = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "SeriesNumber",
    "Manufacturer",
    "InstanceNumber",
    "CompletionFlag",
    "VerificationFlag",
    "ContentDate",
    "ContentTime",
    "ValueType",
    "ConceptNameCodeSequence",
    "ContinuityOfContent",
    "ContentSequence",
    "ContentTemplateSequence",
    "CurrentRequestedProcedureEvidenceSequence",
]
EMPTY_ALLOWED = [
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
]


@pytest.mark.parametrize("form", ["files", "enhanced"])
def test_mandatory_attributes_are_there(algorithm, tmp_path, form):
    """Type 1 and 2 of the modules of PS3.3 A.51 and A.35.13, for machines without dciodvfy."""
    _, results = results_of(form, algorithm, tmp_path)
    for path, mandatory in ((results.segmentation, SEG_MANDATORY), (results.report, SR_MANDATORY)):
        data = dcmread(path)
        assert [tag for tag in mandatory if data.get(tag) in (None, "")] == []
        assert [tag for tag in EMPTY_ALLOWED if tag not in data] == []
        assert data.file_meta.MediaStorageSOPInstanceUID == data.SOPInstanceUID
    segment = dcmread(results.segmentation).SegmentSequence[0]
    for tag in ("SegmentNumber", "SegmentLabel", "SegmentAlgorithmType", "SegmentAlgorithmName"):
        assert segment.get(tag), tag
