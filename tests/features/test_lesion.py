"""Looking at the lesion: a locator from the masks of training patients, and what it may not see."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from radapt.cohorts.cohort import Case, Cohort
from radapt.errors import UsageError
from radapt.features import Features, LesionFeatures, extract
from radapt.features.lesions.fit_locator import locate
from radapt.features.lesions.locator import RIDGE, PatchSums, best_threshold
from radapt.features.lesions.places import largest, place_of
from radapt.images import Recipe
from radapt.locations import Location

SIZE, PLANES = 64, 4
RECIPE = Recipe.for_kind("other", size=SIZE, look="lesion")
SPLITS = ("train", "train", "train", "test")


def write_cohort(folder: Path, cases: int = 12) -> Cohort:
    """Grey heads with a white lesion of 16 px in one place of two of the four planes; `spots` are where."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, made = np.random.default_rng(0), []
    for number in range(cases):
        head = np.zeros((PLANES, SIZE, SIZE), np.uint8)
        head[:, 8:56, 8:56] = rng.integers(60, 90, (PLANES, 48, 48))
        mask, (plane, top, left) = np.zeros_like(head), spot(number)
        mask[plane : plane + 2, top : top + 16, left : left + 16] = 1
        head[mask > 0] = 230
        np.save(folder / f"{number}.npy", head)
        np.save(folder / f"{number}-mask.npy", mask)
        images = {"t1": Location(folder / f"{number}.npy")}
        place = Location(folder / f"{number}-mask.npy")
        made.append(Case(f"c{number}", f"p{number}", SPLITS[number % 4], images, label=number // 2 % 2, mask=place))
    return Cohort("heads", "other", tuple(made), ("t1",), classes=("no", "yes"), mask_labels={1: "lesion"})


def spot(number: int) -> tuple[int, int, int]:
    """First plane, top and left of the lesion of a case: on the grid of 8 px patches."""
    return number % 3, 8 * (1 + number % 4), 8 * (1 + number // 3 % 4)


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return write_cohort(tmp_path / "images")


@pytest.fixture
def lesions(toy_backbone: Callable[..., Any], tmp_path: Path) -> Callable[..., LesionFeatures]:
    def make(cohort: Cohort, **options: Any) -> LesionFeatures:
        return LesionFeatures(cohort, toy_backbone(), RECIPE, tmp_path / "cache", layers=(-2, -1), **options)

    return make


def changed(cohort: Cohort, split: str, mask: Callable[[Case], Location | None]) -> Cohort:
    cases = (replace(case, mask=mask(case)) if case.split == split else case for case in cohort)
    return replace(cohort, cases=tuple(cases))


def places(features: Features) -> list[tuple[Any, ...]]:
    assert features.places is not None
    return [(place.source, place.planes.tolist(), place.boxes.tolist()) for place in features.places.of]


def elsewhere(folder: Path) -> Location:
    """A mask of something else."""
    mask = np.zeros((PLANES, SIZE, SIZE), np.uint8)
    mask[0, 40:48, 40:48] = 1
    np.save(folder / "elsewhere.npy", mask)
    return Location(folder / "elsewhere.npy")


def test_every_lesion_is_found_with_its_planes(cohort: Cohort, lesions: Callable[..., LesionFeatures]) -> None:
    found = lesions(cohort).on(cohort)
    for number, (source, planes, boxes) in enumerate(places(found)):
        plane, top, left = spot(number)
        assert source == "locator"
        assert planes == [plane, plane + 1]
        for box in boxes:
            np.testing.assert_allclose(box, [top - 4, left - 4, top + 20, left + 20])  # a quarter more on each side
    assert found.counts.tolist() == [[2]] * len(cohort)
    assert found.places is not None
    note = found.places.note(cohort.splits)
    assert "the masks of 9 training cases" in note
    assert "others: 3 by the locator" in note


def test_no_mask_of_a_held_out_case_reaches_anything(
    cohort: Cohort, lesions: Callable[..., LesionFeatures], tmp_path: Path
) -> None:
    first = lesions(cohort).on(cohort)
    other = elsewhere(tmp_path)
    for mask in (None, other):
        moved = changed(cohort, "test", lambda case, mask=mask: mask)  # type: ignore[misc]
        found = lesions(moved).on(moved)
        assert places(found) == places(first)
        assert found.digest == first.digest
    moved = changed(cohort, "train", lambda case: other)
    assert places(lesions(moved).on(moved)) != places(first)


def test_own_masks_are_used_where_they_are_allowed(
    cohort: Cohort, lesions: Callable[..., LesionFeatures], tmp_path: Path
) -> None:
    moved = changed(cohort, "test", lambda case: None if case.case == "c3" else elsewhere(tmp_path))
    found = places(lesions(moved, own_masks=True).on(moved))
    assert [found[number][0] for number in (3, 7, 11)] == ["locator", "own mask", "own mask"]
    assert found[7][1] == [0]
    assert found[0][0] == "own mask"


def test_without_masks_in_train_the_foreground_is_seen(cohort: Cohort, lesions: Callable[..., LesionFeatures]) -> None:
    """As in a fold whose training cases have no mask, while others have."""
    blank = changed(cohort, "train", lambda case: None)
    found = lesions(blank).on(blank)
    assert {place[0] for place in places(found)} == {"foreground"}
    assert found.places is not None
    assert "others: 3 at the foreground, as no lesion was found" in found.places.note(blank.splits)
    foreground = extract(
        cohort, lesions(cohort).backbone, recipe=RECIPE.looking("foreground"), layers=(-2, -1),
        cache=lesions(cohort).cache,
    )  # fmt: skip
    np.testing.assert_array_equal(found.slices(0, "t1"), foreground.slices(0, "t1"))


def test_a_cohort_without_masks_is_refused(cohort: Cohort, lesions: Callable[..., LesionFeatures]) -> None:
    blank = changed(changed(cohort, "train", lambda case: None), "test", lambda case: None)
    with pytest.raises(UsageError, match=r"no case of cohort 'heads' has one.*look: foreground"):
        lesions(blank).on(blank)


def test_extraction_alone_cannot_look_at_lesions(cohort: Cohort, toy_backbone: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="inside every fold"):
        extract(cohort, toy_backbone(), look="lesion")


def test_a_training_case_is_located_by_other_patients(
    cohort: Cohort, lesions: Callable[..., LesionFeatures], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mask that spoils every locator fitted on it does not move the place of its own case, but those of others."""
    made = lesions(cohort)
    tokens = made._tokens
    before = locate(tokens, cohort, own_masks=False)
    shares = tokens.shares
    monkeypatch.setattr(tokens, "shares", lambda row: -100 * shares(row) if row == 0 else shares(row))
    monkeypatch.setattr("radapt.features.lesions.fit_locator._threshold", lambda *_: before.locator.threshold)
    after = locate(tokens, cohort, own_masks=False)
    np.testing.assert_array_equal(after.of[0].boxes, before.of[0].boxes)
    spoilt = [place.boxes.tolist() for place in after.of[3::4]]  # test cases, whose locator learned from case 0
    assert spoilt != [place.boxes.tolist() for place in before.of[3::4]]


def test_the_sums_give_the_ridge_regression_of_what_is_left() -> None:
    rng = np.random.default_rng(0)
    tokens, shares = rng.normal(3, [1, 5, 0.1], (200, 3)), rng.random(200)
    weights = (PatchSums.of(tokens, shares) - PatchSums.of(tokens[:60], shares[:60])).solved()
    assert weights is not None
    scale = StandardScaler().fit(tokens[60:])
    oracle = Ridge(alpha=RIDGE * 140).fit(scale.transform(tokens[60:]), shares[60:])
    x = rng.normal(3, 2, (10, 3))
    np.testing.assert_allclose(x @ weights[:-1] + weights[-1], oracle.predict(scale.transform(x)), rtol=1e-6)
    assert (PatchSums.of(tokens, shares) - PatchSums.of(tokens, shares)).solved() is None


def test_of_two_parts_the_larger_is_the_lesion() -> None:
    scores = np.zeros((2, 6, 6))
    scores[0, 0, 0], scores[0, 3:5, 3:5], scores[1, 3, 3] = 0.9, 0.6, 0.7
    found = largest(scores, 0.5, np.zeros(2, int))
    assert found.sum() == 5
    assert not found[0, 0, 0]
    place = place_of(found, np.zeros(2, int), (60, 60), "locator")
    assert place is not None
    np.testing.assert_allclose(place.boxes[0], [25, 25, 55, 55])
    assert place_of(np.zeros((2, 6, 6), bool), np.zeros(2, int), (60, 60), "locator") is None


def test_the_threshold_has_the_best_dice() -> None:
    hits, chosen = np.zeros(41), np.zeros(41)
    hits[:] = np.linspace(10, 0, 41)
    chosen[:] = np.linspace(400, 0, 41)
    hits[12], chosen[12] = 9, 10
    assert best_threshold(hits, chosen, 10) == pytest.approx(0.3)
    assert best_threshold(hits, chosen, 0) == 0.5
