"""What a DICOM segmentation says: patient, codes, algorithm, sources, frames; and what is refused."""

import builtins
import dataclasses

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from radapt.deploy.dicom.algorithm import Algorithm, short
from radapt.deploy.dicom.results import write_results
from radapt.deploy.dicom.segmentation import write_segmentation
from radapt.deploy.dicom.source import read_source
from radapt.errors import DataError, UsageError
from radapt.images import Volume, read
from radapt.locations import Location
from radapt.versions import __version__
from toy_dicom import XRAY, ToySeries, frames_of_segmentation

from .conftest import toy_film

LABELS = {1: "tumour", 2: "left kidney", 3: "wibble"}


@pytest.fixture
def written(patient, algorithm, tmp_path):
    write_segmentation(tmp_path / "seg.dcm", patient.source, patient.mask, LABELS, algorithm)
    return dcmread(tmp_path / "seg.dcm")


def test_it_belongs_to_the_patient_and_study_of_its_images(written, patient):
    image = dcmread(next(patient.folder.iterdir()))
    for tag in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate"):
        assert written[tag].value == image[tag].value, tag
    assert written.FrameOfReferenceUID == image.FrameOfReferenceUID
    assert (written.Modality, written.SegmentationType, written.Manufacturer) == ("SEG", "BINARY", "radapt")
    assert written.SeriesInstanceUID != image.SeriesInstanceUID


def test_it_says_that_it_is_for_research_only(written):
    assert written.SeriesDescription.startswith("Research use only")
    assert written.ContentDescription.startswith("Research use only")
    assert written.ContentQualification == "RESEARCH"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("LGG grade · dinov2-s-focus · linear", "Research use only: segmentation, LGG grade · dinov2-s-focus..."),
        ("UPENN-GBM tumour subregions · unet", "Research use only: segmentation, UPENN-GBM tumour subregions..."),
        ("four letters more than fits, 31", "Research use only: segmentation, four letters more than fits, 31"),
        ("four letters more than fits, 311", "Research use only: segmentation, four letters more than fits..."),
    ],
)
def test_a_long_model_name_ends_after_a_whole_word(patient, tmp_path, model, expected):
    made_by = Algorithm(model, "0123456789abcdef")
    seg = write_segmentation(tmp_path / "seg.dcm", patient.source, patient.mask, LABELS, made_by)
    assert (seg.SeriesDescription, seg.ContentDescription) == (expected, expected)
    assert len(expected.encode()) <= 64
    assert model in seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0].AlgorithmParameters


@pytest.mark.parametrize(
    ("text", "length", "expected"),
    [
        ("ab cd ef", 8, "ab cd ef"),
        ("ab cd efg", 8, "ab cd..."),  # "ab cd" and the dots fill it
        ("ab cde fg", 8, "ab..."),
        ("abcdefghi", 8, "abcde..."),  # one word
        ("äöü äöü x", 10, "äöü..."),  # six bytes and the dots; four would cut "ü"
        ("a\\b\nc", 8, "a/b c"),
        ("ab · cdefghij", 10, "ab..."),
    ],
)
def test_text_is_shortened_by_words_and_counted_in_bytes(text, length, expected):
    assert short(text, length) == expected
    assert len(expected.encode()) <= length


def test_its_uids_are_uuids_and_depend_on_result_model_and_time(written, patient, algorithm, tmp_path):
    uids = [written.SOPInstanceUID, written.SeriesInstanceUID]
    uids += [segment.TrackingUID for segment in written.SegmentSequence]
    assert len(set(uids)) == 5
    for uid in uids:
        assert uid.startswith("2.25.")
        assert uid.is_valid
        assert int(uid[5:]) < 2**128
    other = Volume(np.where(patient.mask.array == 2, 1, patient.mask.array), patient.mask.affine)
    later = dataclasses.replace(algorithm, created=algorithm.created.replace(hour=23))
    for mask, made_by in ((other, algorithm), (patient.mask, later), (patient.mask, Algorithm("b", "1" * 32))):
        again = write_segmentation(tmp_path / "b.dcm", patient.source, mask, LABELS, made_by)
        assert again.SOPInstanceUID != written.SOPInstanceUID


def test_the_same_result_gives_the_same_bytes(written, patient, algorithm, tmp_path):
    write_segmentation(tmp_path / "again.dcm", read_source(Location(patient.folder)), patient.mask, LABELS, algorithm)
    assert (tmp_path / "again.dcm").read_bytes() == (tmp_path / "seg.dcm").read_bytes()


def test_segments_have_codes_colours_and_the_algorithm(written):
    tumour, kidney, other = written.SegmentSequence
    assert [segment.SegmentLabel for segment in (tumour, kidney, other)] == list(LABELS.values())
    assert tumour.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    kind = kidney.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning) == ("64033007", "SCT", "Kidney")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert other.SegmentedPropertyTypeCodeSequence[0].CodeValue == "85756007"
    assert "No standard code" in other.SegmentDescription
    for segment in (tumour, kidney, other):
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        made_by = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert (made_by.AlgorithmName, made_by.AlgorithmVersion) == ("radapt", __version__)
        assert "0123456789abcdef" in made_by.AlgorithmParameters
        assert len(segment.RecommendedDisplayCIELabValue) == 3


def test_there_is_a_frame_for_each_segment_and_slice_that_hold_something(written, tmp_path):
    frames = frames_of_segmentation(tmp_path / "seg.dcm")
    assert sorted((frame.segment, round(frame.position[2], 3)) for frame in frames) == [(1, 32.5), (1, 35), (2, 35)]
    assert written.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices == 2.5


def test_every_source_file_is_referenced_once_under_its_own_class(written, patient):
    files = {dcmread(path).SOPInstanceUID for path in patient.folder.iterdir()}
    items = written.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert sorted(item.ReferencedSOPInstanceUID for item in items) == sorted(files)
    assert {item.ReferencedSOPClassUID.name for item in items} == {"CT Image Storage"}


def test_an_empty_mask_keeps_all_its_frames(patient, algorithm, tmp_path):
    empty = Volume(np.zeros_like(patient.mask.array), patient.mask.affine)
    write_segmentation(tmp_path / "seg.dcm", patient.source, empty, {1: "tumour"}, algorithm)
    frames = frames_of_segmentation(tmp_path / "seg.dcm")
    assert len(frames) == 4
    assert not any(frame.inside.any() for frame in frames)


def test_labels_need_not_be_consecutive(patient, algorithm, tmp_path):
    mask = Volume(np.where(patient.mask.array == 2, 300, patient.mask.array.astype(np.int32)), patient.mask.affine)
    labels = {300: "liver", 1: "spleen", 7: "stomach"}
    data = write_segmentation(tmp_path / "seg.dcm", patient.source, mask, labels, algorithm)
    assert [segment.SegmentLabel for segment in data.SegmentSequence] == ["spleen", "stomach", "liver"]
    assert [frame.inside.sum() for frame in frames_of_segmentation(tmp_path / "seg.dcm")] == [8, 8, 3]


def test_fractions_are_stored_in_steps_of_a_255th(patient, algorithm, tmp_path):
    rng = np.random.default_rng(0)
    maps = {label: Volume(rng.random(patient.mask.array.shape), patient.mask.affine) for label in (1, 2)}
    write_segmentation(tmp_path / "seg.dcm", patient.source, maps, {1: "liver", 2: "tumour"}, algorithm)
    data = dcmread(tmp_path / "seg.dcm")
    assert (data.SegmentationType, data.SegmentationFractionalType, data.MaximumFractionalValue) == (
        "FRACTIONAL",
        "PROBABILITY",
        255,
    )
    frames = frames_of_segmentation(tmp_path / "seg.dcm")
    assert len(frames) == 8
    for frame, stored in zip(frames, data.pixel_array / 255, strict=True):
        k = round((frame.position[2] - 30) / 2.5)
        np.testing.assert_allclose(stored, maps[frame.segment].array[:, :, k].T, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("spacing", [None, [0.2, 0.3]])
def test_an_x_ray_without_position_has_a_segmentation(algorithm, tmp_path, spacing):
    tags = {"PixelSpacing": spacing} if spacing else {"ImagerPixelSpacing": [0.1, 0.1]}
    film = toy_film(tmp_path / "film", PatientOrientation=["L", "F"], **tags)
    write_segmentation(tmp_path / "seg.dcm", film.source, film.mask, {1: "left lung"}, algorithm)
    seg = dcmread(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(seg.pixel_array.reshape(6, 8), film.mask.planes()[0])
    derived = seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    image = dcmread(next(film.folder.iterdir()))
    assert (derived.ReferencedSOPClassUID, derived.ReferencedSOPInstanceUID) == (XRAY, image.SOPInstanceUID)
    measures = seg.SharedFunctionalGroupsSequence[0].get("PixelMeasuresSequence")
    assert (measures and list(measures[0].PixelSpacing)) == spacing
    assert seg.PatientOrientation == ["L", "F"]


@pytest.mark.parametrize(
    ("charset", "name"),
    [("ISO_IR 100", "Müller^Jürgen"), ("ISO_IR 192", "Ελένη^Α"), (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎")],
)
def test_names_in_any_character_set_are_kept(algorithm, tmp_path, charset, name):
    pixels = np.ones((2, 4, 4), np.uint8)
    procedure = Dataset()
    procedure.CodeValue, procedure.CodingSchemeDesignator, procedure.CodeMeaning = "1", "L", name.replace("^", " ")
    tags = {"SpecificCharacterSet": charset, "PatientName": name, "ProcedureCodeSequence": [procedure]}
    series = ToySeries(pixels, tags=tags)
    where = Location(series.write(tmp_path / "series"))
    mask = Volume(read(where).array, read(where).affine)
    write_segmentation(tmp_path / "seg.dcm", read_source(where), mask, {1: "Tumör 肿瘤"}, algorithm)
    data = dcmread(tmp_path / "seg.dcm")
    assert str(data.PatientName) == name
    assert data.ProcedureCodeSequence[0].CodeMeaning == name.replace("^", " ")
    assert data.SegmentSequence[0].SegmentLabel == "Tumör 肿瘤"


def test_wrong_values_of_the_source_do_not_stop_it(algorithm, tmp_path):
    tags = {"PatientSex": "female", "PatientBirthDate": "1970-1", "StudyTime": "noon", "StudyID": "x" * 30}
    import pydicom

    with pydicom.config.disable_value_validation():
        where = Location(ToySeries(np.ones((2, 4, 4), np.uint8), tags=tags).write(tmp_path / "series"))
    mask = Volume(read(where).array, read(where).affine)
    write_segmentation(tmp_path / "seg.dcm", read_source(where), mask, {1: "tumour"}, algorithm)
    data = dcmread(tmp_path / "seg.dcm")
    assert (data.PatientSex, data.PatientBirthDate, data.StudyTime) == ("", "", "")
    assert data.PatientID == "SECRET-17"


def test_nothing_is_said_about_names(algorithm, tmp_path, capfd, recwarn, caplog):
    """Libraries warn about names of one word and repeat them."""
    tags = {"PatientName": "Methuselah", "ReferringPhysicianName": "Hippocrates"}
    where = Location(ToySeries(np.zeros((2, 4, 4), np.uint8), tags=tags).write(tmp_path / "series"))
    mask = Volume(read(where).array, read(where).affine)
    with caplog.at_level("INFO"):
        write_results(tmp_path, "c", read_source(where), algorithm, mask=mask, labels={1: "tumour"})
    out = "".join([*capfd.readouterr(), caplog.text, *(str(warning.message) for warning in recwarn)])
    assert "Methuselah" not in out
    assert "Hippocrates" not in out
    assert out == ""


def test_a_value_that_cannot_be_written_is_an_error_that_does_not_repeat_it(algorithm, tmp_path):
    where = Location(ToySeries(np.ones((2, 4, 4), np.uint8)).write(tmp_path / "series"))
    source = read_source(where)
    source.header.StudyDate = "born yesterday"
    with pytest.raises(DataError, match=r"fits no new object \(ValueError\)") as caught:
        write_segmentation(tmp_path / "seg.dcm", source, read(where), {1: "tumour"}, algorithm)
    assert "yesterday" not in str(caught.value)


def test_what_is_missing_in_the_source_is_empty(algorithm, tmp_path):
    gone = ("PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime")
    tags = dict.fromkeys(gone)
    where = Location(ToySeries(np.ones((2, 4, 4), np.uint8), tags=tags).write(tmp_path / "series"))
    mask = Volume(read(where).array, read(where).affine)
    write_segmentation(tmp_path / "seg.dcm", read_source(where), mask, {1: "tumour"}, algorithm)
    assert not dcmread(tmp_path / "seg.dcm").PatientID


def test_a_mask_on_another_grid_is_refused(patient, algorithm, tmp_path):
    moved = patient.mask.affine.copy()
    moved[0, 3] += 0.4
    with pytest.raises(DataError, match="does not lie on its DICOM series"):
        write_segmentation(tmp_path / "seg.dcm", patient.source, Volume(patient.mask.array, moved), LABELS, algorithm)
    assert not (tmp_path / "seg.dcm").exists()


def test_wrong_values_are_refused(patient, algorithm, tmp_path):
    def write(mask, labels):
        write_segmentation(tmp_path / "seg.dcm", patient.source, mask, labels, algorithm)

    affine, array = patient.mask.affine, patient.mask.array
    with pytest.raises(DataError, match=r"value 2, which has no name; labels are \[1\]"):
        write(patient.mask, {1: "tumour"})
    with pytest.raises(DataError, match="whole numbers"):
        write(Volume(array * 0.5, affine), LABELS)
    with pytest.raises(UsageError, match="at least one label"):
        write(patient.mask, {})
    with pytest.raises(DataError, match=r"go from 0 to 2"):
        write({1: Volume(array * 1.0, affine)}, {1: "tumour"})
    with pytest.raises(DataError, match="Fractions"):
        write({1: Volume(np.full(array.shape, np.nan), affine)}, {1: "tumour"})
    with pytest.raises(DataError, match=r"maps for the labels \[1\], and names for \[1, 2\]"):
        write({1: Volume(array * 0.5, affine)}, {1: "a", 2: "b"})
    assert list(tmp_path.glob("*seg*")) == []


@pytest.mark.parametrize("tag", ["PatientID", "StudyInstanceUID"])
def test_files_of_two_patients_are_refused_without_naming_them(patient, tag):
    path = sorted(patient.folder.iterdir())[2]
    data = dcmread(path)
    setattr(data, tag, "1.2.3.4")
    data.save_as(path)
    with pytest.raises(DataError, match=f"differ in {tag}") as caught:
        read_source(Location(patient.folder))
    assert "SECRET" not in str(caught.value)
    assert "1.2.3.4" not in str(caught.value)


@pytest.mark.parametrize(
    ("tag", "said"),
    [("StudyInstanceUID", "no StudyInstanceUID"), ("FrameOfReferenceUID", "no FrameOfReferenceUID")],
)
def test_a_series_that_has_no_place_is_refused(tmp_path, tag, said):
    folder = ToySeries(np.ones((2, 4, 4), np.uint8), tags={tag: None}).write(tmp_path / "series")
    with pytest.raises(DataError, match=said):
        read_source(Location(folder))


def test_frames_without_position_are_refused(tmp_path):
    folder = ToySeries(np.ones((3, 4, 4), np.uint8), form="stacked").write(tmp_path / "series")
    data = dcmread(folder / "stack.dcm")
    del data.ImagePositionPatient
    data.save_as(folder / "stack.dcm")
    with pytest.raises(DataError, match="3 frames without a position"):
        read_source(Location(folder))


def test_without_highdicom_the_extra_is_named(patient, algorithm, tmp_path, monkeypatch):
    original = builtins.__import__

    def absent(name, *rest, **options):
        if name == "highdicom":
            raise ImportError(name)
        return original(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UsageError, match=r"pip install 'radapt\[dicom-out\]'"):
        write_segmentation(tmp_path / "seg.dcm", patient.source, patient.mask, LABELS, algorithm)


def test_a_folder_that_cannot_be_written_is_named(patient, algorithm, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_segmentation(tmp_path / "file" / "seg.dcm", patient.source, patient.mask, LABELS, algorithm)
