"""Features of the foreground: whose pixels reach the encoder, and that no other feature is taken for them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radapt.cases.plane_files import PlaneFiles
from radapt.cohorts.cohort import Case, Cohort
from radapt.errors import UsageError
from radapt.features import extract
from radapt.features.batches import ModalityPart, SliceSource
from radapt.features.joint import joint_planes
from radapt.images import Recipe, SliceCache
from radapt.images.cropping import cropped
from radapt.locations import Location

SIZE = 32


def saved(path: Path, planes: list[np.ndarray]) -> Location:
    np.save(path, np.stack(planes))
    return Location(path)


def picture(top: int, left: int, side: int, value: int = 200) -> np.ndarray:
    plane = np.zeros((SIZE, SIZE), np.uint8)
    plane[top : top + side, left : left + side] = np.linspace(80, value, side).astype(np.uint8)
    return plane


def cohort_of(folder: Path, *images: list[np.ndarray], kind: str = "other") -> Cohort:
    cases = [
        Case(f"c{number}", f"p{number}", "train", {"t1": saved(folder / f"{number}.npy", planes)}, label=number % 2)
        for number, planes in enumerate(images)
    ]
    return Cohort("toy", kind, tuple(cases), ("t1",), classes=("no", "yes"))  # type: ignore[arg-type]


def test_the_same_patient_elsewhere_in_the_plane_has_the_same_features(
    toy_backbone: Callable[..., Any], tmp_path: Path
) -> None:
    cohort = cohort_of(tmp_path, [picture(2, 3, 12)], [picture(15, 18, 12)])
    looked = extract(cohort, toy_backbone(), size=SIZE, look="foreground", cache=tmp_path / "cache")
    np.testing.assert_array_equal(looked.slices(0, "t1"), looked.slices(1, "t1"))
    whole = extract(cohort, toy_backbone(), size=SIZE, cache=tmp_path / "cache")  # kind other: whole by default
    assert np.abs(whole.slices(0, "t1") - whole.slices(1, "t1")).max() > 0.01


def test_features_of_a_crop_are_those_of_the_cropped_picture(toy_backbone: Callable[..., Any], tmp_path: Path) -> None:
    plane = picture(5, 9, 14)
    alone = cropped(plane[None, None], np.asarray([[5, 9, 19, 23]]))[0, 0]
    looked = extract(
        cohort_of(tmp_path, [plane]), toy_backbone(), size=SIZE, look="foreground", cache=tmp_path / "cache"
    )
    (tmp_path / "alone").mkdir()
    whole = extract(cohort_of(tmp_path / "alone", [alone]), toy_backbone(), size=SIZE, cache=tmp_path / "cache")
    np.testing.assert_array_equal(looked.slices(0, "t1"), whole.slices(0, "t1"))


def test_features_of_another_look_are_another_store(toy_backbone: Callable[..., Any], tmp_path: Path) -> None:
    cohort, cache = cohort_of(tmp_path, [picture(2, 3, 12), picture(0, 0, 0)], kind="mri"), tmp_path / "cache"
    whole = extract(cohort, toy_backbone(), size=SIZE, look="whole", cache=cache)
    before = np.array(whole.slices(0, "t1"))
    foreground = extract(cohort, toy_backbone(), size=SIZE, cache=cache)  # the default of MRI
    assert whole.config["recipe"] == Recipe.for_kind("mri", size=SIZE).digest
    assert (foreground.recipe and foreground.recipe.look, whole.recipe and whole.recipe.look) == ("foreground", "whole")
    assert whole.store.folder != foreground.store.folder
    assert whole.digest != foreground.digest
    assert (len(whole.slices(0, "t1")), len(foreground.slices(0, "t1"))) == (2, 1)  # the black plane is left out
    again = toy_backbone()
    np.testing.assert_array_equal(extract(cohort, again, size=SIZE, look="whole", cache=cache).slices(0, "t1"), before)
    assert not again.shapes  # stored features of whole planes are still valid


def test_modalities_encoded_together_share_their_crop(tmp_path: Path) -> None:
    first, second = picture(4, 4, 12), picture(8, 8, 16)
    places = [saved(tmp_path / f"{name}.npy", [plane]) for name, plane in (("a", first), ("b", second))]
    parts = tuple(ModalityPart(column, place) for column, place in enumerate(places))
    recipe = Recipe.for_kind("other", size=SIZE, look="foreground")
    planes = joint_planes(
        SliceSource("key", "c0", "joint", places[0], parts), PlaneFiles(SliceCache(tmp_path / "c"), recipe), 2
    )
    box = np.asarray([[4, 4, 24, 24]])  # around both
    for column, plane in enumerate((first, second)):
        np.testing.assert_array_equal(planes[0, column, 0], cropped(plane[None, None], box)[0, 0])


def test_an_unknown_look_is_refused(toy_backbone: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'forground'"):
        extract(cohort_of(tmp_path, [picture(2, 3, 12)]), toy_backbone(), look="forground", cache=tmp_path / "cache")
