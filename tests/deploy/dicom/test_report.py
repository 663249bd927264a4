"""What a DICOM report says, read by pydicom: sizes that refer to their segments, probabilities, and who says so."""

import math

import numpy as np
import pytest
from pydicom import dcmread

from radapt.deploy.dicom.measurements import SegmentSize, segment_sizes
from radapt.deploy.dicom.report import ClassProbability, class_code, write_report
from radapt.deploy.dicom.results import file_name, write_results
from radapt.errors import UsageError
from radapt.images import Volume
from toy_dicom import ToySeries, content_items

from .conftest import toy_film, toy_patient

LABELS = {1: "tumour", 2: "left kidney", 3: "wibble"}
CLASSES = (ClassProbability("astrocytoma", 0.7512345678, True), ClassProbability("oligodendroglioma", 0.25, False))


@pytest.fixture
def written(patient, algorithm, tmp_path):
    """The segmentation and the report of a case, as data sets."""
    results = write_results(
        tmp_path / "out",
        "case 1",
        patient.source,
        algorithm,
        mask=patient.mask,
        labels=LABELS,
        probabilities=CLASSES,
        remarks=["t1c is missing."],
    )
    return dcmread(results.segmentation), dcmread(results.report), results


def numbers(data, meaning):
    return [
        (float(item.MeasuredValueSequence[0].NumericValue), item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence)
        for item in content_items(data, meaning)
    ]


def test_it_is_a_measurement_report_of_the_same_patient_and_study(written, patient):
    segmentation, report, _ = written
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert report.Modality == "SR"
    for tag in ("PatientID", "PatientName", "StudyInstanceUID", "AccessionNumber"):
        assert report[tag].value == segmentation[tag].value
    assert report.SeriesInstanceUID != segmentation.SeriesInstanceUID
    assert report.VerificationFlag == "UNVERIFIED"


def test_the_text_says_research_only_model_and_remarks(written):
    _, report, _ = written
    said = [item.TextValue for item in content_items(report, "Comment")]
    assert said[0] == "Research use only. Not for diagnosis or treatment."
    assert "toy-model" in said[1]
    assert "0123456789abcdef" in said[1]
    assert said[2:] == ["t1c is missing.", "Without a code of their own, coded as Tissue: wibble."]
    assert report.SeriesDescription.startswith("Research use only")


def test_the_observer_is_a_device_called_radapt(written):
    _, report, _ = written
    assert content_items(report, "Observer Type")[0].ConceptCodeSequence[0].CodeMeaning == "Device"
    assert content_items(report, "Device Observer Name")[0].TextValue == "radapt"
    assert content_items(report, "Device Observer Model Name")[0].TextValue == "toy-model"


def test_sizes_refer_to_their_segments(written):
    segmentation, report, _ = written
    ml = 0.5 * 0.75 * 2.5 / 1000
    volumes = numbers(report, "Volume")
    assert [value for value, _ in volumes] == pytest.approx([16 * ml, 3 * ml, 0], rel=1e-5)
    assert {unit[0].CodeValue for _, unit in volumes} == {"ml"}
    diameters = numbers(report, "Diameter")
    assert [value for value, _ in diameters] == pytest.approx(
        [math.hypot(4 * 0.75, 1), math.hypot(3 * 0.75, 0.5)], rel=1e-5
    )
    references = [item.ReferencedSOPSequence[0] for item in content_items(report, "Referenced Segment")]
    assert {item.ReferencedSOPInstanceUID for item in references} == {segmentation.SOPInstanceUID}
    assert [item.ReferencedSegmentNumber for item in references] == [1, 2, 3]
    tracked = {item.UID for item in content_items(report, "Tracking Unique Identifier")}
    assert {segment.TrackingUID for segment in segmentation.SegmentSequence} <= tracked
    assert content_items(report, "Finding Site")[0].ConceptCodeSequence[0].CodeMeaning == "Kidney"
    assert content_items(report, "Laterality")[0].ConceptCodeSequence[0].CodeMeaning == "Left"


def test_every_source_is_evidence(written, patient):
    segmentation, report, _ = written
    evidence = {
        image.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for image in series.ReferencedSOPSequence
    }
    files = {dcmread(path).SOPInstanceUID for path in patient.folder.iterdir()}
    assert evidence == files | {segmentation.SOPInstanceUID}


def test_probabilities_are_measurements_and_the_decision_an_evaluation(written):
    _, report, _ = written
    assert numbers(report, "Probability of astrocytoma")[0][0] == 0.751235
    assert numbers(report, "Probability of oligodendroglioma")[0][0] == 0.25
    predicted = content_items(report, "Predicted class")
    assert [item.ConceptCodeSequence[0].CodeMeaning for item in predicted] == ["astrocytoma"]


def test_class_codes_fit_and_differ():
    codes = [class_code(name) for name in ("a", "b", "x" * 100)]
    assert len({code.value for code in codes}) == 3
    assert all(len(code.value) <= 16 and len(code.meaning) <= 64 for code in codes)
    assert class_code("a").value != class_code("a", "Probability of ").value


def test_a_classifier_has_a_report_without_segmentation(patient, algorithm, tmp_path):
    results = write_results(tmp_path, "c", patient.source, algorithm, probabilities=CLASSES)
    assert results.segmentation is None
    assert [path.name for path in tmp_path.glob("*.dcm")] == ["c-sr.dcm"]
    assert not content_items(dcmread(results.report), "Volume")


def test_findings_can_all_be_absent(patient, algorithm, tmp_path):
    rows = [ClassProbability("Effusion", 0.1, False), ClassProbability("Mass", 0.0, False)]
    report = write_report(tmp_path / "sr.dcm", patient.source, algorithm, probabilities=rows)
    assert not content_items(report, "Predicted class")


def test_nothing_to_report_is_refused(patient, algorithm, tmp_path):
    with pytest.raises(UsageError, match="sizes of segments or probabilities"):
        write_report(tmp_path / "sr.dcm", patient.source, algorithm)
    with pytest.raises(UsageError, match="neither a mask nor probabilities"):
        write_results(tmp_path, "c", patient.source, algorithm)


def test_the_same_result_gives_the_same_bytes(patient, algorithm, tmp_path):
    for name in ("a", "b"):
        write_report(tmp_path / name, patient.source, algorithm, probabilities=CLASSES)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("case", ["SECRET-17", "sub-secret-17_ses-1", "a/b", "..", "", "a:b"])
def test_file_names_carry_no_patient_id_and_no_path(patient, algorithm, tmp_path, case):
    results = write_results(tmp_path, case, patient.source, algorithm, probabilities=CLASSES)
    assert results.report.parent == tmp_path
    assert results.report.name.startswith("series-")
    assert "secret" not in results.report.name.casefold()
    assert results.notes
    assert file_name("case-7", patient.source) == "case-7"


def test_sizes_of_a_drawn_mask(tmp_path):
    """Pixels of 2 × 1 mm: an L, and apart from it a longer bar in another slice."""
    pixels = np.zeros((3, 8, 8), np.uint8)
    pixels[0, 1:4, 2] = pixels[0, 3, 2:5] = 1
    pixels[2, 0, 0:7] = 1
    pixels[1, 5, 5] = 2
    toy = toy_patient(ToySeries(pixels, spacing=(2.0, 1.0)), tmp_path / "series")
    bar, dot, absent = segment_sizes(toy.source, toy.mask, (1, 2, 3))
    assert bar.volume_ml == pytest.approx(12 * 2 * 2.5 / 1000)
    assert bar.longest_mm == pytest.approx(math.hypot(7, 2))
    assert dot == SegmentSize(2, pytest.approx(0.005), pytest.approx(math.hypot(1, 2)))
    assert absent == SegmentSize(3, 0.0, None)
    turned = Volume(toy.mask.array[::-1].transpose(2, 0, 1), turned_affine(toy.mask))
    assert segment_sizes(toy.source, turned, (1,))[0] == bar


def test_a_film_has_a_diameter_where_its_pixels_have_a_size(tmp_path):
    film = toy_film(tmp_path / "a", PixelSpacing=[0.2, 0.3])
    assert segment_sizes(film.source, film.mask, (1,)) == [SegmentSize(1, None, pytest.approx(math.hypot(0.4, 1.2)))]
    film = toy_film(tmp_path / "b", ImagerPixelSpacing=[0.2, 0.3])
    assert segment_sizes(film.source, film.mask, (1,)) == [SegmentSize(1, None, None)]


def turned_affine(mask):
    affine = mask.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (mask.array.shape[0] - 1)
    affine[:3, 0] *= -1
    return affine[:, [2, 0, 1, 3]]


@pytest.mark.parametrize("seed", range(5))
def test_the_longest_diameter_is_that_of_all_corners(tmp_path, seed):
    from scipy.ndimage import label
    from scipy.spatial.distance import pdist

    pixels = (np.random.default_rng(seed).random((2, 9, 11)) < 0.4).astype(np.uint8)
    toy = toy_patient(ToySeries(pixels, spacing=(0.7, 1.3)), tmp_path / "series")
    expected = 0.0
    for plane in pixels:
        regions, count = label(plane, np.ones((3, 3)))
        for number in range(1, count + 1):
            inside = np.argwhere(regions == number)
            corners = np.concatenate([inside + offset for offset in ((0, 0), (0, 1), (1, 0), (1, 1))]) * (0.7, 1.3)
            expected = max(expected, pdist(corners).max())
    assert segment_sizes(toy.source, toy.mask, (1,))[0].longest_mm == pytest.approx(expected)
