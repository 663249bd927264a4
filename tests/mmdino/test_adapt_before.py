"""What is found out before a training begins, and not after its last epoch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError, UsageError
from radapt.images import Recipe
from radapt.locations import Location
from radapt.mmdino import adapt as adapting
from radapt.mmdino.adapt import Adapted, adapt
from radapt.mmdino.options import options_of
from toy_adaptation import QUICK
from toy_encoders import toy_backbone
from toy_images import discs, image_cohort

SMALL = QUICK | {"global_size": 28, "local_size": 14}
SPLITS = ("train",) * 8 + ("val", "val", "test", "test", "elsewhere", "elsewhere")


def toy_cohort(folder: Path) -> Cohort:
    """Fourteen cases of two sequences; the last of each split has no label."""
    rng = np.random.default_rng(0)
    images = [{name: discs(rng, case % 2) for name in ("a", "b")} for case in range(len(SPLITS))]
    last = [at + 1 == len(SPLITS) or SPLITS[at + 1] != split for at, split in enumerate(SPLITS)]
    labels = [None if last[case] else case % 2 for case in range(len(SPLITS))]
    return image_cohort(folder / "discs", images, labels, SPLITS, modalities=("a", "b"))


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return toy_cohort(tmp_path)


def run(cohort: Cohort, cache: Path, preset: str = "default", **changed: Any) -> Adapted:
    options = options_of(preset, **(SMALL | changed))
    return adapt(cohort, toy_backbone("vit"), options, recipe=Recipe.for_kind("other", size=28), cache=cache)


@pytest.fixture
def _untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training is a fault."""

    def train(*_: object, **__: object) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr(adapting, "train", train)


@pytest.mark.usefixtures("_untrained")
@pytest.mark.parametrize("row", [0, 7, 8, 9, 10, 11, 13])
def test_a_damaged_image_of_any_split_ends_it_before_training(cohort: Cohort, tmp_path: Path, row: int) -> None:
    path = cohort.cases[row].images["b"].path
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(DataError, match=rf"Case c{row}: .*{row}-b\.npy"):
        run(cohort, tmp_path)


def test_masks_of_other_splits_are_not_read(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "mask.npy").write_bytes(b"damaged")
    mask = Location(tmp_path / "mask.npy")
    cases = tuple(case if case.split == "train" else replace(case, mask=mask) for case in cohort)
    assert run(replace(cohort, cases=cases), tmp_path).answer is not None


@pytest.mark.usefixtures("_untrained")
@pytest.mark.parametrize("name", ["global_size", "local_size"])
def test_crops_smaller_than_a_patch_are_refused(cohort: Cohort, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"{name} is 13, smaller than one patch of the backbone, 14 × 14"):
        run(cohort, tmp_path, **{name: 13})
