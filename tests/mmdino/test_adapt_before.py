"""What is found out before a training begins, and not after its last epoch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError, UsageError
from radapt.images import Recipe, SliceCache
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
    with pytest.raises(DataError, match=rf"case c{row}, b: .*{row}-b\.npy"):
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


def labelled_as(cohort: Cohort, **labels: int | None) -> Cohort:
    """With one label for all cases of a split; others as they are."""
    return replace(cohort, cases=tuple(replace(case, label=labels.get(case.split, case.label)) for case in cohort))


@pytest.mark.usefixtures("_untrained")
def test_labels_alone_need_two_classes_in_train(cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"8 labelled training cases, but no two with different labels, and .*Give"):
        run(labelled_as(cohort, train=1), tmp_path, "supervised")
    with pytest.raises(
        DataError, match=r"no labelled training case, and the options train on labels only. Give labelled"
    ):
        run(labelled_as(cohort, train=None), tmp_path, "supervised")
    with pytest.raises(DataError, match=r"no training case to adapt to. Give patients the split 'train'"):
        run(cohort.select(cohort.splits != "train"), tmp_path)


def test_one_class_in_train_is_said_and_answered_with_the_frequencies(cohort: Cohort, tmp_path: Path) -> None:
    one = labelled_as(cohort, train=1)
    made = run(one, tmp_path)
    assert any("every patient gets the class frequencies of training. Give labelled" in n for n in made.notes)
    np.testing.assert_allclose(made.predict(one, SliceCache(tmp_path), [8, 9, 13]), [[0.1, 0.9]] * 3)


@pytest.mark.parametrize("classes", [("k0", "k1"), ("k0",)])
def test_without_two_classes_or_labels_in_train_there_is_no_classifier(
    cohort: Cohort, tmp_path: Path, classes: tuple[str, ...]
) -> None:
    """Labels stand in val and test sets alone, or the cohort has one class in all."""
    bare = labelled_as(cohort, train=None)
    one = labelled_as(cohort, train=0, val=0, test=0, elsewhere=0)
    made = run(replace(bare if len(classes) == 2 else one, classes=classes), tmp_path)
    assert made.answer is None
    assert any("adapted without labels, and has no classifier. Give labelled" in note for note in made.notes)
