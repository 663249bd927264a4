"""A folder per patient: sequences, visits, pictures with masks; and class folders that are not patients."""

from pathlib import Path

import pytest

from layout_builders import scanned, touch
from radapt.cohorts import ScanOptions, scan
from radapt.cohorts.layouts.registry import matching
from radapt.errors import DataError


def test_files_named_by_sequence_make_one_case_per_patient(tmp_path: Path) -> None:
    for at in range(1, 9):
        folder = tmp_path / "data" / f"Patient_{at:03d}"
        touch(*(folder / f"{name}.nii.gz" for name in ("T1", "T1_KM", "seg")))
        if at != 3:
            touch(folder / "FLAIR.nii.gz")
    cohort = scanned(tmp_path / "data", tmp_path / "out")
    assert cohort.modalities == ("flair", "t1", "t1_km")
    assert cohort.presence[:, 0].sum() == 7
    assert sorted(set(cohort.patients)) == [f"Patient_{at:03d}" for at in range(1, 9)]
    assert all(case.mask and case.mask.path.name == "seg.nii.gz" for case in cohort)
    assert cohort.kind == "mri"


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("BraTS_{0:03d}", "BraTS_{0:03d}_{1}.nii.gz"),
        ("UCSF-{0:04d}_nifti", "UCSF-{0:04d}_{1}.nii.gz"),
        ("anna{0}", "{1}.nii"),
    ],
)
def test_the_patient_is_no_part_of_the_sequence(folder: str, file: str, tmp_path: Path) -> None:
    for at in range(4):
        touch(*(tmp_path / folder.format(at) / file.format(at, name) for name in ("t1ce", "flair", "seg")))
    assert list(matching(tmp_path)) == ["patients"]
    draft = scan(tmp_path)
    assert (draft.modalities, len(draft.table)) == (["image:flair", "image:t1ce"], 4)
    assert (draft.table["mask"] != "").all()


def test_numbered_pictures_with_masks_are_cases_of_their_patient(tmp_path: Path) -> None:
    for name in ("TCGA_CS_4941", "TCGA_DU_5849", "TCGA_HT_7473"):
        touch(*(tmp_path / name / f"{name}_{at}{end}.tif" for at in range(4) for end in ("", "_mask")))
    draft = scan(tmp_path)
    assert (draft.layout, draft.classes, len(draft.table)) == ("patients", (), 12)
    assert draft.table["patient"].nunique() == 3
    assert all(
        Path(mask).stem == f"{case}_mask" for case, mask in zip(draft.table["case"], draft.table["mask"], strict=True)
    )


def test_folders_that_hold_the_same_numbers_are_patients(tmp_path: Path) -> None:
    touch(*(tmp_path / f"P{patient:02d}" / f"{at}.png" for patient in range(5) for at in range(3)))
    draft = scan(tmp_path)
    assert (draft.layout, draft.table["patient"].nunique(), len(draft.table)) == ("patients", 5, 15)
    assert draft.table["case"].is_unique


def test_visits_are_cases_of_one_patient(tmp_path: Path) -> None:
    for patient in ("Patient-001", "Patient-002", "Patient-003"):
        for week in ("week-000", "week-012"):
            touch(*(tmp_path / patient / week / f"{name}.nii.gz" for name in ("T1", "FLAIR")))
    draft = scan(tmp_path)
    assert (len(draft.table), draft.table["patient"].nunique()) == (6, 3)
    assert draft.table["case"][1] == "Patient-001-week-012"


def test_classes_of_patients_with_sequences(tmp_path: Path) -> None:
    for at in range(6):
        touch(*(tmp_path / ("HGG", "LGG")[at % 2] / f"b{at}" / f"b{at}_{name}.nii.gz" for name in ("t1", "t2", "seg")))
    draft = scan(tmp_path)
    assert (draft.layout, draft.classes, draft.modalities) == ("patients", ("HGG", "LGG"), ["image:t1", "image:t2"])
    assert set(draft.table["label"]) == {"HGG", "LGG"}


def test_a_clinical_table_is_joined_by_the_folder(tmp_path: Path) -> None:
    for at in range(1, 7):
        touch(tmp_path / f"Case_{at:03d}" / "T1.nii.gz", tmp_path / f"Case_{at:03d}" / "FLAIR.nii.gz")
    rows = "".join(f"case_{at},{'ill' if at % 2 else 'well'},{40 + at}\n" for at in (1, 2, 3, 4, 5, 9))
    (tmp_path / "clinic.csv").write_text("name,diagnosis,age\n" + rows)
    draft = scan(tmp_path)
    assert draft.table.set_index("case")["label"].to_dict() == {
        **{f"Case_{at:03d}": "ill" if at % 2 else "well" for at in range(1, 6)}, "Case_006": "",
    }  # fmt: skip
    notes = " ".join(draft.notes)
    assert "1 case without a row in clinic.csv" in notes
    assert "1 row of clinic.csv left out" in notes


def test_masks_of_other_structures_are_left_out_and_counted(tmp_path: Path) -> None:
    for at in range(4):
        folder = tmp_path / f"P{at:03d}"
        touch(folder / "T1.nii.gz", folder / "tumor_mask.nii.gz")
        if at % 2:
            touch(folder / "edema_mask.nii.gz")
    draft = scan(tmp_path)
    assert {Path(text).name for text in draft.table["mask"]} == {"tumor_mask.nii.gz"}
    assert any("'edema_mask' of 2 cases" in note for note in draft.notes)


@pytest.mark.parametrize(
    "names",
    [
        [f"{label}/{at}.png" for label in ("benign", "malignant") for at in range(4)],
        [f"{label}/{label} ({at}).png" for label in ("benign", "malignant", "normal") for at in range(4)],
        [f"grade{grade}/img_{at}.png" for grade in (1, 2, 3) for at in range(4)],
        [f"{grade}/{at}.png" for grade in range(5) for at in range(4)],
        [f"COVID/COVID-{at}.png" for at in range(4)] + [f"Normal/Normal-{at}.png" for at in range(4)],
    ],
)
def test_classes_are_no_patients(names: list[str], tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in names))
    assert list(matching(tmp_path)) == ["folders"]


def test_the_layout_may_be_named(tmp_path: Path) -> None:
    touch(*(tmp_path / name / f"{at}.png" for name in ("anna", "berta") for at in range(3)))
    draft = scan(tmp_path, "patients")
    assert (draft.table["patient"].nunique(), draft.classes) == (2, ())
    assert scan(tmp_path, options=ScanOptions()).classes == ("anna", "berta")


@pytest.mark.parametrize("name", ["Pat{at}", "Pat0", "img{at}"])
@pytest.mark.parametrize("ending", [".nii.gz", ".png"])
def test_numbered_folders_with_one_image_each_are_patients(name: str, ending: str, tmp_path: Path) -> None:
    """`7/Pat0.nii.gz`, `7/Pat0_seg.nii.gz`: neither a class 7 nor a sequence Pat0."""
    for at in range(4):
        touch(*(tmp_path / str(7 + at) / f"{name.format(at=at)}{word}{ending}" for word in ("", "_seg")))
    draft = scan(tmp_path)
    assert (draft.layout, "label" in draft.table, list(draft.table["patient"])) == ("patients", False, ["10", *"789"])
    assert (draft.table["mask"] != "").all()


def test_numbered_classes_stay_classes(tmp_path: Path) -> None:
    for at in range(12):
        touch(*(tmp_path / str(at % 3) / f"pat{at}{word}.png" for word in ("", "_mask")))
    draft = scan(tmp_path)
    assert (draft.classes, len(draft.table)) == (("0", "1", "2"), 12)


def test_names_of_patients_that_sites_share_are_no_sequences(tmp_path: Path) -> None:
    touch(*(tmp_path / site / f"P0{at}s.nii.gz" for site in ("siteA", "siteB") for at in range(6)))
    with pytest.raises(DataError, match="If the folders are sites, visits or sequences"):
        scan(tmp_path)


def test_visits_around_patients(tmp_path: Path) -> None:
    for visit in ("baseline", "followup"):
        touch(*(tmp_path / visit / f"P{at}" / f"{word}.nii.gz" for at in range(5) for word in ("t1", "t2")))
    draft = scan(tmp_path)
    assert draft.table["patient"].nunique() == 5
    assert (draft.table["case"].iloc[0], draft.table["visit"].iloc[0]) == ("P0-baseline", "baseline")
    assert "label" not in draft.table


def test_files_named_by_visit_are_cases_of_their_patient(tmp_path: Path) -> None:
    touch(*(tmp_path / f"P{at}" / f"{word}.nii.gz" for at in range(5) for word in ("baseline", "follow-up")))
    draft = scan(tmp_path)
    assert (draft.modalities, len(draft.table), draft.table["patient"].nunique()) == (["image"], 10, 5)


def test_folders_of_masks_inside_a_patient(tmp_path: Path) -> None:
    for at in range(4):
        folders = (tmp_path / "a" / f"P{at}" / word for word in ("images", "masks"))
        touch(*(folder / f"{number}.png" for folder in folders for number in range(3)))
        touch(tmp_path / "b" / f"P{at}" / "ct.nii.gz", tmp_path / "b" / f"P{at}" / "masks" / "liver.nii.gz")
    draft = scan(tmp_path / "a")
    assert len(draft.table) == 12
    assert [text.replace("/masks/", "/images/") for text in draft.table["mask"]] == list(draft.table["image"])
    draft = scan(tmp_path / "b")
    assert {Path(mask).name for mask in draft.table["mask"]} == {"liver.nii.gz"}


@pytest.mark.parametrize(
    "file",
    [
        "{patient}/{sequence}/{patient}_{sequence}.nii.gz",
        "{patient}/{sequence}/brain.nii.gz",
        "{patient}/{sequence}/{sequence}_brain.nii.gz",
        "{patient}/{sequence}/{sequence}.nii.gz",
        "{patient}/anat/{sequence}/1.nii.gz",
        "{sequence}/{patient}/x.nii.gz",
    ],
)
@pytest.mark.parametrize("patient", ["P{0:03d}", "anna{0}"])
def test_folders_named_by_sequence_are_the_sequences_of_a_case(file: str, patient: str, tmp_path: Path) -> None:
    for at in range(6):
        named = patient.format(at)
        there = ("T1w", "FLAIR") if at else ("T1w",)
        touch(*(tmp_path / file.format(patient=named, sequence=name) for name in there))
        touch(tmp_path / file.format(patient=named, sequence="mask"))
    draft = scan(tmp_path)
    assert (draft.layout, draft.modalities, draft.kind) == ("patients", ["image:flair", "image:t1w"], "mri")
    assert sorted(draft.table["case"]) == sorted(draft.table["patient"]) == [patient.format(at) for at in range(6)]
    assert (draft.table["mask"] != "").all()
    assert [name for name in draft.table["image:flair"] if not name] == [""]
    assert any("are the sequences of a case: flair, t1w" in note for note in draft.notes)


def test_folders_of_sequences_lie_in_those_of_visits_and_classes(tmp_path: Path) -> None:
    for at in range(6):
        for sequence in ("T1", "FLAIR"):
            for visit in ("baseline", "week 12"):
                touch(tmp_path / "visits" / f"P{at:03d}" / visit / sequence / "brain.nii.gz")
            touch(tmp_path / "classes" / ("ill", "well")[at % 2] / f"P{at:03d}" / sequence / "brain.nii.gz")
            touch(tmp_path / "years" / ("2019", "2020")[at % 2] / f"P{at // 2:03d}" / sequence / "brain.nii.gz")
    draft = scan(tmp_path / "visits")
    assert (len(draft.table), draft.table["patient"].nunique(), len(draft.modalities)) == (12, 6, 2)
    assert "Folders inside those of patients count as visits, each a case: baseline, week 12." in draft.notes
    draft = scan(tmp_path / "classes")
    assert (len(draft.table), draft.classes, len(draft.modalities)) == (6, ("ill", "well"), 2)
    draft = scan(tmp_path / "years")
    assert (len(draft.table), draft.table["patient"].nunique(), len(draft.modalities)) == (6, 3, 2)
    assert (draft.classes, set(draft.table["year"])) == ((), {"2019", "2020"})


def test_folders_inside_those_of_sequences_change_nothing(tmp_path: Path) -> None:
    touch(*(tmp_path / f"P{at:03d}" / "anat" / name / "nifti" / "1.nii.gz" for at in range(4) for name in ("T1", "T2")))
    draft = scan(tmp_path)
    assert (len(draft.table), draft.modalities) == (4, ["image:t1", "image:t2"])


def test_points_in_time_are_no_sequences(tmp_path: Path) -> None:
    touch(*(tmp_path / f"P{at:03d}" / f"T{visit}" / "brain.nii.gz" for at in range(4) for visit in range(4)))
    draft = scan(tmp_path)
    assert (len(draft.table), draft.table["patient"].nunique(), draft.modalities) == (16, 4, ["image"])
    assert any("count as visits, each a case: T0, T1, T2, T3" in note for note in draft.notes)


def test_the_name_of_a_file_goes_before_that_of_its_folder(tmp_path: Path) -> None:
    for at in range(4):
        touch(*(tmp_path / f"P{at:03d}" / "MR" / f"{name}.nii.gz" for name in ("T1", "FLAIR")))
        touch(*(tmp_path / f"P{at:03d}" / "CT" / f"{name}.nii.gz" for name in ("pre", "post")))
    assert scan(tmp_path).modalities == ["image:ct_post", "image:ct_pre", "image:flair", "image:t1"]


def test_slices_of_the_same_names_are_one_case_of_all_sequences(tmp_path: Path) -> None:
    for at in range(5):
        for sequence in ("T1", "T2", "mask"):
            touch(*(tmp_path / f"P{at:03d}" / sequence / f"IM{number:04d}.png" for number in range(3)))
    draft = scan(tmp_path)
    assert (len(draft.table), draft.table["patient"].nunique(), draft.kind) == (15, 5, "mri")
    assert draft.modalities == ["image:t1", "image:t2"]
    for row in draft.table.to_dict("records"):
        assert len({Path(row[column]).name for column in ("image:t1", "image:t2", "mask")}) == 1
        assert (Path(row["mask"]).parent.name, row["case"].startswith(row["patient"])) == ("mask", True)


def test_slices_of_other_names_are_cases_with_one_sequence(tmp_path: Path) -> None:
    for at in range(5):
        touch(*(tmp_path / f"P{at:03d}" / "T1" / f"IM{number:04d}.png" for number in range(3)))
        touch(*(tmp_path / f"P{at:03d}" / "T2" / f"IM{number:04d}.png" for number in range(3 + (at == 0))))
    draft = scan(tmp_path)
    assert len(draft.table) == 4 * 3 + 3 + 4
    alone = draft.table[draft.table["patient"] == "P000"]
    assert ((alone["image:t1"] == "") ^ (alone["image:t2"] == "")).all()
    assert draft.table["case"].is_unique
    assert any("hold pictures of different names in 1 place" in note for note in draft.notes)


def test_classes_named_by_kinds_of_images_stay_classes(tmp_path: Path) -> None:
    for at in range(8):
        touch(*(tmp_path / ("CT", "MR")[at % 2] / f"pat{at:03d}" / f"{number}.png" for number in range(2)))
    draft = scan(tmp_path)
    assert (draft.layout, draft.classes, draft.table["patient"].nunique()) == ("folders", ("CT", "MR"), 8)


def test_slices_in_folders_of_sequences_of_patients_of_classes(tmp_path: Path) -> None:
    for at in range(6):
        for sequence in ("T1", "FLAIR"):
            touch(*(tmp_path / ("HGG", "LGG")[at % 2] / f"P{at:03d}" / sequence / f"{plane}.png" for plane in range(2)))
    draft = scan(tmp_path)
    assert (draft.classes, draft.modalities, len(draft.table)) == (("HGG", "LGG"), ["image:flair", "image:t1"], 12)
    assert draft.table.groupby("label")["patient"].nunique().to_dict() == {"HGG": 3, "LGG": 3}


def test_numbers_of_series_are_no_patients(tmp_path: Path) -> None:
    for at in range(8):
        touch(*(tmp_path / f"P{at:03d}" / name / "x.nii.gz" for name in (f"{3 + at % 3}_T1", "9_FLAIR")))
    draft = scan(tmp_path)
    assert (draft.table["patient"].nunique(), draft.proposal) == (8, "")
    assert draft.suggestions == ("T1=3_t1|4_t1|5_t1",)
