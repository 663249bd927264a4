"""A folder per class, inside splits or not, with folders of patients or not."""

from pathlib import Path

import pytest

from layout_builders import BUILDERS, build_folders, scanned, touch
from radapt.cohorts import ScanOptions, scan
from radapt.cohorts.layouts.registry import matching
from radapt.errors import DataError, UsageError


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


SITES = ["north/ill/1.png", "north/well/2.png", "south/ill/3.png", "south/well/4.png"]


@pytest.mark.parametrize("inside", ["", "p{}"], ids=["images", "patients"])
@pytest.mark.parametrize("split", ["", "train", "test"])
def test_classes_inside_folders_of_the_same_classes_have_sites(split: str, inside: str, tmp_path: Path) -> None:
    names = [f"{Path(name).parent}/{inside.format(i)}/{Path(name).name}" for i, name in enumerate(SITES)]
    touch(*(tmp_path / split / name for name in names))
    if split == "test":
        touch(*(tmp_path / "train" / name.replace("/p", "/q").replace("png", "jpg") for name in names))
    draft = scan(tmp_path)
    own = draft.table[draft.table["image"].str.endswith(".png")]
    assert dict(zip(own["image"].map(lambda path: Path(path).name), own["site"], strict=True)) == {
        "1.png": "north", "2.png": "north", "3.png": "south", "4.png": "south",
    }  # fmt: skip
    assert list(own["label"]) == ["ill", "well", "ill", "well"]
    assert "Assumed: the folders north, south are sites, and those inside them classes." in draft.notes
    if split:
        assert set(own["split"]) == {split} or split == "train"  # train alone is drawn further
    if inside:
        assert list(own["patient"]) == ["p0", "p1", "p2", "p3"]


def test_a_patient_at_several_sites_is_told_of(tmp_path: Path) -> None:
    touch(*(tmp_path / f"{site}/{label}/p{label}/1.png" for site in ("north", "south") for label in ("ill", "well")))
    draft = scan(tmp_path)
    assert any(note.startswith("2 patients at several sites: folders of the same name") for note in draft.notes)


def test_a_site_may_lack_a_class_but_one_site_has_them_all(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in SITES if name != "south/well/4.png"))
    assert sorted(scan(tmp_path).table["site"]) == ["north", "north", "south"]


@pytest.mark.parametrize(
    "names",
    [
        ["CT/ill/1.png", "CT/well/2.png", "xray/ill/3.png", "xray/well/4.png"],  # kinds of image
        ["north/left/1.png", "north/right/2.png", "south/left/3.png", "south/right/4.png"],  # no classes
        ["ill/yes/1.png", "ill/no/2.png", "well/yes/3.png", "well/no/4.png"],  # which of the two are classes?
    ],
    ids=["kinds", "sides", "classes twice"],
)
def test_folders_that_are_no_patients_are_not_taken_for_them(names: list[str], tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in names))
    assert not matching(tmp_path)
    inner = ", ".join(sorted({Path(name).parts[1] for name in names}))
    with pytest.raises(DataError, match=f"The folders inside are the same ones: {inner}.*scan one folder at a time"):
        scan(tmp_path)


def test_splits_inside_classes_are_splits(tmp_path: Path) -> None:
    names = ["ill/train/1.png", "ill/test/2.png", "well/train/3.png", "well/Test/4.png", "well/val/5.png"]
    touch(*(tmp_path / name for name in names))
    table = scan(tmp_path).table
    rows = table[["image", "label", "split"]].values
    found = {Path(image).name[0]: f"{label} {split}" for image, label, split in rows}
    assert found == {"1": "ill train", "2": "ill test", "3": "well train", "4": "well test", "5": "well val"}


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


@pytest.mark.parametrize("names", ["01234", "123"])
def test_numbers_in_every_split_are_grades(names: str, tmp_path: Path) -> None:
    touch(*(tmp_path / s / n / f"{s}_{n}_{at}.png" for s in ("train", "val", "test") for n in names for at in range(3)))
    draft = scan(tmp_path)
    assert draft.layout == "folders"
    assert sorted(set(draft.table["label"])) == list(names)
    assert draft.table["split"].value_counts().to_dict() == dict.fromkeys(("train", "val", "test"), 3 * len(names))


def test_a_patient_whose_slices_are_in_two_splits_is_still_said(tmp_path: Path) -> None:
    touch(*(tmp_path / s / f"P{n:02d}" / f"{at}.png" for s in ("train", "test") for n in range(6) for at in range(3)))
    with pytest.raises(DataError, match="Patient 'P00' is in 'test'"):
        scan(tmp_path)


def test_folders_of_patients_without_labels_say_how_to_join_them(tmp_path: Path) -> None:
    touch(*(tmp_path / f"P{n:02d}" / f"slice_{at}.png" for n in range(6) for at in range(3)))
    assert "Neither labels nor masks: join a table of them with --labels TABLE --on COLUMN." in scan(tmp_path).notes
