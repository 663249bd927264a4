"""Bags hold the slices they should, whoever else is in the batch, and stacks the planes of a volume."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from radapt.classification.bags import CaseImages, draw_bag, ready, spread
from radapt.classification.stacks import StackClassifier, StackLoader, to_depth
from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError
from radapt.images import Recipe, SliceCache
from radapt.progress import silent
from radapt.training import Augmentation
from toy_images import image_cohort

RECIPE = Recipe.for_kind("other", size=8)


def ramp(slices: int, start: int) -> np.ndarray:
    """Every slice has one grey level: start, start + 1, …"""
    return np.broadcast_to(np.arange(start, start + slices, dtype=np.uint8)[:, None, None], (slices, 8, 8)).copy()


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    images = [{"a": ramp(10, 0), "b": ramp(4, 100)}, {"b": ramp(1, 50)}, {"a": ramp(3, 20), "b": ramp(20, 30)}]
    return image_cohort(tmp_path / "images", images, [0, 1, 0], ["train"] * 3, modalities=("a", "b"))


def images_of(cohort: Cohort, tmp_path: Path, channels: int = 1) -> CaseImages:
    return CaseImages(cohort, SliceCache(tmp_path / "cache"), RECIPE, cohort.modalities, channels)


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
    bag = draw_bag(images_of(cohort, tmp_path), [0, 1, 2], np.array([1, 2, 3], np.uint64), 4)
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
    images = images_of(cohort, tmp_path)
    alone = draw_bag(images, [2], np.array([7], np.uint64), 2)
    among = draw_bag(images, [0, 2], np.array([1, 7], np.uint64), 2)
    assert torch.equal(among.pixels[among.case[among.image] == 1], alone.pixels)
    others = [draw_bag(images, [2], np.array([seed], np.uint64), 2).pixels for seed in range(8)]
    assert any(not torch.equal(each, alone.pixels) for each in others)


def test_grey_and_colour_go_together(tmp_path: Path) -> None:
    colour = np.zeros((8, 8, 3), np.uint8)
    colour[..., 0], colour[..., 2] = 30, 60
    cohort = image_cohort(tmp_path / "i", [{"a": ramp(1, 9)}, {"a": colour}], [0, 1], ["train"] * 2)
    channels, keys = ready(images_of(cohort, tmp_path), np.arange(2), silent)
    assert channels == 3
    assert len(set(keys)) == 2
    three, one = images_of(cohort, tmp_path, 3), images_of(cohort, tmp_path, 1)
    assert (three.planes(0, 0) == 9).all()
    assert three.planes(0, 0).shape == (1, 3, 8, 8)
    assert (one.planes(1, 0) == 30).all()


def test_bad_images_are_found_before_training_and_named_by_case(tmp_path: Path) -> None:
    bad = np.full((2, 8, 8), np.nan, np.float32)
    cohort = image_cohort(tmp_path / "i", [{"a": ramp(2, 0)}, {"a": bad}, {"a": bad}], [0, 1, 0], ["train"] * 3)
    images = images_of(cohort, tmp_path)
    with pytest.raises(DataError, match=r"2 of the 3 images .*\n  case c1, a: .*NaN.*\n  case c2, a"):
        ready(images, np.arange(3), silent)
    ready(images, np.arange(1), silent)
    with pytest.raises(DataError, match=r"Case c1, a: .*NaN"):
        images.planes(1, 0)


def test_a_case_without_images_is_named(tmp_path: Path) -> None:
    cohort = image_cohort(tmp_path / "i", [{"a": ramp(1, 0)}, {}], [0, 1], ["train"] * 2)
    with pytest.raises(DataError, match="Case c1 has no image"):
        ready(images_of(cohort, tmp_path), np.arange(2), silent)


def test_more_planes_are_averaged_and_fewer_interpolated() -> None:
    planes = ramp(6, 10)[:, None]
    assert to_depth(planes, 6) is planes
    assert to_depth(planes * 2, 3)[:, 0, 0, 0].tolist() == [21, 25, 29]
    assert to_depth(ramp(1, 7)[:, None], 4).shape == (4, 1, 8, 8)
    assert (to_depth(ramp(1, 7)[:, None], 4) == 7).all()
    more = to_depth((ramp(2, 0) * 100)[:, None], 5)[:, 0, 3, 3]
    assert (np.diff(more.astype(int)) >= 0).all()
    assert (more[0], more[2], more[-1]) == (0, 50, 100)


def test_a_stack_has_modalities_as_channels_and_says_which_are_missing(cohort: Cohort, tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    class Spy(torch.nn.Module):
        def forward(self, given: torch.Tensor) -> torch.Tensor:
            seen.append(given)
            return given.mean((2, 3, 4))

    network = StackClassifier(Spy(), 4, 3, (True, False)).eval()
    feed = StackLoader(network, Augmentation(dims=3, flips=(0.0,) * 3), 5)
    stack = feed.load(images_of(cohort, tmp_path), [0, 1], np.zeros(2, np.uint64))
    assert stack.volumes.shape == (2, 2, 1, 5, 8, 8)
    assert stack.present.tolist() == [[True, True], [False, True]]
    with pytest.raises(RuntimeError):  # two modalities and one indicator make three channels
        feed.logits(stack, np.zeros(2, np.uint64))
    assert seen[0].shape == (2, 3, 5, 8, 8)
    assert (seen[0][1, 0] == 0).all()
    assert (seen[0][:, 2, 0, 0, 0]).tolist() == [1, 0]
    torch.testing.assert_close(seen[0][1, 1], torch.full((5, 8, 8), (50 / 255 - 0.5) / 0.25))
