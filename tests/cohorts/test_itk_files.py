"""Folders of MetaImage and NRRD files, as grand-challenge.org and 3D Slicer write them."""

from pathlib import Path

import numpy as np
import pytest

from layout_builders import scanned
from radapt.doctor import check_cohort

sitk = pytest.importorskip("SimpleITK")


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path), True)


def grey(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 900, (3, 12, 12)).astype(np.int16)


def mask() -> np.ndarray:
    drawn = np.zeros((3, 12, 12), np.uint8)
    drawn[1, 4:8, 4:8] = 1
    return drawn


def test_headers_with_their_voxels_beside_them_and_their_masks(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / f"data/case{number}.mhd", grey(number))
        write(tmp_path / f"data/case{number}_mask.mhd", mask())
    cohort = scanned(tmp_path / "data", tmp_path / "out")
    assert len(cohort) == 4
    assert [case.mask.path.name for case in cohort if case.mask] == [f"case{at}_mask.mhd" for at in range(4)]
    assert ".zraw" not in str(cohort.source)  # they are parts of images, and not left out
    assert check_cohort(tmp_path / "out/cohort.yaml", tmp_path / "cache").errors == ()


def test_a_folder_of_slicer_per_patient(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / f"data/P{number}/CT.nrrd", grey(number))
        write(tmp_path / f"data/P{number}/Segmentation.seg.nrrd", mask())
    cohort = scanned(tmp_path / "data", tmp_path / "out")
    assert (cohort.kind, cohort.patients_known) == ("ct", True)
    assert [case.mask.path.name for case in cohort if case.mask] == ["Segmentation.seg.nrrd"] * 4
