"""DICOM files whose UIDs or ids an anonymiser has emptied: never merged across patients, never one study for all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from radapt.cohorts import CohortDraft, ScanOptions, scan
from radapt.cohorts.layouts.registry import matching


def write(path: Path, patient: str = "", study: str = "", series: str = "", modality: str = "CT") -> Path:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.PatientID, data.StudyInstanceUID, data.Modality = patient, study, modality
    if series != "absent":
        data.SeriesInstanceUID = series
    data.Rows = data.Columns = 2
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def places(draft: CohortDraft, root: Path) -> list[str]:
    """What every case consists of, relative to `root`."""
    table = draft.table[draft.modalities]
    return sorted("+".join(sorted(str(Path(text).relative_to(root)) for text in row if text)) for row in table.values)


@pytest.mark.parametrize("series", ["", "absent"])
def test_without_uids_a_folder_is_a_study(series: str, tmp_path: Path) -> None:
    for at in range(6):
        write(tmp_path / f"folder{at // 2}" / f"{at}.dcm", patient=f"P{at // 4}", series=series)
    draft = scan(tmp_path)
    assert places(draft, tmp_path) == ["folder0", "folder1", "folder2"]
    assert sorted(draft.table["patient"].value_counts()) == [1, 2]
    assert any(note.startswith("6 DICOM files without a StudyInstanceUID") for note in draft.notes)


@pytest.mark.parametrize("together", [False, True])
def test_without_uids_and_ids_folders_are_patients(together: bool, tmp_path: Path) -> None:
    for at in range(6):
        write(tmp_path / ("all" if together else f"folder{at // 2}") / f"{at}.dcm")
    draft = scan(tmp_path)
    assert draft.table["patient"].nunique() == len(draft.table) == (1 if together else 3)


def test_radiographs_without_uids_are_studies_of_their_own(tmp_path: Path) -> None:
    for at in range(6):
        write(tmp_path / f"{at}.dcm", patient=f"P{at // 2}", modality="DX")
    draft = scan(tmp_path)
    assert places(draft, tmp_path) == [f"{at}.dcm" for at in range(6)]
    assert sorted(draft.table["patient"].value_counts()) == [2, 2, 2]
    for at in range(6):
        write(tmp_path / f"{at}.dcm", modality="DX")
    assert scan(tmp_path).table["patient"].nunique() == 6


def test_two_patients_in_one_folder_without_uids_are_not_merged(tmp_path: Path) -> None:
    for at in range(4):
        write(tmp_path / "mixed" / f"{at}.dcm", patient=f"P{at // 2}")
        write(tmp_path / "own" / f"{at}.dcm", patient="P0")
    draft = scan(tmp_path)
    assert places(draft, tmp_path) == ["own"]
    assert sum("2 files in mixed left out" in note for note in draft.notes) == 2


def test_one_study_uid_for_two_patients_is_two_cases(tmp_path: Path) -> None:
    for at in range(4):
        write(tmp_path / f"folder{at // 2}" / f"{at}.dcm", patient=f"P{at // 2}", study="1.2.3", series="1.2.4")
    draft = scan(tmp_path)
    assert places(draft, tmp_path) == ["folder0", "folder1"]
    assert draft.table["patient"].nunique() == 2
    assert any("1 case shared a StudyInstanceUID with another patient" in note for note in draft.notes)


def test_a_file_without_patient_is_of_its_studys(tmp_path: Path) -> None:
    for at, patient in enumerate(("P0", "", "P0")):
        write(tmp_path / f"{at}" / "x.dcm", patient=patient, study="1.2.3", series=f"1.2.{at}")
    draft = scan(tmp_path)
    assert len(draft.table) == 1
    assert len(draft.modalities) == 3


def test_class_folders_of_radiographs_without_uids(tmp_path: Path) -> None:
    for at in range(6):
        write(tmp_path / ("ill", "well")[at % 2] / f"{at}.dcm", modality="DX")
    assert list(matching(tmp_path)) == ["folders"]
    draft = scan(tmp_path)
    assert draft.table["patient"].nunique() == 6


def test_classes_of_patients_with_a_series_each(tmp_path: Path) -> None:
    for at in range(24):
        folder = tmp_path / ("ill", "well")[at // 12] / f"{at // 3}"
        write(folder / f"{at}.dcm", patient=f"P{at // 6}", study=f"1.{at // 3}", series=f"2.{at // 3}")
    assert list(matching(tmp_path)) == ["folders"]
    draft = scan(tmp_path)
    assert places(draft, tmp_path) == [f"{'well' if at > 3 else 'ill'}/{at}" for at in range(8)]
    assert draft.table["label"].tolist() == ["ill"] * 4 + ["well"] * 4
    assert sorted(draft.table["patient"].value_counts()) == [2, 2, 2, 2]  # a patient with two folders is one
    assert not draft.table["patient"].str.contains("P").any()
    assert any("--layout dicom" in note for note in draft.notes)
    scan(tmp_path, "dicom")


def test_a_folder_of_a_class_with_two_series_holds_two_cases(tmp_path: Path) -> None:
    for at in range(24):
        folder = tmp_path / ("ill", "well")[at // 12] / f"{at // 6}"
        write(folder / f"{at}.dcm", patient=f"P{at // 6}", study=f"1.{at // 3}", series=f"2.{at // 3}")
    draft = scan(tmp_path)
    assert len(draft.table) == 8
    assert all("::series-" in text for text in draft.table["image"])
    assert draft.table["patient"].nunique() == 4


def test_folders_of_patients_with_studies_inside_are_no_classes(tmp_path: Path) -> None:
    for at in range(24):
        folder = tmp_path / f"P{at // 12}" / f"study{at // 3}"
        write(folder / f"{at}.dcm", patient=f"P{at // 12}", study=f"1.{at // 3}", series=f"2.{at // 3}")
    assert list(matching(tmp_path)) == ["dicom"]
    for at in range(24):
        folder = tmp_path / f"P{at // 12}" / f"study{at // 3}"
        write(folder / f"{at}.dcm", study=f"1.{at // 3}", series=f"2.{at // 3}")
    assert list(matching(tmp_path)) == ["dicom"]


def test_a_tree_shows_how_far_it_is_read(tmp_path: Path) -> None:
    said: list[object] = []

    @contextmanager
    def progress(total: int, label: str, unit: str) -> Iterator[object]:
        said.extend((total, unit))
        yield said.append

    for at in range(3):
        write(tmp_path / f"{at}.dcm", patient="P", study="1.2", series="1.3")
    (tmp_path / "readme.txt").touch()
    scan(tmp_path, options=ScanOptions(progress=progress))  # type: ignore[arg-type]
    assert said == [4, "files", 1, 1, 1, 1]


def test_ids_of_dicom_patients_may_be_written_in_several_ways(tmp_path: Path) -> None:
    for at, patient in enumerate(["a01", "A1", "a 01", "a2"]):
        write(tmp_path / str(at) / "1.dcm", patient=patient, study=f"1.2.{at}", series=f"1.3.{at}")
    draft = scan(tmp_path)
    assert draft.table["patient"].nunique() == 2
    assert any(note.startswith("1 patient written in several ways") for note in draft.notes)


def test_links_to_folders_elsewhere_are_followed_once(tmp_path: Path) -> None:
    for at in range(3):
        write(tmp_path / "store" / str(at) / "1.dcm", patient=f"P{at}", study=f"1.2.{at}", series=f"1.3.{at}")
    (tmp_path / "store" / "2").rename(tmp_path / "tree")
    for at in range(2):
        (tmp_path / "tree" / f"link{at}").symlink_to(tmp_path / "store" / str(at))
    (tmp_path / "store" / "0" / "back").symlink_to(tmp_path / "tree")
    (tmp_path / "store" / "1" / "again").symlink_to(tmp_path / "store" / "0")
    assert len(scan(tmp_path / "tree").table) == 3
