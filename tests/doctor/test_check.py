"""What the doctor says about a cohort, one fault at a time and all at once."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from radapt.doctor import Findings, check_cohort


def write_volume(path: Path, values: np.ndarray, spacing_mm: float = 1.0) -> None:
    nib.save(nib.Nifti1Image(values.astype(np.float32), np.diag([spacing_mm, 1, 1, 1])), path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve patients, two classes, every split, an image and a mask each; nothing wrong."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(12):
        write_volume(tmp_path / f"{index}.nii.gz", rng.random((9, 10, 11)))
        mask = np.zeros((9, 10, 11))
        mask[2:4, 2:4, 2:4] = 1
        write_volume(tmp_path / f"{index}-mask.nii.gz", mask)
        split = ["train", "train", "val", "val", "test", "test"][index % 6]
        row = {"case": f"c{index}", "patient": f"p{index}", "split": split, "label": "ab"[index % 2]}
        rows.append({**row, "image": f"{index}.nii.gz", "mask": f"{index}-mask.nii.gz"})
    pd.DataFrame(rows).to_csv(tmp_path / "cases.csv", index=False)
    (tmp_path / "cohort.yaml").write_text("name: toy\nkind: mri\ncases: cases.csv\nmask_labels: {1: lesion}\n")
    return tmp_path


def check(folder: Path) -> Findings:
    return check_cohort(folder / "cohort.yaml", folder / "cache")


def test_nothing_wrong_is_nothing_said(folder: Path) -> None:
    found = check(folder)
    assert found.problems == ()
    assert found.text() == "toy: 12 cases, 0 errors, 0 warnings."


def break_gz(folder: Path) -> None:
    path = folder / "3.nii.gz"
    path.write_bytes(path.read_bytes()[:-300])


def put_nan(folder: Path) -> None:
    write_volume(folder / "3.nii.gz", np.full((9, 10, 11), np.nan))


def put_infinity(folder: Path) -> None:
    values = np.ones((9, 10, 11))
    values[0, 0, 0] = np.inf
    write_volume(folder / "3.nii.gz", values)


def make_empty(folder: Path) -> None:
    (folder / "3.nii.gz").write_bytes(b"")


def make_text(folder: Path) -> None:
    with gzip.open(folder / "3.nii.gz", "wb") as file:
        file.write(b"this is not an image")


def move_mask(folder: Path) -> None:
    write_volume(folder / "3-mask.nii.gz", np.ones((9, 10, 11)), spacing_mm=2)


def shrink_mask(folder: Path) -> None:
    write_volume(folder / "3-mask.nii.gz", np.ones((9, 10, 12)))


def smooth_mask(folder: Path) -> None:
    write_volume(folder / "3-mask.nii.gz", np.full((9, 10, 11), 0.5))


def relabel_mask(folder: Path) -> None:
    write_volume(folder / "3-mask.nii.gz", np.full((9, 10, 11), 7))


@pytest.mark.parametrize(
    "fault",
    [break_gz, put_nan, put_infinity, make_empty, make_text, move_mask, shrink_mask, smooth_mask, relabel_mask],
)
def test_a_fault_is_one_error_that_names_file_and_row(folder: Path, fault: object) -> None:
    fault(folder)  # type: ignore[operator]
    found = check(folder)
    assert len(found.errors) == 1, found.text()
    assert found.text().startswith("toy: 12 cases, 1 error, ")
    problem = found.errors[0]
    assert (problem.case, problem.row) == ("c3", 5)
    assert "3" in Path(problem.file or "").name
    assert len(problem.message) > 10


def test_all_faults_are_listed_at_once_worst_first(folder: Path) -> None:
    break_gz(folder)
    write_volume(folder / "5.nii.gz", np.ones((9, 10, 11)))
    (folder / "7.nii.gz").unlink()
    found = check(folder)
    assert [problem.severity for problem in found.problems] == ["error", "error", "warning"]
    assert {problem.case for problem in found.errors} == {"c3", "c7"}
    assert found.warnings[0].code == "constant_image"
    assert found.as_json()["errors"] == 2


def test_one_image_under_two_patients_is_a_leak(folder: Path) -> None:
    (folder / "4.nii.gz").write_bytes((folder / "0.nii.gz").read_bytes())
    (problem,) = check(folder).problems
    assert (problem.severity, problem.code) == ("error", "duplicate_image")
    assert "train" in problem.message
    assert "test" in problem.message


def test_an_empty_mask_is_a_warning_because_organs_may_be_absent(folder: Path) -> None:
    write_volume(folder / "3-mask.nii.gz", np.zeros((9, 10, 11)))
    (problem,) = check(folder).problems
    assert (problem.severity, problem.code) == ("warning", "mask_empty")


def test_numbers_that_only_masks_outside_train_hold_are_said_where_none_are_declared(folder: Path) -> None:
    text = (folder / "cohort.yaml").read_text()
    (folder / "cohort.yaml").write_text(text.replace("mask_labels: {1: lesion}\n", ""))
    assert check(folder).problems == ()
    mask = np.zeros((9, 10, 11))
    mask[2:4, 2:4, 2:4], mask[5, 5, 5] = 1, 7
    write_volume(folder / "4-mask.nii.gz", mask)  # test
    (problem,) = check(folder).problems
    assert (problem.severity, problem.code, problem.case) == ("warning", "mask_labels", "c4")
    assert "holds 7, the masks of train hold 1" in problem.message
    write_volume(folder / "0-mask.nii.gz", mask)  # train: now it can be learned
    assert check(folder).problems == ()


def add_sequence(folder: Path, name: str, sizes: dict[int, tuple[int, int, int]], affine: np.ndarray) -> None:
    """A second sequence of some cases, by their number."""
    rng = np.random.default_rng(1)
    table = pd.read_csv(folder / "cases.csv", dtype=str, keep_default_na=False).rename(columns={"image": "image:t1"})
    table[f"image:{name}"] = ""
    for index, size in sizes.items():
        nib.save(nib.Nifti1Image(rng.random(size).astype(np.float32), affine), folder / f"{index}-{name}.nii.gz")
        table.loc[index, f"image:{name}"] = f"{index}-{name}.nii.gz"
    table.to_csv(folder / "cases.csv", index=False)


def test_sequences_on_different_grids_are_said_to_be_resampled(folder: Path) -> None:
    add_sequence(folder, "t2", {0: (9, 10, 11), 3: (9, 10, 5)}, np.eye(4))
    (problem,) = check(folder).problems
    assert (problem.severity, problem.code, problem.case) == ("warning", "grids_differ", "c3")
    assert "t2 has another grid than t1: size 9 × 10 × 5, t1 has 9 × 10 × 11" in problem.message
    assert "resample them to the first" in problem.fix


def test_many_cases_on_different_grids_are_one_line(folder: Path) -> None:
    add_sequence(folder, "t2", dict.fromkeys(range(12), (9, 10, 5)), np.eye(4))
    (problem,) = check(folder).problems
    assert problem.case == "c0"
    assert "The same with 11 other cases: c1, " in problem.message
    assert problem.message.endswith("c10 and 1 more.")


def test_sequences_that_do_not_overlap_are_named(folder: Path) -> None:
    away = np.eye(4)
    away[:3, 3] = 500
    add_sequence(folder, "t2", {4: (9, 10, 11)}, away)
    (problem,) = check(folder).problems
    assert (problem.severity, problem.code, problem.case) == ("warning", "grids_apart", "c4")
    assert "t2 and t1 cannot be used together" in problem.message
    assert "do not overlap" in problem.message
