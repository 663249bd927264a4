"""A label map with the probability of every voxel's label."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from radapt.images import Volume, write_shares
from radapt.images.volume import IMAGE_AFFINE
from radapt.segmentation.drawn import MaskCollector

AFFINE = np.diag([-1.0, 1.0, 2.0, 1.0])  # stored from right to left
LABELS = {4: "edge", 9: "core"}


def collected(probabilities: np.ndarray, parts: int = 1) -> MaskCollector:
    """(K, X, Y, Z) in RAS order, in slabs along the last axis."""
    collector = MaskCollector(Volume(np.zeros(probabilities.shape[1:], np.float32), AFFINE), len(probabilities))
    for chunk in np.array_split(np.arange(probabilities.shape[3]), parts):
        part = slice(int(chunk[0]), int(chunk[-1]) + 1)
        slab = torch.from_numpy(probabilities[..., part])
        collector.add((slice(None), slice(None), part), slab.log(), slab)
    return collector


def random_probabilities() -> np.ndarray:
    found = np.random.default_rng(0).dirichlet((1, 1, 1), (3, 4, 5)).astype(np.float32)
    return np.moveaxis(found, -1, 0).copy()


def test_the_mask_and_its_probabilities_lie_in_the_stored_grid() -> None:
    given = random_probabilities()
    drawn = collected(given, parts=3).mask(LABELS)
    stored = given[:, ::-1]  # R to L
    np.testing.assert_array_equal(drawn.mask.array, np.asarray([0, 4, 9])[stored.argmax(axis=0)])
    assert drawn.probability is not None
    np.testing.assert_allclose(drawn.probability, stored.max(axis=0), atol=1e-3)


def test_the_soft_dice_is_what_the_probabilities_expect_of_the_mask() -> None:
    given = random_probabilities()
    drawn = collected(given, parts=2).mask(LABELS)
    for number, value in enumerate(LABELS, start=1):
        inside, own = given.argmax(axis=0) == number, given[number]
        expected = 2 * own[inside].sum() / (inside.sum() + own.sum())
        assert drawn.soft_dice[value] == pytest.approx(float(expected), abs=1e-6)


def test_a_structure_that_is_not_drawn_has_no_soft_dice_and_a_sure_one_has_1() -> None:
    given = np.zeros((3, 2, 2, 2), np.float32)
    given[0], given[1, 0] = 1, 1
    given[0, 0] = 0
    drawn = collected(given).mask(LABELS)
    assert drawn.soft_dice[4] == 1
    assert np.isnan(drawn.soft_dice[9])
    untouched = MaskCollector(Volume(np.zeros((2, 2, 2), np.float32), AFFINE), 3).mask(LABELS)
    assert untouched.probability is not None
    assert untouched.probability.min() == 1


def test_shares_come_back_in_their_grid(tmp_path: Path) -> None:
    shares = np.random.default_rng(0).random((4, 3, 2), np.float32)
    write_shares(tmp_path / "map.nii.gz", Volume(shares, AFFINE))
    found = nibabel.load(tmp_path / "map.nii.gz")
    np.testing.assert_allclose(found.get_fdata(), shares, atol=0.002)
    np.testing.assert_allclose(found.affine, AFFINE)
    write_shares(tmp_path / "map.png", Volume(np.asarray([[[0.0]], [[0.5]], [[1.0]]]), IMAGE_AFFINE))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "map.png")).ravel(), [0, 128, 255])
