"""Trees of DICOM files."""

import warnings
from pathlib import Path

import pytest
from pydicom import DataElement, dcmread
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.uid import generate_uid

from layout_builders import build_dicom, write_dicom
from radapt.cohorts import load_cohort, scan, write_cohort
from radapt.cohorts.layouts.dicom.headers import series_digest
from radapt.cohorts.layouts.registry import matching
from radapt.errors import DataError


def test_dicom_groups_by_uid_and_keeps_nobody(tmp_path: Path) -> None:
    draft = scan(build_dicom(tmp_path / "data"))
    text = draft.table.drop(columns=draft.modalities).to_csv()
    assert not any(word in text for word in ("Smith", "MRN", "ACC777", "1950", "2020"))
    assert all(case.startswith("s-") and len(case) == 18 for case in draft.table["case"])
    cohort = load_cohort(write_cohort(draft, tmp_path / "cohort.yaml")[0])
    assert (cohort.kind, cohort.modalities, len(cohort)) == ("mri", ("flair", "t1-post-gd"), 2)
    location = cohort.cases[0].images["flair"]
    assert location.path.name.startswith("study")
    assert location.array is not None
    assert location.array.startswith("series-")
    assert cohort.cases[0].metadata == {"sex": "M", "age": "070Y", "scanner": "Scanner X"}


def test_dicom_series_are_named_as_the_reader_names_them() -> None:
    frames = pytest.importorskip("radapt.images.dicom.frames")
    assert frames.series_key("1.2.3") == f"series-{series_digest('1.2.3')}"


def test_dicom_single_files_and_own_folders(tmp_path: Path) -> None:
    study = generate_uid()
    write_dicom(tmp_path / "a.dcm", 0, study, generate_uid(), "DX", "Chest", 1)
    write_dicom(tmp_path / "b.dcm", 0, study, generate_uid(), "DX", "Chest", 2)
    uid = generate_uid()
    for at in range(2):
        write_dicom(tmp_path / "series" / f"{at}.dcm", 1, generate_uid(), uid, "CT", "", 4)
    (tmp_path / "DICOMDIR").touch()
    table = scan(tmp_path).table
    images = sorted(text for column in table if column.startswith("image") for text in table[column] if text)
    assert images == [str(tmp_path / "a.dcm"), str(tmp_path / "b.dcm"), str(tmp_path / "series")]
    assert sorted(column for column in table if column.startswith("image")) == [
        "image:chest",
        "image:chest-2",
        "image:ct-4",
    ]


def test_a_tree_of_series_that_are_all_spread_says_so(tmp_path: Path) -> None:
    study, series = generate_uid(), generate_uid()
    for at in range(4):
        write_dicom(tmp_path / f"disk{at // 2}" / f"{at}.dcm", 0, study, series, "CT", "Thorax", 1)
    with pytest.raises(DataError, match=r"spread over several folders.*disk0, disk1"):
        scan(tmp_path, "dicom")


def test_dicom_in_class_folders_is_a_folder_of_classes(tmp_path: Path) -> None:
    for label in ("ill", "well"):
        for at in range(4):
            write_dicom(tmp_path / label / f"{at}.dcm", at, generate_uid(), generate_uid(), "DX", "Chest", 1)
    assert list(matching(tmp_path)) == ["folders"]


def test_dicom_in_class_folders_keeps_patients_together(tmp_path: Path) -> None:
    for at in range(12):
        path = tmp_path / "data" / ("ill", "well")[at % 2] / f"{at}.dcm"
        write_dicom(path, at // 2, generate_uid(), generate_uid(), "DX", "Chest", 1)
    (tmp_path / "data" / "ill" / "x.dcm").write_bytes(bytes(128) + b"DICM and no more")
    table = scan(tmp_path / "data").table
    for _, rows in table[table["case"] != "x"].groupby("patient"):
        assert len(rows) == 2
        assert rows["split"].nunique() == 1
    assert not table["patient"].str.contains("MRN|Smith").any()


def test_one_patient_for_all_dicom_files_is_no_patient(tmp_path: Path) -> None:
    for at in range(6):
        path = tmp_path / ("ill", "well")[at % 2] / f"{at}.dcm"
        write_dicom(path, 0, generate_uid(), generate_uid(), "DX", "Chest", 1)
    draft = scan(tmp_path, "folders")
    assert draft.table["patient"].nunique() == 6
    assert any("--patient-regex" in note for note in draft.notes)


def test_a_broken_dicom_file_is_named(tmp_path: Path) -> None:
    build_dicom(tmp_path)
    for name in ("IM00", "IM11"):
        for bad in tmp_path.rglob(name):
            bad.write_bytes(bad.read_bytes()[:150])
    with pytest.raises(DataError, match=r"4 errors(.|\n)*IM00(.|\n)*IM11"):
        scan(tmp_path)


def test_malformed_fields_do_not_reveal_anybody(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for at in range(4):
        path = tmp_path / "data" / f"{at}.dcm"
        write_dicom(path, at, generate_uid(), generate_uid(), "DX", "Chest", 1)
        data = dcmread(path)
        texts = {"PatientBirthDate": "1951-02-03X", "PatientAge": "SECRETAGE", "PatientSex": "SECRETSEX"}
        texts |= {"PatientID": f"SECRETID{at}" + "9" * 70, "PatientName": "SECRET^NAME"}
        for name, text in texts.items():
            tag = tag_for_keyword(name)
            data[tag] = DataElement(tag, dictionary_VR(name), text, validation_mode=IGNORE)
        data.save_as(path)
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        draft = scan(tmp_path / "data")
        write_cohort(draft, tmp_path / "cohort.yaml")
    said = "".join(capfd.readouterr()) + (tmp_path / "cases.csv").read_text() + (tmp_path / "cohort.yaml").read_text()
    assert not [word for word in ("SECRET", "1951") if word in said]
    assert set(draft.table["age"]) == {""}


def of_study(folder: Path, **fields: str) -> None:
    """One more series of the only study in `folder`, with other header fields; '' removes one."""
    study = dcmread(next(folder.rglob("*.dcm"))).StudyInstanceUID if folder.exists() else generate_uid()
    number = len(list(folder.rglob("*.dcm"))) + 1
    path = folder / f"{number}.dcm"
    write_dicom(path, 0, study, generate_uid(), "MR", f"series {number}", number)
    data = dcmread(path)
    for name, text in fields.items():
        setattr(data, name, text)
    data.save_as(path)


def test_age_and_sex_are_those_of_the_first_series_that_has_them(tmp_path: Path) -> None:
    of_study(tmp_path / "data", PatientAge="", PatientSex="", ManufacturerModelName="", PatientBirthDate="")
    of_study(tmp_path / "data", PatientAge="041Y", PatientSex="F", ManufacturerModelName="")
    draft = scan(tmp_path / "data")
    assert draft.table.loc[0, ["age", "sex", "scanner"]].tolist() == ["041Y", "F", ""]
    assert not any("disagree" in note or "is used" in note for note in draft.notes)
    of_study(tmp_path / "data", PatientAge="043Y", PatientSex="M", ManufacturerModelName="Scanner X")
    draft = scan(tmp_path / "data")
    assert draft.table.loc[0, ["age", "sex", "scanner"]].tolist() == ["041Y", "F", "Scanner X"]
    assert [note.partition("give ")[2] for note in draft.notes if "is used" in note] == [
        "F and M as sex; F is used.",
        "041Y and 043Y as age; 041Y is used.",
    ]


@pytest.mark.parametrize(
    ("born", "seen", "age"),
    [
        ("19800615", "20200614", "039Y"),
        ("19800615", "20200615", "040Y"),
        ("20190131", "20200130", "011M"),
        ("20180615", "20200614", "023M"),
        ("20180615", "20200615", "002Y"),
        ("20200102", "20200101", ""),  # a date that was shifted
        ("18800101", "20200101", ""),
        ("", "20200101", ""),
        ("1980", "20200101", ""),
    ],
)
def test_an_age_that_is_not_given_follows_from_the_dates(tmp_path: Path, born: str, seen: str, age: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of a date without a day
        of_study(tmp_path / "data", PatientAge="", PatientBirthDate=born, StudyDate=seen)
        draft = scan(tmp_path / "data")
    assert draft.table.get("age", [""])[0] == age
    assert not any(text in draft.table.to_csv() for text in (born, seen) if len(text) == 8)
