"""The commands of docs/first-study.md, run on folders as the page describes them."""

import re
import shlex
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from openpyxl import Workbook
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from radapt import load_cohort
from radapt.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "first-study.md"
SECTIONS = PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
PATIENTS = 12


def blocks(section: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def commands(section: str) -> list[list[str]]:
    lines = "".join(blocks(section, "bash")).splitlines()
    words = [shlex.split(line) for line in lines]
    assert all(line[0] == "radapt" for line in words)
    return [line[1:] for line in words]


def pictures(root: Path, rng: np.random.Generator) -> None:
    lines = ["Bild;Patient;Alter;Diagnose;Größe"]
    for at in range(2 * PATIENTS):
        path = root / "pictures" / str(2023 + at % 2) / f"IMG_{at:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 24), np.uint8)).save(path)
        lines.append(f"{path.name};{at // 2};{50 + at},5;{'gesund' if at % 4 < 2 else 'krank'};1,7")
    (root / "pictures" / "Liste.csv").write_bytes("\r\n".join(lines).encode("cp1252"))


def patients(root: Path, rng: np.random.Generator) -> None:
    book = Workbook()
    sheet = book.worksheets[0]
    sheet.append(["Fall", "Histologie", "Klinik"])
    for at in range(1, PATIENTS + 1):
        folder = root / "patients" / f"P{at:02d}"
        folder.mkdir(parents=True)
        for name in ("T1", "FLAIR", "seg"):
            if name == "FLAIR" and at % 4 == 0:
                continue
            values = rng.normal(100, 20, (12, 12, 4)).astype(np.float32)
            if name == "seg":
                values = np.zeros((12, 12, 4), np.uint8)
                values[2:6, 3:7, 1:3] = 1
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / f"{name}.nii.gz")
        if at > 1:
            sheet.append([f"p{at}", ["Astrozytom", "Metastase"][at % 2], ["Nord", "Süd"][at % 3 > 0]])
    sheet.append(["p99", "Metastase", "Nord"])
    book.save(root / "clinic.xlsx")


def hospitals(root: Path, rng: np.random.Generator) -> None:
    names = (("localizer", "t1 tra KM", "tirm dark-fluid"), ("Scout", "AX T1 POST", "AX FLAIR"))
    lines = ["PatientID,PatientName,diagnosis"]
    for at in range(PATIENTS):
        hospital, study = at % 2, generate_uid()
        for number, description in enumerate(names[hospital]):
            uid = generate_uid()
            for place in range(3):
                path = root / "hospitals" / f"{at}" / f"{number}" / f"IM{place}"
                write_slice(path, rng, f"MRN-{at:03d}", study, uid, description, number, place, f"Hospital {hospital}")
        lines.append(f"mrn-{at},Doe^{at},{['glioma', 'lymphoma'][at // 2 % 2]}")
    (root / "diagnoses.csv").write_text("\n".join(lines))


def write_slice(
    path: Path,
    rng: np.random.Generator,
    patient: str,
    study: str,
    series: str,
    what: str,
    number: int,
    at: int,
    site: str,
) -> None:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = MRImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.PatientID, data.PatientName, data.InstitutionName = patient, f"Doe^{patient}", site
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, study
    data.Modality, data.SeriesDescription, data.SeriesNumber, data.InstanceNumber = "MR", what, number, at + 1
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 4 * at], [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.SliceThickness = [1, 1], 4
    data.Rows = data.Columns = 12
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit = 15
    data.PixelData = rng.integers(0, 900, (12, 12), np.uint16).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng = np.random.default_rng(0)
    for build in (pictures, patients, hospitals):
        build(tmp_path, rng)
    (tmp_path / "study.yaml").write_text(blocks(SECTIONS[-1], "yaml")[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RADAPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def run(section: str, capsys: pytest.CaptureFixture[str], *names: str) -> list[str]:
    """What the commands of the section print, of those called one of `names`."""
    printed = []
    for words in commands(section):
        if words[0] in names:
            with pytest.raises(SystemExit) as ended:
                main(words)
            said = capsys.readouterr()
            assert ended.value.code in (0, None), (words, said)
            printed.append(said.out)
    return printed


@pytest.mark.usefixtures("folders")
def test_pictures_with_a_table_from_german_excel(capsys: pytest.CaptureFixture[str]) -> None:
    (said,) = run(SECTIONS[0], capsys, "scan")
    for part in ("24 cases of 12 patients", "';' between the columns", "cp1252", "'Alter', 'Größe'", "found by name"):
        assert part in said
    cohort = load_cohort("pictures.yaml")
    assert cohort.classes == ("gesund", "krank")
    assert cohort.cases[0].metadata == {"Alter": "50.5", "Größe": "1.7"}


@pytest.mark.usefixtures("folders")
def test_a_folder_per_patient_with_a_clinical_table(capsys: pytest.CaptureFixture[str]) -> None:
    (said,) = run(SECTIONS[1], capsys, "scan")
    for part in ("flair (missing in 3), t1", "masks: 12 cases", "Astrozytom 6, Metastase 5, unlabelled 1", "Nord 4"):
        assert part.casefold() in said.casefold()
    assert "1 case without a row in clinic.xlsx: P01." in said
    assert "1 row of clinic.xlsx left out: no such patient or case (rows 13)." in said
    assert "11 ids of clinic.xlsx matched although written differently, such as 'P02' and 'p2'" in said


@pytest.mark.usefixtures("folders")
def test_dicom_of_two_hospitals(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = run(SECTIONS[2], capsys, "scan")
    assert "(missing in 6), " in first
    assert "--modality 'FLAIR=ax flair|tirm dark-fluid' --modality 'T1c=ax t1 post|t1 tra km'" in first
    assert "36 DICOM files left out (localizer)." in first
    assert "Overwritten: hospitals.yaml and hospitals.cases.csv" in second
    assert "Columns of diagnoses.csv that may identify patients left out: PatientName." in second
    cohort = load_cohort("hospitals.yaml")
    assert cohort.modalities == ("T1c", "FLAIR")
    assert cohort.presence.all()
    assert (cohort.labels >= 0).all()
    assert len(cohort.folds) == 2
    assert "MRN" not in Path("hospitals.cases.csv").read_text() + Path("hospitals.yaml").read_text()
    ids = pd.read_csv("private/ids.csv")
    assert set(ids["patient"]) == set(cohort.patients)
    assert ids["original"].str.startswith("MRN-").all()


@pytest.mark.slow
@pytest.mark.usefixtures("folders")
def test_every_command_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    printed = [text for section in SECTIONS for text in run(section, capsys, "scan", "check", "run")]
    assert len(printed) == sum(len(commands(section)) for section in SECTIONS) == 9
    assert printed[-1].count("vit-nano with knn  ") == 3
    assert Path("runs/first/report.html").is_file()
