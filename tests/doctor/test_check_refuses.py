"""Check refuses what a study refuses, and says what a file is not."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread

from layout_builders import build_dicom
from radapt.doctor.check import check_cohort
from radapt.errors import DataError
from radapt.images import read
from radapt.locations import Location


def test_a_mask_value_that_train_lacks_is_an_error_of_a_segmentation_cohort(tmp_path: Path) -> None:
    rows = "case,split,image,mask\n"
    rng = np.random.default_rng(0)
    for at, split in enumerate(("train", "train", "val", "test")):
        mask = np.zeros((8, 8, 4), np.uint8)
        mask[2:5, 2:5, 1:3] = 2 if split == "val" else 1
        nib.save(nib.Nifti1Image(rng.normal(100, 9, mask.shape).astype(np.float32), np.eye(4)), tmp_path / f"i{at}.nii")
        nib.save(nib.Nifti1Image(mask, np.eye(4)), tmp_path / f"m{at}.nii")
        rows += f"c{at},{split},i{at}.nii,m{at}.nii\n"
    (tmp_path / "cases.csv").write_text(rows)
    (tmp_path / "cohort.yaml").write_text("name: c\nkind: mri\ncases: cases.csv\n")
    found = check_cohort(tmp_path / "cohort.yaml", tmp_path / "cache")
    assert [problem.case for problem in found.errors] == ["c2"]


def test_a_mosaic_is_refused(tmp_path: Path) -> None:
    path = next(path for path in sorted(build_dicom(tmp_path).rglob("*")) if path.is_file())
    data = dcmread(path)
    data.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    data.save_as(path)
    with pytest.raises(DataError, match="Siemens mosaic"):
        read(Location(path))
