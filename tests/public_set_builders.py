"""Miniatures of public data sets in their exact public naming, written below a folder.

Each is a partial copy: a sequence, a mask or a row of a table is missing somewhere, as in real downloads.
"""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import h5py
import numpy as np
from openpyxl import Workbook

from layout_builders import touch, write_dicom
from radapt.parsing.matlab import MAGIC


def table(path: Path, rows: Iterable[Sequence[object]], separator: str = ",") -> None:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.getvalue().encode()))
    else:
        path.write_text(text.getvalue(), encoding="utf-8")


def brats_years(prefix: str, table_name: str) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        for at in range(6):
            name = f"{prefix}_TCIA0{at}_1{at}7_1"
            folder = root / ("HGG" if at % 2 else "LGG") / name
            sequences = ("t1", "t1ce", "t2", "flair", "seg") if at != 2 else ("t1", "flair")
            touch(*(folder / f"{name}_{word}.nii.gz" for word in sequences))
        number = prefix[-2:]
        ids = [[f"{prefix}_TCIA0{at}_1{at}7_1", 60 + at, 300] for at in (1, 3)]
        table(root / table_name, [[f"BraTS{number}ID", "Age", "Survival"], *ids])

    return build


def brats2020(root: Path) -> None:
    root = root / "MICCAI_BraTS2020_TrainingData"
    for at in range(353, 358):
        name = f"BraTS20_Training_{at}"
        touch(*(root / name / f"{name}_{word}.nii.gz" for word in ("t1", "t1ce", "t2", "flair")))
        if at != 357:
            touch(root / name / ("W39_1998.09.19_Segm.nii" if at == 355 else f"{name}_seg.nii.gz"))
    grades = [["HGG" if at % 2 else "LGG", f"BraTS20_Training_{at}"] for at in (353, 354, 355, 356, 400)]
    table(root / "name_mapping.csv", [["Grade", "BraTS_2020_subject_ID"], *grades])
    table(root / "survival_info.csv", [["Brats20ID", "Age", "Survival_days"], ["BraTS20_Training_353", "60.5", "289"]])


def brats2021(root: Path) -> None:
    for at in (0, 2, 3, 5):
        name = f"BraTS2021_{at:05d}"
        touch(*(root / name / f"{name}_{word}.nii.gz" for word in ("t1", "t1ce", "t2", "flair", "seg")))
    (root / "BraTS2021_00003" / "BraTS2021_00003_seg.nii.gz").unlink()


def brats_visits(visits: Sequence[str], tumour: str = "GLI") -> Callable[[Path], None]:
    def build(root: Path) -> None:
        for at in range(4):
            for visit in visits if at else visits[:1]:
                name = f"BraTS-{tumour}-0000{at}-{visit}"
                touch(*(root / name / f"{name}-{word}.nii.gz" for word in ("t1n", "t1c", "t2w", "t2f", "seg")))
        next(root.glob("*/*-t2w.nii.gz")).unlink()

    return build


def brats_men_rt(root: Path) -> None:
    for name in ("0002-1", "0003-1", "0003-2", "0402-1"):
        name = f"BraTS-MEN-RT-{name}"
        touch(root / name / f"{name}_t1c.nii.gz", root / name / f"{name}_gtv.nii.gz")


def brats_tcga(root: Path) -> None:
    for at in range(4):
        patient = f"TCGA-02-000{at}"
        name = f"{patient}_199{at}.08.23"
        words = ["t1", "t1Gd", "t2", "flair", "GlistrBoost"] + (["GlistrBoost_ManuallyCorrected"] if at else [])
        touch(*(root / patient / f"{name}_{word}.nii.gz" for word in words))


def egd(root: Path) -> None:
    for at in range(1, 6):
        for number, word in enumerate(("T1", "T1GD", "T2", "FLAIR", "MASK"), start=1):
            if (at, word) not in ((2, "T2"), (3, "MASK")):
                touch(root / f"EGD-000{at}" / f"{number}_{word}" / "NIFTI" / f"{word}.nii.gz")
        touch(root / f"EGD-000{at}" / "metadata.json")
    rows = [[f"EGD-000{at}", (-1, 0, 1)[at % 3], -1] for at in range(1, 6)]
    book = Workbook()
    for row in [["Subject", "IDH", "1p19q"], *rows]:
        book.active.append(row)  # type: ignore[union-attr]
    book.create_sheet("Legend").append(["Value", "Meaning"])
    book["Legend"].append([-1, "unknown"])
    book.save(root / "Genetic_data.xlsx")


def ixi(root: Path) -> None:
    for at, site in enumerate(("Guys", "HH", "IOP", "Guys", "HH"), start=2):
        for word in ("T1", "T2", "PD"):
            if (at, word) != (3, "PD"):
                touch(root / f"IXI-{word}" / f"IXI00{at}-{site}-08{at:02d}-{word}.nii.gz")
    rows = "".join(f"{at},{at % 2 + 1},{30 + at}\n" for at in (2, 3, 4, 5, 9))
    (root / "IXI.csv").write_text('IXI_ID,"SEX_ID (1=m, 2=f)",AGE\n' + rows)


def adni(root: Path) -> None:
    rows = ["Image Data ID,Subject,Group,Sex,Age,Visit,Modality,Description"]
    for at in range(6):
        for visit, day in enumerate(("2006-04-18_08_20_30.0", "2007-05-02_10_00_00.0")[: 1 + at % 2]):
            subject, number = f"002_S_02{at:02d}", f"I{1370 + 2 * at + visit}"
            name = f"ADNI_{subject}_MR_MP-RAGE_br_raw_{number}.nii"
            touch(root / "ADNI" / subject / "MP-RAGE" / day / number / name)
            rows.append(f"{number},{subject},{('CN', 'AD', 'MCI')[at % 3]},F,{70 + visit},{visit + 1},MRI,MP-RAGE")
    (root / "AD_1_02_2026.csv").write_text("\n".join(rows) + "\n")


def upenn(root: Path) -> None:
    for at in range(1, 6):
        for visit in ("11", "21") if at == 1 else ("11",):
            name = f"UPENN-GBM-0000{at}_{visit}"
            words = ("T1", "T1GD", "T2", "FLAIR")
            touch(*(root / "images_structural" / name / f"{name}_{word}.nii.gz" for word in words))
            touch(
                *(root / "images_structural_unstripped" / name / f"{name}_{word}_unstripped.nii.gz" for word in words)
            )
            touch(root / "automated_segm" / f"{name}_automated_approx_segm.nii.gz")
            if at < 4:
                touch(root / "images_segm" / f"{name}_segm.nii.gz")
    words = ("Wildtype", "Mutated", "NOS/NEC", "Wildtype")
    rows = [[f"UPENN-GBM-0000{at}_11", "M", word] for at, word in enumerate(words, start=1)]
    table(root / "UPENN-GBM_clinical_info_v2.1.csv", [["ID", "Gender", "IDH1"], *rows])


def ucsf(root: Path) -> None:
    for name in ("0004", "0005", "0391", "0391_FU016d"):
        name = f"UCSF-PDGM-{name}"
        words = ("T1", "T1c", "T1c_bias", "T2", "T2_bias", "FLAIR", "ADC", "tumor_segmentation", "brain_segmentation")
        touch(*(root / f"{name}_nifti" / f"{name}_{word}.nii.gz" for word in words))
    rows = [[f"UCSF-PDGM-{number}", "F", grade] for number, grade in (("004", 4), ("005", 2), ("391", 3))]
    table(root / "UCSF-PDGM-metadata_v5.csv", [["ID", "Sex", "WHO CNS Grade"], *rows])


def lumiere(root: Path) -> None:
    rating = "Rating (according to RANO, PD: Progressive disease, SD: Stable disease)"
    rows: list[list[object]] = [["Patient", "Date", rating]]
    for at in range(1, 4):
        for week, word in (("week-000-1", "Pre-Op"), ("week-012", "SD"), ("week-031", "PD")):
            folder = root / "Imaging" / f"Patient-00{at}" / week
            touch(*(folder / f"{word}.nii.gz" for word in ("T1", "CT1", "T2", "FLAIR")))
            touch(folder / "HD-GLIO-AUTO-segmentation" / "native" / "segmentation_CT1_origspace.nii.gz")
            rows.append([f"Patient-00{at}", week, word])
    table(root / "LUMIERE-ExpertRating-v202211.csv", rows[:-1])


def kits(mask: str, names: str, extra: str = "") -> Callable[[Path], None]:
    def build(root: Path) -> None:
        for at in range(5):
            touch(root / f"case_0000{at}" / "imaging.nii.gz")
            if at != 4:
                touch(root / f"case_0000{at}" / mask)
            if extra:
                touch(root / f"case_0000{at}" / extra)
        records = [{"case_id": f"case_0000{at}", "gender": "male", "malignant": at != 2, "x": {}} for at in range(4)]
        (root / names).write_text(json.dumps(records))

    return build


def total(image: str, structures: Sequence[str]) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        rows: list[list[object]] = [["image_id", "age", "institute", "split"]]
        for at in (0, 1, 2, 4):
            touch(root / f"s000{at}" / f"{image}.nii.gz")
            touch(*(root / f"s000{at}" / "segmentations" / f"{name}.nii.gz" for name in structures))
            rows.append([f"s000{at}", 60, "ABC"[at % 3], ("train", "val", "test")[at % 3]])
        (root / "s0001" / "segmentations" / f"{structures[0]}.nii.gz").unlink()
        table(root / "meta.csv", rows, ";")

    return build


def amos(root: Path) -> None:
    for split, numbers in (("Tr", (1, 4, 507)), ("Va", (8, 510)), ("Ts", (3,))):
        touch(*(root / "amos22" / f"images{split}" / f"amos_{number:04d}.nii.gz" for number in numbers))
        if split != "Ts":
            touch(*(root / "amos22" / f"labels{split}" / f"amos_{number:04d}.nii.gz" for number in numbers))
    (root / "amos22" / "dataset.json").write_text(
        json.dumps({"modality": {"0": "CT"}, "labels": {"0": "background", "1": "spleen"}, "training": []})
    )
    rows = [[number, "1970.1.1", "M", "siteA"] for number in (1, 4, 507, 8)]
    head = ["amos_id", "Patient's Birth Date", "Patient's Sex", "Site"]
    table(root / "labeled_data_meta_0000_0599.csv", [head, *rows])


def btcv(root: Path) -> None:
    for at in range(1, 6):
        touch(root / "RawData" / "Training" / "img" / f"img000{at}.nii.gz")
        touch(root / "RawData" / "Training" / "label" / f"label000{at}.nii.gz")
    touch(root / "RawData" / "Testing" / "img" / "img0061.nii.gz")


def chexpert(root: Path) -> None:
    for split, numbers in (("train", range(1, 6)), ("valid", range(64541, 64543))):
        rows: list[list[object]] = [["Path", "Sex", "Age", "No Finding", "Edema", "Pleural Effusion"]]
        for number in numbers:
            for view in ("view1_frontal", "view2_lateral"):
                path = f"{split}/patient{number:05d}/study1/{view}.jpg"
                touch(root / path)
                cells = ["", ("1.0", "-1.0", "")[number % 3], "0.0"]
                rows.append([f"CheXpert-v1.0-small/{path}", "Female", 68, *cells])
        table(root / f"{split}.csv", rows)
    (root / "train" / "patient00003" / "study1" / "view2_lateral.jpg").unlink()


def mimic(root: Path) -> None:
    split: list[list[object]] = [["dicom_id", "study_id", "subject_id", "split"]]
    labels: list[list[object]] = [["subject_id", "study_id", "Edema", "Support Devices"]]
    seen: list[list[object]] = [["dicom_id", "subject_id", "study_id", "StudyDate", "ViewPosition"]]
    for at in range(5):
        patient, study = 10000032 + at // 2, 50414267 + at
        name = "-".join(f"{at + part:08x}" for part in range(5))
        touch(root / "files" / "p10" / f"p{patient}" / f"s{study}" / f"{name}.jpg")
        split.append([name, study, patient, ("train", "train", "train", "train", "test")[at]])
        seen.append([name, patient, study, "21800506", "PA"])
        if at != 1:
            labels.append([patient, study, ("1.0", "0.0", "-1.0", "", "1.0")[at], "0.0"])
    for name, rows in (("split", split), ("chexpert", labels), ("metadata", seen)):
        table(root / f"mimic-cxr-2.0.0-{name}.csv.gz", rows)


def vindr(root: Path) -> None:
    train: list[list[object]] = [["image_id", "rad_id", "Cardiomegaly", "No finding"]]
    for at in range(4):
        touch(root / "train" / f"{at:032x}.dicom", root / "test" / f"{at + 8:032x}.dicom")
        for reader in range(3):
            yes = (reader < 2, reader < 1, True, False)[at]
            train.append([f"{at:032x}", f"R{reader}", int(yes), int(not yes)])
    train += [[f"{0:032x}", "R9", 0, 1]]  # 2 of 4: a tie
    table(root / "annotations" / "image_labels_train.csv", train)
    test = [[f"{at + 8:032x}", at % 2, 1 - at % 2] for at in range(4)]
    table(root / "annotations" / "image_labels_test.csv", [["image_id", "Cardiomegaly", "No finding"], *test])


def montgomery(root: Path) -> None:
    for at in range(1, 7):
        name = f"MCUCXR_000{at}_{at % 2}"
        touch(root / "CXR_png" / f"{name}.png", root / "ManualMask" / "leftMask" / f"{name}.png")
        if at != 2:
            touch(root / "ManualMask" / "rightMask" / f"{name}.png")
        touch(root / "ClinicalReadings" / f"{name}.txt")
        text = f"Patient's Sex: F \nPatient's Age: 0{20 + at}Y\nnormal\n"
        (root / "ClinicalReadings" / f"{name}.txt").write_text(text)


def shenzhen(root: Path) -> None:
    for at in range(1, 7):
        name = f"CHNCXR_000{at}_{at % 2}"
        touch(root / "CXR_png" / f"{name}.png", root / "ClinicalReadings" / f"{name}.txt")
        (root / "ClinicalReadings" / f"{name}.txt").write_text(f"male, {40 + at}yrs\nnormal")
        if at > 2:
            touch(root / "mask" / f"{name}_mask.png")


def sars(root: Path) -> None:
    for at in range(1, 6):
        touch(root / "COVID" / f"Covid ({at}).png", root / "non-COVID" / f"Non-Covid ({at}).png")


def busi(root: Path) -> None:
    root = root / "Dataset_BUSI_with_GT"
    for label in ("benign", "malignant", "normal"):
        for at in range(1, 5):
            touch(root / label / f"{label} ({at}).png", root / label / f"{label} ({at})_mask.png")
    touch(root / "benign" / "benign (4)_mask_1.png")
    (root / "normal" / "normal (2)_mask.png").unlink()


def isic(root: Path) -> None:
    rows: list[list[object]] = [["image_name", "patient_id", "sex", "benign_malignant", "target"]]
    for at in range(8):
        touch(root / "train" / f"ISIC_000000{at}.jpg")
        rows.append([f"ISIC_000000{at}", f"IP_{at // 2}", "male", "malignant" if at % 4 == 0 else "benign", 0])
    (root / "train" / "ISIC_0000003.jpg").unlink()
    table(root / "ISIC_2020_Training_GroundTruth.csv", rows)


def acdc(root: Path) -> None:
    for at in range(1, 6):
        folder = root / ("training" if at < 4 else "testing") / f"patient00{at}"
        for frame in ("01", "12"):
            name = f"patient00{at}_frame{frame}"
            touch(folder / f"{name}.nii.gz", folder / f"{name}_gt.nii.gz")
        touch(folder / f"patient00{at}_4d.nii.gz")
        if at != 3:
            group = ("NOR", "DCM", "HCM")[at % 3]
            (folder / "Info.cfg").write_text(
                f"ED: 1\nES: 12\nGroup: {group}\nHeight: 184.0\nNbFrame: 30\nWeight: 95.0\n"
            )


def cheng(root: Path) -> None:
    for at in range(1, 7):
        path = root / ("brainTumorDataPublic_1766" if at < 5 else "brainTumorDataPublic_7671532") / f"{at}.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        matlab(path, at % 3 + 1, f"10{at // 2}", np.full((8, 12), at, np.int16), np.eye(8, 12, dtype=np.uint8))
    (root / "brainTumorDataPublic_1766" / "4.mat").write_bytes(MAGIC + b" cjdata, damaged")


def matlab(path: Path, label: int, patient: str, image: np.ndarray, mask: np.ndarray, *, header: bool = True) -> None:
    """A slice as the set has it: HDF5 behind 512 bytes of MATLAB, arrays with their axes reversed."""
    with h5py.File(path, "w", userblock_size=512 * header) as file:
        file["cjdata/label"] = np.array([[label]], np.float64)
        file["cjdata/PID"] = np.array([[ord(letter)] for letter in patient], np.uint16)
        file["cjdata/image"], file["cjdata/tumorMask"] = image.T, mask.T
    if header:
        with path.open("r+b") as raw:
            raw.write(MAGIC)


def lidc(root: Path) -> None:
    ratings = {"0001": (5, 4, 5, 4), "0002": (1, 1, 2), "0002b": (3, 3), "0003": ()}
    for at, name in enumerate((*ratings, "0004", "0005")):
        series = f"1.3.6.1.4.1.14519.5.2.1.6279.6001.{at + 1}"
        folder = root / f"LIDC-IDRI-{name[:4]}" / f"study{at}" / "3000566.000000-NA"
        for number in range(3):
            modality = "DX" if name == "0005" else "CT"
            write_dicom(folder / f"1-{number:03d}.dcm", at, f"1.2.{at}", series, modality, "", 1)
        if name in ratings:
            sessions = "".join(
                "<readingSession><unblindedReadNodule><characteristics>"
                f"<malignancy>{rating}</malignancy></characteristics></unblindedReadNodule></readingSession>"
                for rating in ratings[name] or (0,)
            )
            header = f"<ResponseHeader><SeriesInstanceUid>{series}</SeriesInstanceUid></ResponseHeader>"
            text = f'<LidcReadMessage xmlns="http://www.nih.gov">{header}{sessions}</LidcReadMessage>'
            (folder / "069.xml").write_text(text)
