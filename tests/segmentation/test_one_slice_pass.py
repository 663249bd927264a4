"""What must not be done twice, and what a cohort is told that has masks where they cannot be learned from."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from radapt.cohorts.cohort import Case, Cohort
from radapt.errors import UsageError
from radapt.images import Volume
from radapt.locations import Location
from radapt.protocols.holdout import blank_test_labels, check_masks
from radapt.segmentation.unet.fingerprint import Cases
from radapt.segmentation.unet.prepared import PreparedCases


def test_the_images_of_a_case_are_decoded_once_however_many_they_are() -> None:
    grid = Volume(np.ones((3, 4, 5), np.float32), np.eye(4))
    decoded: list[int] = []

    def volumes(row: int) -> tuple[Volume, ...]:
        decoded.append(row)
        return grid, grid, grid

    data = SimpleNamespace(volumes=volumes, grid=lambda row: grid)
    prepared = PreparedCases(cast(Cases, SimpleNamespace(data=data)), None, (0, 1, 2), (1, 1, 1))  # type: ignore[arg-type]
    images, present = prepared.images(7)
    assert decoded == [7]
    assert images.shape == (3, 3, 4, 5)
    assert present.all()


def test_masks_in_test_sets_only_are_told_from_none_at_all(tmp_path: Path) -> None:
    place = Location(tmp_path / "x.nii.gz")
    cases = tuple(
        Case(f"c{n}", f"p{n}", split, {"image": place}, mask=place if split == "test" else None)
        for n, split in enumerate(("train", "val", "test"))
    )
    with pytest.raises(UsageError, match="cases with a mask the split 'train'"):
        check_masks(blank_test_labels(Cohort("toy", "mri", cases, ("image",))))
