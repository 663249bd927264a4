"""Bags hold the slices they should, whoever else is in the batch; planes are spread, evenly spaced or random."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from radapt.cases import CaseReader
from radapt.cases.sampling import SliceIndex, draw_bag, evenly_spaced, place_in_image, random_plane, spread
from radapt.cohorts.cohort import Cohort
from radapt.errors import UsageError
from radapt.images import Recipe, SliceCache
from toy_images import image_cohort

RECIPE = Recipe.for_kind("other", size=8)


def ramp(slices: int, start: int) -> np.ndarray:
    """Every slice has one grey level: start, start + 1, …"""
    return np.broadcast_to(np.arange(start, start + slices, dtype=np.uint8)[:, None, None], (slices, 8, 8)).copy()


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    images = [{"a": ramp(10, 0), "b": ramp(4, 100)}, {"b": ramp(1, 50)}, {"a": ramp(3, 20), "b": ramp(20, 30)}]
    return image_cohort(tmp_path / "images", images, [0, 1, 0], ["train"] * 3, modalities=("a", "b"))


def reader_of(cohort: Cohort, tmp_path: Path, channels: int = 1) -> CaseReader:
    return CaseReader(cohort, SliceCache(tmp_path / "cache"), RECIPE, cohort.modalities, grid="own", channels=channels)


@pytest.mark.parametrize(("total", "most"), [(10, 4), (5, 5), (3, 8), (1, 1), (100, 7), (7, None)])
def test_slices_are_spread_over_the_image(total: int, most: int | None) -> None:
    for seed in range(50):
        kept = spread(total, most, np.random.default_rng(seed))
        assert len(kept) == min(total, most or total)
        assert (np.diff(kept) > 0).all()
        assert kept.min() >= 0
        assert kept.max() < total
        gaps = np.diff(np.append(kept, kept[0] + total))
        assert gaps.max() <= max(1, 2 * total / (most or total))


def test_every_slice_is_seen_in_time_and_equally_often() -> None:
    times = Counter(int(each) for seed in range(3000) for each in spread(10, 4, np.random.default_rng(seed)))
    assert sorted(times) == list(range(10))
    np.testing.assert_allclose([times[each] / 3000 for each in range(10)], 0.4, atol=0.04)


def test_a_bag_holds_the_slices_of_its_cases(cohort: Cohort, tmp_path: Path) -> None:
    bag = draw_bag(reader_of(cohort, tmp_path), [0, 1, 2], np.array([1, 2, 3], np.uint64), 4)
    assert bag.case.tolist() == [0, 0, 1, 2, 2]
    assert bag.modality.tolist() == [0, 1, 1, 0, 1]
    assert bag.image.tolist() == [0] * 4 + [1] * 4 + [2] + [3] * 3 + [4] * 4
    assert bag.pixels.dtype == torch.uint8
    levels = bag.pixels[:, 0, 0, 0].numpy()
    assert (bag.pixels.flatten(1).numpy() == levels[:, None]).all()
    lengths, starts = np.array([10, 4, 1, 3, 20])[bag.image], np.array([0, 100, 50, 20, 30])[bag.image]
    place = np.where(lengths > 1, (levels - starts) / np.maximum(lengths - 1, 1), 0.5)
    np.testing.assert_allclose(bag.position.numpy(), place, rtol=1e-6)


def test_a_draw_follows_from_the_seed_of_its_case_alone(cohort: Cohort, tmp_path: Path) -> None:
    images = reader_of(cohort, tmp_path)
    alone = draw_bag(images, [2], np.array([7], np.uint64), 2)
    among = draw_bag(images, [0, 2], np.array([1, 7], np.uint64), 2)
    assert torch.equal(among.pixels[among.case[among.image] == 1], alone.pixels)
    others = [draw_bag(images, [2], np.array([seed], np.uint64), 2).pixels for seed in range(8)]
    assert any(not torch.equal(each, alone.pixels) for each in others)


def test_a_slice_lies_between_the_ends_of_its_image() -> None:
    assert place_in_image(np.array([0, 1, 4]), 5).tolist() == [0, 0.25, 1]
    assert place_in_image([0], 1).tolist() == [0.5]


def test_planes_are_evenly_spaced_over_every_axis() -> None:
    axes = [np.arange(10, 18), np.array([30, 31])]
    assert evenly_spaced(axes, None).tolist() == [*range(10, 18), 30, 31]
    assert evenly_spaced(axes, 1).tolist() == [14, 31]
    assert evenly_spaced(axes, 5).tolist() == [11, 14, 16, 30, 31]
    with pytest.raises(UsageError, match="at least 1"):
        evenly_spaced(axes, 0)


def test_a_random_plane_is_of_a_random_axis_first() -> None:
    axes = [np.arange(10, 18), np.array([30, 31])]
    assert [random_plane(axes, 0.49, place) for place in (0, 0.5, 0.999)] == [10, 14, 17]
    assert [random_plane(axes, 0.5, place) for place in (0, 0.5)] == [30, 31]


def test_an_index_of_slices_draws_those_with_a_label_more_often() -> None:
    pixels = {3: np.array([[9, 0], [8, 1], [9, 0]]), 5: np.array([[9, 0]])}
    index = SliceIndex.of([3, 5], lambda row: pixels[row])
    assert index.row.tolist() == [3, 3, 3, 5]
    assert index.plane.tolist() == [0, 1, 2, 0]
    assert [slices.tolist() for slices in index.having] == [[1]]
    assert sorted(index.order(0.0, np.random.default_rng(0)).tolist()) == [0, 1, 2, 3]
    assert index.order(1.0, np.random.default_rng(0)).tolist() == [1] * 4
    share = np.mean([(index.order(0.2, np.random.default_rng(seed)) == 1).mean() for seed in range(300)])
    assert share == pytest.approx(0.2 + 0.8 / 4, abs=0.04)


def test_every_label_has_the_same_chance_however_many_slices_hold_it() -> None:
    pixels = np.array([[9, 1, 0]] + [[9, 0, 1]] * 8 + [[9, 0, 0]])
    index = SliceIndex.of([0], lambda row: pixels)
    drawn = np.concatenate([index.order(1.0, np.random.default_rng(seed)) for seed in range(200)])
    assert (drawn == 0).mean() == pytest.approx(0.5, abs=0.05)  # the only slice of the first label
    assert (drawn == 9).sum() == 0


def test_where_every_slice_has_every_label_each_is_seen_once() -> None:
    index = SliceIndex.of([0], lambda row: np.array([[5, 4, 1]] * 12))
    assert sorted(index.order(1.0, np.random.default_rng(0)).tolist()) == list(range(12))
