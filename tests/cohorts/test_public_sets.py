"""Every public data set: known by its names alone, read as published, and never taken for another layout."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from layout_builders import BUILDERS, scanned
from public_set_builders import matlab
from public_sets import MINIATURES, Miniature
from radapt.cohorts import ScanOptions, load_cohort, scan
from radapt.cohorts.draft import CohortDraft
from radapt.cohorts.layouts import LAYOUTS
from radapt.cohorts.layouts.registry import matching
from radapt.dataset_cards import dataset_cards
from radapt.errors import DataError, UsageError
from radapt.images import read
from radapt.images.masks import read_mask

PUBLIC = [name for name, layout in LAYOUTS.items() if layout.public]


def scan_miniature(name: str, root: Path, **options: object) -> tuple[Miniature, CohortDraft]:
    miniature = MINIATURES[name]
    miniature.build(root)
    return miniature, scan(root, options=ScanOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_set_is_recognised_by_its_own_layout_alone(name: str, tmp_path: Path) -> None:
    MINIATURES[name].build(tmp_path)
    roots = [tmp_path, *(path for path in tmp_path.iterdir() if path.is_dir())]
    seen = [other for other in PUBLIC if any(LAYOUTS[other].recognise(root) for root in roots)]
    assert seen == [name]
    assert scan(tmp_path).layout == name


@pytest.mark.parametrize("name", BUILDERS)
def test_a_folder_of_another_layout_is_no_public_set(name: str, tmp_path: Path) -> None:
    root = BUILDERS[name](tmp_path)
    assert [public for public in PUBLIC if LAYOUTS[public].recognise(root)] == []
    assert list(matching(root)) == [name]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_set_is_read_as_published(name: str, tmp_path: Path) -> None:
    miniature, draft = scan_miniature(name, tmp_path)
    table = draft.table
    assert len(table) == miniature.cases
    if miniature.patients is None:
        assert draft.patients_unknown == len(table)
    else:
        assert (draft.patients_unknown, table["patient"].nunique()) == (0, miniature.patients)
    assert tuple(column.removeprefix("image:") for column in draft.modalities) == miniature.modalities
    assert int((table["mask"] != "").sum() if "mask" in table else 0) == miniature.masks
    if miniature.mask_labels:
        assert draft.mask_labels == miniature.mask_labels
    assert dict(Counter(table["label"]) if "label" in table else {}) == miniature.labels
    for finding, cells in miniature.findings.items():
        assert list(table[f"label:{finding}"])[: len(cells)] == cells
    if miniature.splits:
        assert dict(Counter(table["split"])) == miniature.splits
    notes = " ".join(draft.notes)
    for words in miniature.said:
        assert words in notes
    card = dataset_cards()[name]
    assert (draft.source["licence"], draft.source["url"]) == (card.licence, card.url)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_set_becomes_a_cohort_with_every_file_in_place(name: str, tmp_path: Path) -> None:
    MINIATURES[name].build(tmp_path / "data")
    cohort = scanned(tmp_path / "data", tmp_path / "out")
    files = [file for case in cohort for item in (*case.images.values(), case.mask) if item for file in item.files]
    assert files
    assert all(file.is_dir() if name == "lidc-idri" and file.suffix != ".xml" else file.is_file() for file in files)
    patients = {(case.patient, case.split) for case in cohort}
    assert len(patients) == len({patient for patient, _ in patients})


@pytest.mark.parametrize("name", PUBLIC)
def test_the_layout_of_a_public_set_refuses_another_folder(name: str, tmp_path: Path) -> None:
    BUILDERS["folders"](tmp_path)
    with pytest.raises(DataError, match=r"no (image named as those|readable file)"):
        scan(tmp_path, name)


def test_every_miniature_and_every_card_has_its_counterpart() -> None:
    assert sorted(MINIATURES) == sorted(PUBLIC)
    cards = dataset_cards()
    assert {name for name, card in cards.items() if card.files or card.layout == name} - set(LAYOUTS) == set()
    assert set(PUBLIC) <= set(cards)
    assert all((card.layout or name) in LAYOUTS for name, card in cards.items())
    assert all(bool(card.layout) != bool(card.files) for card in cards.values())


def test_visits_of_one_patient_stay_together(tmp_path: Path) -> None:
    _, draft = scan_miniature("brats2024", tmp_path)
    assert set(draft.table["patient"]) == {f"BraTS-GLI-0000{at}" for at in range(4)}
    assert draft.table.groupby("patient")["split"].nunique().max() == 1


def test_several_files_of_a_mask_are_parts_with_their_labels(tmp_path: Path) -> None:
    _, draft = scan_miniature("montgomery", tmp_path)
    masks = draft.table.set_index("case")["mask"]
    assert masks["MCUCXR_0001_1"].endswith("::{1=leftMask/MCUCXR_0001_1.png|2=rightMask/MCUCXR_0001_1.png}")
    _, draft = scan_miniature("busi", tmp_path / "busi")
    masks = draft.table.set_index("case")["mask"]
    assert masks["benign (4)"].endswith("benign::{1=benign (4)_mask.png|1=benign (4)_mask_1.png}")
    assert masks["benign (3)"].endswith("/benign (3)_mask.png")


def test_a_label_of_the_users_choice_replaces_the_usual_one(tmp_path: Path) -> None:
    _, draft = scan_miniature("upenn-gbm", tmp_path, label=("Gender",))
    assert set(draft.table["original_label"]) == {"M", ""}  # every label is the same, so it is metadata
    for option, given in {"label": ("Grade",), "site": "Grade", "patient": "Grade", "split": "Grade"}.items():
        with pytest.raises(UsageError, match=f"--{option} Grade: no table of the data set"):
            scan(tmp_path, options=ScanOptions(**{option: given}))  # type: ignore[arg-type]


def test_a_column_of_the_users_choice_goes_before_the_names_of_the_files(tmp_path: Path) -> None:
    MINIATURES["brats2018"].build(tmp_path)
    path = tmp_path / "survival_data.csv"
    path.write_text("BraTS18ID,Group\n" + "".join(f"Brats18_TCIA0{at}_1{at}7_1,{'ab'[at < 3]}\n" for at in range(6)))
    assert set(scan(tmp_path).table["label"]) == {"HGG", "LGG"}
    chosen = scan(tmp_path, options=ScanOptions(label=("Group",))).table
    assert list(chosen.sort_values("case")["label"]) == ["b"] * 3 + ["a"] * 3


def test_a_part_of_a_mask_that_is_gone_is_named(tmp_path: Path) -> None:
    MINIATURES["montgomery"].build(tmp_path / "data")
    scanned(tmp_path / "data", tmp_path / "out")
    (tmp_path / "data" / "ManualMask" / "rightMask" / "MCUCXR_0004_0.png").unlink()
    with pytest.raises(DataError, match=r"missing-mask|does not exist") as error:
        load_cohort(tmp_path / "out" / "cohort.yaml")
    assert "MCUCXR_0004_0" in str(error.value)


@pytest.mark.parametrize("name", ["brats2020", "chexpert", "kits23", "mimic-cxr-jpg", "lumiere"])
def test_a_copy_without_its_tables_is_read_and_says_so(name: str, tmp_path: Path) -> None:
    MINIATURES[name].build(tmp_path)
    for path in [*tmp_path.rglob("*.csv"), *tmp_path.rglob("*.csv.gz"), *tmp_path.rglob("*.json")]:
        path.unlink()
    draft = scan(tmp_path, name)
    assert len(draft.table)
    assert any(note.startswith("No table named like") for note in draft.notes)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x1f\x8b\x08\0\0\0\0\0"])
def test_a_damaged_table_is_an_error_of_one_sentence(content: bytes, tmp_path: Path) -> None:
    MINIATURES["mimic-cxr-jpg"].build(tmp_path)
    (tmp_path / "mimic-cxr-2.0.0-split.csv.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"Table .*split.csv.gz"):
        scan(tmp_path)


def test_clinical_texts_become_metadata(tmp_path: Path) -> None:
    _, draft = scan_miniature("montgomery", tmp_path)
    assert list(draft.table["age"]) == [str(20 + at) for at in range(1, 7)]
    assert set(draft.table["sex"]) == {"F"}


def test_dates_of_birth_are_not_kept(tmp_path: Path) -> None:
    _, draft = scan_miniature("amos22", tmp_path)
    assert not any("Birth" in column for column in draft.table.columns)
    assert set(draft.table["site"]) == {"siteA", ""}


@pytest.mark.parametrize("header", [True, False])
def test_a_matlab_slice_is_read_as_its_image_and_mask(header: bool, tmp_path: Path) -> None:
    MINIATURES["cheng"].build(tmp_path / "data")
    if not header:  # as h5py writes it
        for path in (tmp_path / "data").rglob("*.mat"):
            path.unlink()
            matlab(
                path,
                int(path.stem) % 3 + 1,
                path.stem,
                np.full((8, 12), 2),
                np.eye(8, 12, dtype=np.uint8),
                header=False,
            )
    cohort = scanned(tmp_path / "data", tmp_path / "out")
    case = cohort.cases[1]
    volume = read(case.images["image"])
    assert volume.planes("axial").shape == (1, 8, 12)
    assert (volume.array == 2).all()
    assert case.mask is not None
    assert np.array_equal(read_mask(case.mask, volume, [1]).planes("axial")[0], np.eye(8, 12))


def test_two_lungs_are_read_as_two_structures(tmp_path: Path) -> None:
    MINIATURES["montgomery"].build(tmp_path / "data")
    pixels = np.zeros((16, 20), np.uint8)
    for side, columns in (("left", slice(11, 18)), ("right", slice(2, 9))):
        mask = np.zeros_like(pixels)
        mask[3:12, columns] = 255
        for path in (tmp_path / "data" / "ManualMask" / f"{side}Mask").iterdir():
            Image.fromarray(mask).save(path)
    for path in (tmp_path / "data" / "CXR_png").iterdir():
        Image.fromarray(pixels).save(path)
    cohort = scanned(tmp_path / "data", tmp_path / "out")
    masks = {case.case: read_mask(case.mask, read(case.images["image"]), [1, 2]) for case in cohort if case.mask}
    assert np.unique(masks["MCUCXR_0001_1"].planes("axial")[0][5], return_counts=True)[1].tolist() == [6, 7, 7]
    assert set(np.unique(masks["MCUCXR_0002_0"].array)) == {0, 1}


def test_malignancy_is_the_median_of_the_radiologists(tmp_path: Path) -> None:
    _, draft = scan_miniature("lidc-idri", tmp_path)
    table = draft.table.set_index("case")
    medians = {"0001": "4.5", "0002": "1", "0002-2": "3", "0003": "", "0004": ""}
    assert table["malignancy"].to_dict() == {f"LIDC-IDRI-{name}": text for name, text in medians.items()}
    assert table.loc["LIDC-IDRI-0001", "readers"] == "4"


@pytest.mark.parametrize(
    "content", [b"<LidcReadMessage", b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>", b"<LidcReadMessage/>"]
)
def test_a_damaged_annotation_is_counted(content: bytes, tmp_path: Path) -> None:
    MINIATURES["lidc-idri"].build(tmp_path)
    next(tmp_path.rglob("*.xml")).write_bytes(content)
    draft = scan(tmp_path)
    assert any(note.startswith("1 XML file left out") for note in draft.notes)
