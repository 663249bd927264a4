"""DICOM trees as input: studies, sequences by headers, and files that are broken, mixed or left out."""

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from layout_builders import write_dicom
from radapt.deploy.inputs.dicom_studies import header_kind
from radapt.deploy.inputs.resolve import ResolvedInput, resolve_inputs
from radapt.deploy.sequences import ModelSequence
from radapt.errors import UsageError

WANTED = tuple(map(ModelSequence.of, ("t1c", "flair")))


def write_series(
    folder: Path, study: str, description: str, *, patient: int = 0, slices: int = 3, number: int = 1
) -> None:
    uid = generate_uid()
    for at in range(slices):
        write_dicom(folder / f"{at}.dcm", patient, study, uid, "MR", description, number)


def resolved(*paths: Path) -> ResolvedInput:
    return resolve_inputs(paths, WANTED, "mri")


def test_a_study_folder_is_a_case_and_a_series_folder_too(tmp_path: Path) -> None:
    study = generate_uid()
    write_series(tmp_path / "st" / "a", study, "T1 post (GD)")
    write_series(tmp_path / "st" / "b", study, "T2 FLAIR", number=2)
    write_series(tmp_path / "st" / "c", study, "localizer", number=3)
    found = resolved(tmp_path / "st")
    assert [sorted(case.images) for case in found.cohort] == [["flair", "t1c"]]
    assert found.cohort.cases[0].case.startswith("s-")
    assert "MRN" not in str(found)
    assert list(found.series.values()) == [{"t1c": "t1-post-gd", "flair": "t2-flair"}]
    assert [list(case.images) for case in resolved(tmp_path / "st" / "b").cohort] == [["flair"]]
    one = resolved(tmp_path / "st" / "b" / "1.dcm")
    assert [list(case.images) for case in one.cohort] == [["flair"]]


def test_two_series_that_could_both_be_it(tmp_path: Path) -> None:
    study = generate_uid()
    write_series(tmp_path / "a", study, "T1 post", slices=2)
    write_series(tmp_path / "b", study, "T1 post repeat", slices=4, number=2)
    found = resolved(tmp_path)
    assert found.cohort.cases[0].images["t1c"].path == tmp_path / "b"
    assert "'t1-post-repeat' was taken, not 't1-post'" in next(iter(found.reasons.values()))


def test_a_study_of_two_patients_is_refused_and_the_next_is_not(tmp_path: Path) -> None:
    shared = generate_uid()
    write_series(tmp_path / "mixed" / "a", shared, "T1 post", patient=0)
    write_series(tmp_path / "mixed" / "b", shared, "FLAIR", patient=1)
    write_series(tmp_path / "good", generate_uid(), "FLAIR", patient=2)
    found = resolved(tmp_path)
    assert len(found.cohort) == 1
    assert list(found.failures.values()) == [
        "Its files are of 2 patients, by their PatientID, though they share a StudyInstanceUID. Give every patient's "
        "files to predict by themselves."
    ]


def test_a_broken_file_stops_its_own_study(tmp_path: Path) -> None:
    write_series(tmp_path / "broken", generate_uid(), "FLAIR")
    write_series(tmp_path / "good", generate_uid(), "FLAIR", patient=1)
    (tmp_path / "broken" / "1.dcm").write_bytes(b"")
    found = resolved(tmp_path)
    assert len(found.cohort) == 1
    reason = next(iter(found.failures.values()))
    assert "1.dcm is empty or broken off" in reason
    assert "Copy the study again" in reason


def test_a_folder_with_nothing_but_broken_files_is_a_failed_case(tmp_path: Path) -> None:
    write_series(tmp_path / "good", generate_uid(), "FLAIR")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "0.dcm").write_bytes(b"")
    assert list(resolved(tmp_path).failures) == ["half"]


def test_no_usable_sequence_names_what_is_there(tmp_path: Path) -> None:
    write_series(tmp_path, generate_uid(), "ADC map")
    assert list(resolved(tmp_path).failures.values()) == [
        "No usable sequence: the model reads t1c, flair; the study has 'adc-map' (adc). If one of them is, say so: "
        "--map adc-map=t1c"
    ]


def test_an_input_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"There is no .*nowhere"):
        resolved(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"RepetitionTime": 500, "EchoTime": 10}, "t1"),
        ({"RepetitionTime": 500, "EchoTime": 10, "ContrastBolusAgent": "Gadovist"}, "t1c"),
        ({"RepetitionTime": 9000, "EchoTime": 120, "InversionTime": 2500}, "flair"),
        ({"RepetitionTime": 4000, "EchoTime": 100}, "t2"),
        ({"ImageType": ["DERIVED", "PRIMARY", "ADC"]}, "adc"),
        ({"Modality": "CT"}, "ct"),
        ({}, None),
    ],
)
def test_headers_mean_kinds(tmp_path: Path, tags: dict[str, object], kind: str | None) -> None:
    write_series(tmp_path, generate_uid(), "", slices=1)
    data = dcmread(tmp_path / "0.dcm")
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(tmp_path / "0.dcm", enforce_file_format=True)
    assert header_kind(tmp_path / "0.dcm") == kind


def test_images_of_other_kinds_in_a_dicom_folder_are_not_left_out_in_silence(tmp_path: Path) -> None:
    write_series(tmp_path / "good", generate_uid(), "FLAIR")
    (tmp_path / "good" / "flair.nii.gz").write_bytes(b"")
    (tmp_path / "good" / "readme.txt").write_text("read as nothing", encoding="utf-8")
    found = resolved(tmp_path)
    assert len(found.cohort) == 1
    said = "is read as DICOM: 1 image of other kinds is left out, such as good/flair.nii.gz"
    assert sum(said in note for note in found.notes) == 1


def test_age_and_sex_may_stand_in_any_series(tmp_path: Path) -> None:
    study = generate_uid()
    write_series(tmp_path / "a", study, "T1 post")
    write_series(tmp_path / "b", study, "FLAIR", number=2)
    for path in (tmp_path / "a").glob("*.dcm"):
        data = dcmread(path)
        data.PatientAge = data.PatientSex = data.PatientBirthDate = ""
        data.save_as(path)
    (case,) = resolved(tmp_path).cohort
    assert (case.metadata["age"], case.metadata["sex"]) == ("070Y", "M")
