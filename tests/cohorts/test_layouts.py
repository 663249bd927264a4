"""Every registered layout: recognised by itself alone, and scan → write → load keeps what was there.

A builder draws a tiny folder of each layout; most files are empty, since scanning never reads pixels.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from radapt.cohorts import Cohort, ScanOptions, load_cohort, scan, write_cohort
from radapt.cohorts.layouts import LAYOUTS, recognise
from radapt.cohorts.layouts.dicom_headers import series_digest
from radapt.cohorts.layouts.medmnist_facts import FACTS
from radapt.cohorts.layouts.nih import FINDINGS
from radapt.cohorts.layouts.registry import matching
from radapt.cohorts.scan import finish
from radapt.cohorts.summary import summary
from radapt.errors import DataError, UsageError


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


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "table": build_table,
    "folders": build_folders,
    "medmnist": build_medmnist,
    "msd": build_msd,
    "nnunet": build_nnunet,
    "bids": build_bids,
    "nih": build_nih,
    "dicom": build_dicom,
}


def scanned(root: Path, out: Path, layout: str | None = None, **options: object) -> Cohort:
    draft = scan(root, layout, ScanOptions(**options))  # type: ignore[arg-type]
    assert summary(draft)
    return load_cohort(write_cohort(draft, out / "cohort.yaml")[0])


@pytest.mark.parametrize("name", LAYOUTS)
def test_contract_of_every_layout(name: str, tmp_path: Path) -> None:
    root = BUILDERS[name](tmp_path / "data")
    assert list(matching(root)) == [name]
    cohort = scanned(root, tmp_path / "out")
    assert len(cohort)
    assert cohort.path == tmp_path / "out" / "cohort.yaml"
    assert all(location.path.exists() for case in cohort for location in case.images.values())
    pairs = {(case.patient, case.split) for case in cohort}
    assert len(pairs) == len({patient for patient, _ in pairs})
    assert cohort.split_seed is None
    assert scanned(root, tmp_path / "out", name).splits.tolist() == cohort.splits.tolist()  # same again, no --force


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_found_inside_a_single_folder(name: str, tmp_path: Path) -> None:
    BUILDERS[name](tmp_path / "download" / "inner")
    layout, start = recognise(tmp_path / "download")
    assert layout.name == name
    assert start in (tmp_path / "download", tmp_path / "download" / "inner")


def test_nothing_recognised_says_what_was_seen(tmp_path: Path) -> None:
    touch(tmp_path / "a.txt", tmp_path / "b.doc")
    with pytest.raises(DataError, match=r"2 files \(a.txt, b.doc\).*Known layouts: table"):
        scan(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        scan(tmp_path / "empty")


def test_several_recognised_say_so(tmp_path: Path) -> None:
    build_msd(build_bids(tmp_path))
    with pytest.raises(DataError, match=r"msd .*bids .*--layout"):
        scan(tmp_path)
    assert len(scan(tmp_path, "msd").table) == 5


def test_unknown_layout_and_missing_source(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'bids'"):
        scan(tmp_path, "bid")
    with pytest.raises(UsageError, match="does not exist"):
        scan(tmp_path / "nowhere")


# ---- table
# -------------------------------------------------------------------------------------------------------


def test_table_takes_columns_by_their_names_and_renames_traps(tmp_path: Path) -> None:
    cohort = scanned(build_table(tmp_path / "data"), tmp_path)
    assert cohort.classes[:3] == ("x0", "x1", "x10")  # `Label` comes before `dx`
    assert len(set(cohort.patients)) == 6


def test_table_with_chosen_columns(tmp_path: Path) -> None:
    cohort = scanned(build_table(tmp_path / "data"), tmp_path, label=("dx",), kind="xray")
    assert cohort.classes == ("ill", "well")
    assert cohort.kind == "xray"
    assert cohort.cases[3].metadata == {"original_Label": "x3"}
    with pytest.raises(UsageError, match="'dx'"):
        scan(tmp_path / "data", options=ScanOptions(label=("dxx",)))


def test_table_that_is_a_cohort_already(tmp_path: Path) -> None:
    first = scanned(build_bids(tmp_path / "data"), tmp_path / "one")
    again = scanned(tmp_path / "one", tmp_path / "two")
    assert again.splits.tolist() == first.splits.tolist()
    assert (again.name, again.kind, again.modalities) == (first.name, first.kind, first.modalities)
    assert again.cases[0].images["T1w"] == first.cases[0].images["T1w"]


def test_pairs_with_a_numbered_index(tmp_path: Path) -> None:
    for at in range(11):
        touch(tmp_path / "images" / f"{at:03d}.jpg", tmp_path / "masks" / f"{at:03d}_mask.png")
    rows = "".join(f"{at},name{at}\n" for at in range(11))
    (tmp_path / "index.csv").write_text("i,original\n" + rows)
    cohort = scanned(tmp_path, tmp_path / "out", kind="xray")
    assert cohort.task == "segmentation"
    assert cohort.cases[7].mask is not None
    assert cohort.cases[7].mask.path.name == "007_mask.png"
    assert cohort.cases[7].metadata == {"original": "name7"}


def test_errors_name_the_row_of_the_source(tmp_path: Path) -> None:
    build_table(tmp_path / "data")
    path = tmp_path / "data" / "data.csv"
    head, *rows = path.read_text().splitlines()
    path.write_text(
        "\n".join([f"{head},split", "", *(f"{row},{'train' if at else 'test'}" for at, row in enumerate(rows))])
    )
    with pytest.raises(DataError, match=r"data.csv, row 4, case '1': Patient '0' is in 'test' \(row 3\)"):
        scan(path)
    path.write_text("\n".join(["case,label:ill,file", *(f"c{at},{at % 3},pictures/{at}.png" for at in range(9))]))
    with pytest.raises(DataError, match=r"data.csv, row 4, case 'c2': Finding 'ill' is '2'"):
        scan(path)
    path.write_text("\n".join(["case,file", *(f"c,pictures/{at}.png" for at in range(9))]))
    with pytest.raises(DataError, match=r"data.csv, row 3, case 'c'"):
        scan(path)


def test_errors_name_the_row_of_an_index_beside_images(tmp_path: Path) -> None:
    touch(*(tmp_path / "images" / f"{at}.png" for at in range(4)))
    rows = ["file,patient,split", "3,p,test", "2,q,train", "1,p,train", "0,r,train"]
    (tmp_path / "index.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match=r"index.csv, row 2, case '3': Patient 'p' is in 'train' \(row 4\)"):
        scan(tmp_path)


def test_errors_name_the_row_of_participants(tmp_path: Path) -> None:
    path = build_bids(tmp_path) / "participants.tsv"
    path.write_text(path.read_text() + "\nsub-03\t1\tx\tA")
    with pytest.raises(DataError, match=r"participants.tsv, rows 5 and 12: 'sub-03' is there twice"):
        scan(tmp_path)
    path.write_text(path.read_text().replace("\nsub-03\t1\tx\tA", "").replace("diagnosis", "mass"))
    with pytest.raises(DataError, match=r"participants.tsv, row 2, case 'sub-00': Finding 'mass' is 'none-seen'"):
        scan(tmp_path, options=ScanOptions(label=("mass", "age")))


# ---- folders
# -----------------------------------------------------------------------------------------------------


def test_folders_inside_splits(tmp_path: Path) -> None:
    for word in ("train", "validation", "test"):
        for label in ("a", "b"):
            touch(*(tmp_path / word / label / f"{at}.png" for at in range(2)))
    cohort = scanned(tmp_path, tmp_path / "out")
    assert cohort.classes == ("a", "b")
    assert sorted(set(cohort.splits)) == ["test", "train", "val"]
    assert cohort.cases[0].case == "test-a-0"


def test_patients_from_file_names(tmp_path: Path) -> None:
    cohort = scanned(build_folders(tmp_path / "data"), tmp_path, patient_regex=r"person(\d+)_")
    assert sorted(set(cohort.patients)) == ["0", "1", "10", "11", "2", "9"]
    for pattern, error in (("(", UsageError), ("nobody", DataError)):
        with pytest.raises(error, match="--patient-regex"):
            scan(tmp_path / "data", options=ScanOptions(patient_regex=pattern))


def test_a_source_without_a_test_set_is_told_how_to_get_one(tmp_path: Path) -> None:
    for at in range(24):
        touch(tmp_path / ("train", "val")[at // 2 % 2] / "ab"[at % 2] / f"{at}.png")
    draft = scan(tmp_path)
    assert set(draft.table["split"]) == {"train", "val"}
    assert any("--redraw" in note for note in draft.notes)
    draft = scan(tmp_path, options=ScanOptions(redraw=True))
    assert "test" in set(draft.table["split"])
    assert not any("--redraw" in note for note in draft.notes)


def test_a_patient_in_two_split_folders_is_an_error_unless_drawn_anew(tmp_path: Path) -> None:
    for label in ("a", "b"):
        touch(*(tmp_path / word / label / f"p{at}_{word}{label}.png" for word in ("train", "test") for at in range(4)))
    with pytest.raises(DataError, match=r"--redraw.*\n.*'p0' is in 'test'"):
        scan(tmp_path, options=ScanOptions(patient_regex="^p[0-9]"))
    cohort = scanned(tmp_path, tmp_path / "out", patient_regex="^p[0-9]", redraw=True)
    assert len(cohort) == 16


def test_folders_of_cases_are_not_classes(tmp_path: Path) -> None:
    for case in ("BraTS_001", "BraTS_002"):
        touch(*(tmp_path / case / f"{case}_{name}.nii.gz" for name in ("t1", "flair")))
    with pytest.raises(DataError, match="not a layout"):
        scan(tmp_path)


def test_folders_of_patients_inside_classes(tmp_path: Path) -> None:
    for at in range(40):
        touch(tmp_path / "data" / ("covid", "other")[at // 20] / f"Patient ({at // 4})" / f"slice{at % 4}.png")
    assert list(matching(tmp_path / "data")) == ["folders"]
    cohort = scanned(tmp_path / "data", tmp_path / "out")
    assert (len(cohort), len(set(cohort.patients)), cohort.classes) == (40, 10, ("covid", "other"))
    assert {len(set(cohort.splits[cohort.patients == name])) for name in set(cohort.patients)} == {1}
    assert cohort.cases[0].case == "covid-Patient (0)-slice0"
    notes = scan(tmp_path / "data").notes
    assert any(note.startswith("Assumed: a folder inside that of a class is a patient") for note in notes)


def test_a_patient_folder_in_two_classes_is_one_patient(tmp_path: Path) -> None:
    for at in range(24):
        touch(tmp_path / "ab"[at % 2] / f"p{at // 4}" / f"{at}.png")
    draft = scan(tmp_path)
    assert draft.table["patient"].nunique() == 6
    assert any("6 patients in several classes" in note for note in draft.notes)


def test_folders_of_patients_inside_classes_inside_splits(tmp_path: Path) -> None:
    for at in range(24):
        word = ("train", "test")[at // 12]
        touch(tmp_path / "data" / word / "ab"[at % 2] / f"p{at}" / f"{at}.png")
    cohort = scanned(tmp_path / "data", tmp_path / "out")
    assert (len(cohort), sorted(set(cohort.splits)), len(set(cohort.patients))) == (24, ["test", "train"], 24)
    touch(tmp_path / "data" / "train" / "a" / "p13" / "x.png")
    with pytest.raises(DataError, match=r"--redraw(.|\n)*Patient 'p13' is in"):
        scan(tmp_path / "data")
    assert len(scan(tmp_path / "data", options=ScanOptions(redraw=True)).table) == 25


@pytest.mark.parametrize(
    "names",
    [
        ["north/ill/1.png", "north/well/2.png", "south/ill/3.png", "south/well/4.png"],
        ["ill/images/1.png", "ill/masks/1.png", "well/images/2.png", "well/masks/2.png"],
        ["ill/train/1.png", "ill/test/2.png", "well/train/3.png", "well/test/4.png", "well/val/5.png"],
        ["HGG/b1/b1_t1.nii.gz", "HGG/b1/b1_t2.nii.gz", "LGG/b2/b2_t1.nii.gz", "LGG/b2/b2_t2.nii.gz"],
    ],
    ids=["sites", "masks", "splits", "sequences"],
)
def test_folders_that_are_no_patients_are_not_taken_for_them(names: list[str], tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in names))
    assert not matching(tmp_path)


def test_folders_beside_the_images_of_a_class_are_told_of(tmp_path: Path) -> None:
    build_folders(tmp_path)
    touch(tmp_path / "ill" / "augmented" / "a.png")
    draft = scan(tmp_path)
    assert len(draft.table) == 12
    assert any(note.startswith("1 folder of images") for note in draft.notes)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("folders", {"label": ("x",)}),
        ("medmnist", {"split": "x"}),
        ("nih", {"patient": "x"}),
        ("dicom", {"label": ("x",)}),
    ],
)
def test_a_column_is_not_chosen_where_there_are_none(name: str, options: dict, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(options))}.*{name}"):
        scan(BUILDERS[name](tmp_path / "data"), options=ScanOptions(**options))


# ---- medmnist
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize("size", ["", "_64"])
def test_every_medmnist_set_is_known(name: str, size: str, tmp_path: Path) -> None:
    names = FACTS[name].names
    multi = name == "chestmnist"
    labels = np.eye(len(names), dtype=np.uint8) if multi else np.arange(len(names), dtype=np.uint8)[:, None]
    shape = (3, 3, 3) if "3d" in name else (4, 4)
    cohort = scanned(npz(tmp_path / f"{name}{size}.npz", labels, shape), tmp_path)
    assert cohort.outputs == names
    assert cohort.task == ("multilabel" if multi else "binary" if len(names) == 2 else "multiclass")
    assert cohort.ordered == (name == "retinamnist")
    assert cohort.test_sets == ("test",)
    location = cohort.cases[-1].images["image"]
    assert (location.array, location.index) == ("test_images", len(names) - 1)
    if not multi:
        assert cohort.labels.tolist() == list(range(len(names))) * 3


def test_unknown_npz_is_read_by_the_shape_of_its_labels(tmp_path: Path) -> None:
    assert scanned(npz(tmp_path / "a.npz", np.array([0, 1, 2, 2])), tmp_path / "a").classes == ("0", "1", "2")
    assert scanned(npz(tmp_path / "b.npz", np.eye(3)), tmp_path / "b").findings == tuple(
        f"finding-{at}" for at in range(3)
    )


BAD_NPZ: dict[str, Callable[[Path], object]] = {
    "pickled labels": lambda path: npz(path, np.array([[{}], [{}]], dtype=object)),
    "pickled images": lambda path: np.savez(
        path, allow_pickle=True, train_images=np.full((2, 2, 2), None), train_labels=np.zeros((2, 1))
    ),
    "other lengths": lambda path: np.savez(path, train_images=np.zeros((3, 2, 2)), train_labels=np.zeros((2, 1))),
    "no number": lambda path: npz(path, np.array([["a"], ["b"]])),
    "negative": lambda path: npz(path, np.array([[-1], [1]])),
    "no label": lambda path: npz(path, np.array([[np.nan], [1.0]])),
    "half a class": lambda path: npz(path, np.array([[0.5], [1.0]])),
    "not 0 or 1": lambda path: npz(path, np.array([[0, 2], [1, 1]])),
    "truncated": lambda path: path.write_bytes(npz(path, np.zeros((9, 1))).read_bytes()[:-40]),
    "no zip": lambda path: path.write_bytes(b"nothing"),
    "other arrays": lambda path: np.savez(path, x=np.zeros(3)),
}


@pytest.mark.parametrize("name", BAD_NPZ)
def test_bad_npz(name: str, tmp_path: Path) -> None:
    BAD_NPZ[name](tmp_path / "x.npz")
    with pytest.raises(DataError, match=r"x\.npz"):
        scan(tmp_path / "x.npz", "medmnist")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more"], ids=["empty", "truncated"])
def test_a_broken_npz_is_called_so_whatever_the_layout(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npz.* breaks off"):
        scan(tmp_path / "x.npz")


@pytest.mark.parametrize("width", [(), (1,), (3,)])
def test_a_split_of_medmnist_may_be_empty(width: tuple[int, ...], tmp_path: Path) -> None:
    arrays = {"train_images": np.zeros((4, 2, 2)), "train_labels": np.resize([0, 1], (4, *width))}
    arrays |= {"val_images": np.zeros((0, 2, 2)), "val_labels": np.zeros((0, *width), int)}
    np.savez(tmp_path / "x.npz", allow_pickle=False, **arrays)
    assert set(scan(tmp_path / "x.npz").table["split"]) == {"train"}


# ---- msd and nnunet
# ----------------------------------------------------------------------------------------------


def test_msd_with_several_modalities_names_channels(tmp_path: Path) -> None:
    names = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
    cohort = scanned(build_msd(tmp_path / "data", names), tmp_path)
    assert cohort.modalities == ("flair", "t1w", "t1gd", "t2w")
    assert cohort.kind == "mri"
    location = cohort.cases[0].images["t1gd"]
    assert (location.array, location.index) == ("channels", 2)


def test_msd_keeps_masks_and_their_names(tmp_path: Path) -> None:
    cohort = scanned(build_msd(tmp_path / "data"), tmp_path)
    assert cohort.mask_labels == {1: "left atrium"}
    assert [case.case for case in cohort] == [f"la_{at:03d}" for at in range(5)]
    assert all(case.mask for case in cohort)


def test_a_validation_list_is_val(tmp_path: Path) -> None:
    path = build_msd(tmp_path / "data") / "dataset.json"
    content = json.loads(path.read_text())
    content["validation"] = [content["training"].pop()]
    path.write_text(json.dumps(content))
    assert [case.case for case in scanned(tmp_path / "data", tmp_path) if case.split == "val"] == ["la_004"]


def test_nnunet_channels_test_set_and_labels(tmp_path: Path) -> None:
    cohort = scanned(build_nnunet(tmp_path / "data"), tmp_path)
    assert cohort.modalities == ("t1", "flair")
    assert list(cohort.cases[0].images) == ["t1"]
    assert cohort.mask_labels == {1: "tumour"}
    assert [case.case for case in cohort if case.split == "test"] == ["case_8"]


def test_nnunet_version_1(tmp_path: Path) -> None:
    build_nnunet(tmp_path / "data")
    content = {
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "spleen"},
        "training": [{"image": "./imagesTr/case_0.nii.gz", "label": "./labelsTr/case_0.nii.gz"}],
    }
    for path in (tmp_path / "data" / "imagesTr").glob("*_0001*"):
        path.unlink()
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(content))
    assert list(matching(tmp_path / "data")) == ["nnunet"]
    cohort = scanned(tmp_path / "data", tmp_path)
    assert (cohort.kind, cohort.modalities, cohort.mask_labels) == ("ct", ("image",), {1: "spleen"})


@pytest.mark.parametrize("text", ["{", "[]", '{"modality": {"0": "CT"}, "training": [1]}', '{"modality": 3}'])
@pytest.mark.parametrize("layout", ["msd", "nnunet"])
def test_bad_dataset_json(text: str, layout: str, tmp_path: Path) -> None:
    touch(tmp_path / "imagesTr" / "x.nii.gz")
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=r"dataset\.json|imagesTr"):
        scan(tmp_path, layout)


# ---- bids
# --------------------------------------------------------------------------------------------------------


def test_bids(tmp_path: Path) -> None:
    cohort = scanned(build_bids(tmp_path / "data"), tmp_path, site="hospital", external=("B=other",))
    assert cohort.modalities == ("T1w", "ce-gad_T1w")
    assert (cohort.kind, cohort.classes) == ("mri", ("none-seen", "tumour"))
    assert cohort.presence[3].tolist() == [True, False]
    assert cohort.labels[8] == -1
    assert cohort.cases[0].mask is not None
    assert cohort.cases[0].mask.path.name == "sub-00_label-lesion_mask.nii.gz"
    assert cohort.mask_labels == {1: "lesion"}
    assert [case.split for case in cohort if case.site == "B"] == ["other", "other"]
    assert cohort.cases[2].metadata == {"age": "42"}


def test_bids_sessions_and_runs(tmp_path: Path) -> None:
    for session in ("1", "2"):
        for run in ("1", "2"):
            touch(tmp_path / "sub-a" / f"ses-{session}" / "anat" / f"sub-a_ses-{session}_run-{run}_T1w.nii.gz")
    touch(tmp_path / "sub-b" / "ses-1" / "anat" / "sub-b_ses-1_T1w.nii.gz")
    touch(tmp_path / "derivatives" / "sub-a" / "ses-2" / "sub-a_ses-2_mask.nii.gz")
    cohort = scanned(tmp_path, tmp_path / "out")
    assert [case.case for case in cohort] == ["sub-a_ses-1", "sub-a_ses-2", "sub-b_ses-1"]
    assert cohort.modalities == ("T1w", "run-2_T1w")
    assert set(cohort.patients) == {"sub-a", "sub-b"}
    assert [bool(case.mask) for case in cohort] == [False, True, False]


def test_bids_links_without_content_are_absent(tmp_path: Path) -> None:
    build_bids(tmp_path / "data")
    link = tmp_path / "data" / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    link.unlink()
    link.symlink_to("../.git/annex/objects/none")
    draft = scan(tmp_path / "data")
    assert any("datalad" in note for note in draft.notes)
    assert draft.table.loc[1, "image:T1w"] == ""


@pytest.mark.parametrize(
    "options",
    [
        {"external": ("Z",), "site": "hospital"},
        {"external": ("A",)},
        {"external": ("A=train",), "site": "hospital"},
        {"site": "hospitl"},
    ],
)
def test_external_sites_must_be_there(options: dict[str, object], tmp_path: Path) -> None:
    build_bids(tmp_path)
    with pytest.raises(UsageError, match=r"--external|--site"):
        scan(tmp_path, options=ScanOptions(**options))  # type: ignore[arg-type]


def test_a_patient_of_an_external_site_is_wholly_external(tmp_path: Path) -> None:
    draft = scan(build_bids(tmp_path))
    draft.table["patient"] = ["p", "q"] * 5
    draft.table["site"] = ["B"] + ["A"] * 9
    draft.table["split"] = ""
    done = finish(draft, ScanOptions(external=("B",))).table
    assert set(done.loc[done["patient"] == "p", "split"]) == {"B"}


# ---- nih
# ---------------------------------------------------------------------------------------------------------


def test_nih(tmp_path: Path) -> None:
    draft = scan(build_nih(tmp_path / "data"))
    assert any(note.startswith("1 image listed") for note in draft.notes)
    cohort = scanned(tmp_path / "data", tmp_path)
    assert (cohort.kind, cohort.findings, len(cohort)) == ("xray", FINDINGS, 15)
    assert cohort.labels[0].sum() == 0
    assert {FINDINGS[at] for at in np.flatnonzero(cohort.labels[1])} == {"Effusion", "Mass"}
    assert [case.case for case in cohort if case.split == "test"] == [f"{at:08d}_000" for at in range(12, 15)]
    assert "val" in cohort.splits
    assert cohort.cases[0].metadata == {"age": "50", "gender": "F", "view": "PA"}


def test_nih_with_a_finding_of_another_name(tmp_path: Path) -> None:
    index = build_nih(tmp_path) / "Data_Entry_2017_v2020.csv"
    index.write_text(index.read_text().replace("Hernia", "Herniaa"))
    with pytest.raises(
        DataError, match=r"Data_Entry_2017_v2020.csv, row 4, case '00000002_000'.*'Herniaa'.*Did you mean 'Hernia'"
    ):
        scan(tmp_path)


# ---- dicom
# -------------------------------------------------------------------------------------------------------


def test_dicom_groups_by_uid_and_keeps_nobody(tmp_path: Path) -> None:
    draft = scan(build_dicom(tmp_path / "data"))
    text = draft.table.drop(columns=draft.modalities).to_csv()
    assert not any(word in text for word in ("Smith", "MRN", "ACC777", "1950", "2020"))
    assert all(case.startswith("s-") and len(case) == 10 for case in draft.table["case"])
    cohort = load_cohort(write_cohort(draft, tmp_path / "cohort.yaml")[0])
    assert (cohort.kind, cohort.modalities, len(cohort)) == ("mri", ("flair", "t1-post-gd"), 2)
    location = cohort.cases[0].images["flair"]
    assert location.path.name.startswith("study")
    assert location.array is not None
    assert location.array.startswith("series-")
    assert cohort.cases[0].metadata == {"sex": "M", "age": "070Y", "scanner": "Scanner X"}


def test_dicom_series_are_named_as_the_reader_names_them() -> None:
    frames = pytest.importorskip("radapt.images.dicom_frames")
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
