"""Which series of a case carries the result, and cases whose images cannot."""

import numpy as np
import pytest
from pydicom import dcmread

from radapt.deploy.dicom.cases import is_dicom, write_case
from radapt.errors import UsageError
from radapt.images import Volume, read, write_labels
from radapt.locations import Location
from toy_dicom import ToySeries

from .conftest import toy_patient


def series_uid(path):
    return dcmread(path).ReferencedSeriesSequence[0].SeriesInstanceUID


@pytest.fixture
def two_series(tmp_path):
    """t1 of 3 slices and flair of 4, of one patient."""
    t1 = ToySeries(np.ones((3, 6, 8), np.uint8))
    flair = ToySeries(np.ones((4, 6, 8), np.uint8), origin=np.array([0.0, 0, 0]))
    return {"t1": Location(t1.write(tmp_path / "t1")), "flair": Location(flair.write(tmp_path / "flair"))}


@pytest.mark.parametrize("name", ["t1", "flair"])
def test_a_mask_belongs_to_the_series_on_whose_grid_it_lies(two_series, algorithm, tmp_path, name):
    image = read(two_series[name])
    mask = Volume(image.array, image.affine)
    results = write_case(tmp_path / "out", "c", two_series, algorithm, mask=mask, labels={1: "brain"})
    source = next(two_series[name].path.iterdir())
    assert series_uid(results.segmentation) == dcmread(source).SeriesInstanceUID
    assert not results.notes


def test_probabilities_belong_to_the_first_series(two_series, algorithm, tmp_path):
    results = write_case(
        tmp_path / "out", "c", two_series, algorithm, probabilities={"a": 0.9, "b": 0.1}, predicted=["a"]
    )
    evidence = dcmread(results.report).CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert [item.SeriesInstanceUID for item in evidence] == [
        dcmread(next(two_series["t1"].path.iterdir())).SeriesInstanceUID
    ]


def test_cases_without_dicom_have_none(tmp_path, algorithm):
    volume = Volume(np.ones((4, 4, 4), np.uint8), np.eye(4))
    write_labels(tmp_path / "a.nii.gz", volume)
    images = {"t1": Location(tmp_path / "a.nii.gz")}
    assert not is_dicom(images["t1"])
    assert write_case(tmp_path / "out", "c", images, algorithm, mask=volume, labels={1: "brain"}) is None
    assert write_case(tmp_path / "out", "c", {}, algorithm, mask=volume, labels={1: "brain"}) is None
    assert not (tmp_path / "out").exists()


def test_nothing_to_write_is_none(two_series, algorithm, tmp_path):
    assert write_case(tmp_path / "out", "c", two_series, algorithm) is None


def test_images_that_cannot_carry_a_result_are_a_note(two_series, algorithm, tmp_path):
    elsewhere = Volume(np.ones((5, 5, 5), np.uint8), np.eye(4))
    results = write_case(tmp_path / "out", "c", two_series, algorithm, mask=elsewhere, labels={1: "brain"})
    assert results.segmentation is results.report is None
    assert "lies on the grid of none of its DICOM series" in results.notes[0]
    folder = ToySeries(np.ones((2, 6, 8), np.uint8), tags={"FrameOfReferenceUID": None}).write(tmp_path / "bare")
    results = write_case(
        tmp_path / "out", "c", {"t1": Location(folder)}, algorithm, probabilities={"a": 1.0}, predicted=["a"]
    )
    assert "no FrameOfReferenceUID" in results.notes[0]
    assert not (tmp_path / "out").exists()


def test_an_unwritable_folder_is_an_error(patient, algorithm, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_case(
            tmp_path / "file" / "out", "c", {"t1": Location(patient.folder)}, algorithm, probabilities={"a": 1.0}
        )


def test_the_toy_has_its_own_patient(patient, tmp_path):
    """So that the tests of privacy look for something that is there."""
    assert dcmread(next(patient.folder.iterdir())).PatientID == "SECRET-17"
    assert toy_patient(ToySeries(np.ones((2, 4, 4), np.uint8)), tmp_path / "b").source.header.PatientID == "SECRET-17"
