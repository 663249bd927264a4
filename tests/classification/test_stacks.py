"""Stacks hold the planes of a volume, brought to one depth, with modalities as channels."""

from pathlib import Path

import numpy as np
import pytest
import torch

from radapt.cases import CaseReader
from radapt.classification.stacks import StackClassifier, StackLoader, to_depth
from radapt.cohorts.cohort import Cohort
from radapt.images import Recipe, SliceCache
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


def reader_of(cohort: Cohort, tmp_path: Path, channels: int = 1) -> CaseReader:
    return CaseReader(cohort, SliceCache(tmp_path / "cache"), RECIPE, cohort.modalities, grid="own", channels=channels)


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
    stack = feed.load(reader_of(cohort, tmp_path), [0, 1], np.zeros(2, np.uint64))
    assert stack.volumes.shape == (2, 2, 1, 5, 8, 8)
    assert stack.present.tolist() == [[True, True], [False, True]]
    with pytest.raises(RuntimeError):  # two modalities and one indicator make three channels
        feed.logits(stack, np.zeros(2, np.uint64))
    assert seen[0].shape == (2, 3, 5, 8, 8)
    assert (seen[0][1, 0] == 0).all()
    assert (seen[0][:, 2, 0, 0, 0]).tolist() == [1, 0]
    torch.testing.assert_close(seen[0][1, 1], torch.full((5, 8, 8), (50 / 255 - 0.5) / 0.25))
