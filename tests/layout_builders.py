"""Tiny data sets of every layout, and a scan of them that is loaded again."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from radapt.cohorts import Cohort, ScanOptions, load_cohort, scan, write_cohort
from radapt.cohorts.summary import summary


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def build_table(root: Path) -> Path:
    lines = ["file_name,patient_id,dx,Label"]
    for at in range(12):
        touch(root / "pictures" / f"{at}.png")
        lines.append(f"pictures/{at}.png,{at // 2},{'ill' if at // 2 % 2 else 'well'},x{at}")
    (root / "data.csv").write_text("\n".join(lines))
    return root


def build_pairs(root: Path) -> Path:
    for at in range(12):
        touch(root / "photos" / f"p{at // 2}_{at}.png", root / "masks" / f"p{at // 2}_{at}_mask.png")
    return root


def build_folders(root: Path) -> Path:
    for at in range(6):
        touch(root / "healthy" / f"person{at // 2}_{at}.png", root / "ill" / f"person{at // 2 + 9}_{at}.jpg")
    return root


def build_medmnist(root: Path) -> Path:
    return npz(root / "pneumoniamnist.npz", np.arange(4)[:, None] % 2).parent


def npz(path: Path, labels: np.ndarray, shape: tuple[int, ...] = (28, 28)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, np.ndarray] = {}
    for word in ("train", "val", "test"):
        arrays[f"{word}_images"] = np.zeros((len(labels), *shape), dtype=np.uint8)
        arrays[f"{word}_labels"] = labels
    np.savez_compressed(path, allow_pickle=True, **arrays)
    return path


def build_msd(root: Path, modality: dict[str, str] | None = None) -> Path:
    names = [f"la_{at:03d}.nii.gz" for at in range(5)]
    touch(*(root / folder / name for folder in ("imagesTr", "labelsTr") for name in names))
    touch(root / "imagesTs" / "la_900.nii.gz")
    content = {
        "name": "Left atrium",
        "modality": modality or {"0": "MRI"},
        "labels": {"0": "background", "1": "left atrium"},
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
        "test": ["./imagesTs/la_900.nii.gz"],
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def build_nnunet(root: Path) -> Path:
    for at in range(5):
        touch(root / "imagesTr" / f"case_{at}_0000.nii.gz", root / "labelsTr" / f"case_{at}.nii.gz")
        if at:
            touch(root / "imagesTr" / f"case_{at}_0001.nii.gz")
    touch(root / "imagesTs" / "case_8_0000.nii.gz", root / "labelsTs" / "case_8.nii.gz")
    touch(root / "imagesTs" / "case_9_0000.nii.gz")
    content = {
        "channel_names": {"0": "T1", "1": "FLAIR"},
        "labels": {"background": 0, "whole": [1, 2], "tumour": 1},
        "file_ending": ".nii.gz",
        "numTraining": 5,
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def build_bids(root: Path) -> Path:
    lines = ["participant_id\tage\tdiagnosis\thospital"]
    for at in range(10):
        subject = f"sub-{at:02d}"
        lines.append(
            f"{subject}\t{40 + at}\t{'tumour' if at % 2 else 'n/a' if at == 8 else 'none-seen'}\t{'AB'[at > 7]}"
        )
        touch(
            root / subject / "anat" / f"{subject}_T1w.nii.gz", root / subject / "func" / f"{subject}_task-x_bold.nii.gz"
        )
        if at != 3:
            touch(root / subject / "anat" / f"{subject}_ce-gad_T1w.nii.gz")
        masks = root / "derivatives" / "lesions" / subject / "anat"
        touch(masks / f"{subject}_label-lesion_mask.nii.gz", masks / f"{subject}_desc-brain_mask.nii.gz")
        touch(masks / f"{subject}_space-MNI_label-lesion_mask.nii.gz")
    (root / "participants.tsv").write_text("\n".join(lines))
    (root / "dataset_description.json").write_text("{}")
    return root


def build_nih(root: Path) -> Path:
    lines = ["Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"]
    found = ["No Finding", "Effusion|Mass", "Hernia", "No Finding"]
    for at in range(16):
        lines.append(f"{at:08d}_000.png,{found[at % 4]},0,{at // 2},50,F,PA")
        if at != 15:
            touch(root / f"images_{at // 8 + 1:03d}" / "images" / f"{at:08d}_000.jpg")
    # The first release ends every line, the header too, with a comma.
    (root / "Data_Entry_2017_v2020.csv").write_text("".join(f"{line},\n" for line in lines))
    (root / "train_val_list.txt").write_text("\n".join(f"{at:08d}_000.png" for at in range(12)))
    (root / "test_list.txt").write_text("\n".join(f"{at:08d}_000.png" for at in range(12, 16)))
    return root


def build_dicom(root: Path) -> Path:
    for patient in range(2):
        study = generate_uid()
        for series, description in enumerate(("T1 post (GD)", "FLAIR")):
            uid = generate_uid()
            for at in range(3):
                folder = root / "SMITH^JOHN" / f"study{patient}"  # both series in one folder
                write_dicom(folder / f"IM{series}{at}", patient, study, uid, "MR", description, series)
    return root


def write_dicom(
    path: Path, patient: int, study: str, series: str, modality: str, description: str, number: int
) -> None:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.PatientName, data.PatientID, data.PatientBirthDate = f"Smith^John{patient}", f"MRN-{patient}", "19500102"
    data.AccessionNumber, data.StudyDate = "ACC777", "20200304"
    data.StudyInstanceUID, data.SeriesInstanceUID = study, series
    data.Modality, data.SeriesDescription, data.SeriesNumber = modality, description, number
    data.PatientSex, data.PatientAge, data.ManufacturerModelName = "M", "070Y", "Scanner X"
    data.Rows = data.Columns = 2
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def build_patients(root: Path) -> Path:
    for at in range(1, 7):
        touch(*(root / f"Patient_{at:03d}" / f"{name}.nii.gz" for name in ("T1", "FLAIR", "seg")))
    return root


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "table": build_table,
    "pairs": build_pairs,
    "folders": build_folders,
    "medmnist": build_medmnist,
    "msd": build_msd,
    "nnunet": build_nnunet,
    "bids": build_bids,
    "nih": build_nih,
    "dicom": build_dicom,
    "patients": build_patients,
}


def scanned(root: Path, out: Path, layout: str | None = None, **options: object) -> Cohort:
    draft = scan(root, layout, ScanOptions(**options))  # type: ignore[arg-type]
    assert summary(draft)
    return load_cohort(write_cohort(draft, out / "cohort.yaml")[0])
