"""What makes two cohorts the same to a program that keeps results."""

from dataclasses import replace

import pytest

from radapt.cohorts import Case, Cohort, cohort_digest
from radapt.digests import ByteDigests
from radapt.errors import DataError
from radapt.locations import Location


@pytest.fixture
def cohort(tmp_path):
    for name in ("image", "mask", "other"):
        (tmp_path / name).write_text(name)
    images = {"t1": Location(tmp_path / "image")}
    case = Case("c", "p", "train", images, mask=Location(tmp_path / "mask"), label=1)
    return Cohort("toy", "mri", (case,), ("t1",), classes=("a", "b"), mask_labels={1: "core", 2: "rim"})


def with_mask(cohort, mask):
    return replace(cohort, cases=(replace(cohort.cases[0], mask=mask),))


def test_masks_decide_segmentation_and_nothing_else(cohort, tmp_path):
    digests = ByteDigests(tmp_path / "cache")
    plain, masked = cohort_digest(cohort, digests), cohort_digest(cohort, digests, masks=True)
    assert plain != masked
    copy = tmp_path / "moved"
    copy.write_text("mask")
    assert cohort_digest(with_mask(cohort, Location(copy)), digests, masks=True) == masked
    swapped = replace(cohort, mask_labels={2: "rim", 1: "core"})
    assert cohort_digest(swapped, digests, masks=True) == masked
    for changed in (
        with_mask(cohort, Location(tmp_path / "other")),
        with_mask(cohort, None),
        replace(cohort, mask_labels={1: "core"}),
        replace(cohort, mask_labels={1: "rim", 2: "core"}),
    ):
        assert cohort_digest(changed, digests) == plain
        assert cohort_digest(changed, digests, masks=True) != masked


def test_a_mask_that_is_not_there_is_said_where_masks_count(cohort, tmp_path):
    gone = with_mask(cohort, Location(tmp_path / "gone.nii.gz"))
    digests = ByteDigests(tmp_path / "cache")
    cohort_digest(gone, digests)
    with pytest.raises(DataError, match=r"gone\.nii\.gz"):
        cohort_digest(gone, digests, masks=True)
