"""What a classifier reads of a slice, where masks have taught what to look at, and the box of the second look."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from radapt.backbones.multimodal_crops import Encoded
from radapt.mmdino.reading import Reader, boxes_around, found_map, mark_loss, mark_targets

WIDTH = 4


def encoded(present: np.ndarray, rows: int = 2, columns: int = 3, seed: int = 0) -> Encoded:
    """All tokens of the modalities that `present` (B, M) says are there."""
    batch, modalities = present.shape
    index = torch.from_numpy(np.flatnonzero(np.repeat(present.ravel(), rows * columns)))
    rng = torch.Generator().manual_seed(seed)
    return Encoded(
        torch.randn(batch, WIDTH, generator=rng), torch.randn(len(index), WIDTH, generator=rng), index,
        torch.zeros(len(index), dtype=torch.bool), (batch, modalities, rows, columns),
    )  # fmt: skip


def taught(marks: int, *, bias: float, seed: int = 1) -> Reader:
    reader = Reader(WIDTH, marks)
    assert reader.weight is not None
    assert reader.bias is not None
    reader.weight.data = torch.randn(marks, WIDTH, generator=torch.Generator().manual_seed(seed))
    reader.bias.data.fill_(bias)
    return reader


def test_without_marks_it_is_the_cls_token_and_slices_weigh_alike() -> None:
    found = encoded(np.ones((3, 2), bool))
    read = Reader(WIDTH, 0)(found)
    assert torch.equal(read.vectors, found.cls)
    assert torch.equal(read.weights, torch.ones(3))
    assert read.marks is None


def test_tokens_weigh_as_the_chance_that_anything_is_marked() -> None:
    found = encoded(np.asarray([[True, True], [True, False]]))
    reader = taught(2, bias=-1.0)
    read = reader(found)
    x = found.tokens.numpy()
    logits = x @ reader.weight.detach().numpy().T - 1.0  # type: ignore[union-attr]
    chance = 1 - np.prod(1 - 1 / (1 + np.exp(-logits)), axis=1)
    case = found.case.numpy()
    for one in range(2):
        mine = case == one
        expected = (chance[mine, None] * x[mine]).sum(0) / chance[mine].sum()
        np.testing.assert_allclose(read.vectors[one, WIDTH : 2 * WIDTH].numpy(), expected, rtol=1e-4, atol=1e-5)
        shares = np.log((1 / (1 + np.exp(-logits)))[mine].mean(0))
        np.testing.assert_allclose(read.vectors[one, 2 * WIDTH :].numpy(), shares, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(float(read.weights[one]), chance[mine].mean(), rtol=1e-4)
    assert torch.equal(read.vectors[:, :WIDTH], found.cls)


def test_only_masks_teach_what_to_look_at() -> None:
    found = encoded(np.ones((2, 1), bool))
    reader = taught(1, bias=0.0)
    read = reader(found)
    assert not read.vectors.requires_grad
    assert not read.weights.requires_grad
    assert read.marks is not None
    assert read.marks.requires_grad


def test_targets_are_shares_of_patches_alike_for_all_modalities() -> None:
    """A mask that fills the upper left patch and half of the one beside it."""
    found = encoded(np.asarray([[True, True], [False, True]]))
    maps = torch.zeros(2, 1, 4, 6)
    maps[:, :, :2, :3] = 1
    expected = torch.tensor([1.0, 0.5, 0.0, 0.0, 0.0, 0.0])
    targets = mark_targets(maps, found)[:, 0]
    assert torch.equal(targets, expected.repeat(3))  # both modalities of the first case, one of the second


def test_the_loss_is_the_cross_entropy_of_cases_with_a_mask() -> None:
    found = encoded(np.asarray([[True, True], [True, False], [True, True]]))
    logits = torch.randn(len(found.tokens), 2, generator=torch.Generator().manual_seed(3))
    targets = torch.rand(len(found.tokens), 2, generator=torch.Generator().manual_seed(4))
    known = torch.tensor([True, False, True])
    z, t, case = logits.double().numpy(), targets.double().numpy(), found.case.numpy()
    each = (np.log1p(np.exp(z)) - t * z).mean(1)
    expected = np.mean([each[case == 0].mean(), 0.0, each[case == 2].mean()]) / 0.5
    np.testing.assert_allclose(float(mark_loss(logits, targets, found, known, 0.5)), expected, rtol=1e-5)
    nobody = torch.zeros(3, dtype=torch.bool)
    assert float(mark_loss(logits, targets, found, nobody, 0.5)) == 0.0


def test_a_map_is_the_mean_over_modalities() -> None:
    found = encoded(np.asarray([[True, True], [False, True]]))
    logits = torch.full((len(found.tokens), 1), -20.0)
    logits[0] = 20.0  # upper left patch of the first case's first modality
    maps = found_map(found, logits)
    assert maps.shape == (2, 2, 3)
    np.testing.assert_allclose(float(maps[0, 0, 0]), 0.5, atol=1e-6)
    np.testing.assert_allclose(float(maps.sum()), 0.5, atol=1e-6)


def test_boxes_are_around_what_was_found() -> None:
    """Four of 8 × 8 patches in a square of 80 pixels that starts at (10, 20); and nothing in particular."""
    maps = torch.zeros(2, 8, 8)
    maps[0, 2:4, 5:7] = 0.9
    maps[1] = 0.05
    seen = torch.tensor([[10.0, 20.0, 90.0, 100.0]]).repeat(2, 1)
    found = boxes_around(maps, seen)
    np.testing.assert_allclose(found[0].numpy(), [30, 70, 50, 90], atol=0.05)
    np.testing.assert_allclose(found[1].numpy(), seen[1].numpy(), atol=0.05)


@pytest.mark.parametrize("turn", [(1,), (2,), (1, 2)])
def test_boxes_turn_with_the_map(turn: tuple[int, ...]) -> None:
    maps = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0))
    seen = torch.tensor([[0.0, 0.0, 60.0, 60.0]]).repeat(3, 1)
    straight, turned = boxes_around(maps, seen), boxes_around(maps.flip(turn), seen)
    for axis in (0, 1):
        low, high = straight[:, axis], straight[:, axis + 2]
        expected = (60 - high, 60 - low) if axis + 1 in turn else (low, high)
        torch.testing.assert_close(turned[:, axis], expected[0], atol=1e-3, rtol=0)
        torch.testing.assert_close(turned[:, axis + 2], expected[1], atol=1e-3, rtol=0)


def test_what_is_hidden_is_not_read_and_not_asked_for() -> None:
    """Other values of hidden tokens change nothing, and neither do their targets."""
    found = encoded(np.ones((2, 2), bool))
    hidden = torch.arange(len(found.tokens)) % 4 == 1
    one = replace(found, hidden=hidden)
    other = replace(one, tokens=torch.where(hidden[:, None], found.tokens + 1.0, found.tokens))
    reader = taught(2, bias=-1.0)
    for before, after in zip(reader(one)[:2], reader(other)[:2], strict=True):
        torch.testing.assert_close(before, after)
    targets = torch.rand(len(found.tokens), 2, generator=torch.Generator().manual_seed(4))
    turned = torch.where(hidden[:, None], 1 - targets, targets)
    known = torch.ones(2, dtype=torch.bool)
    logits = reader(one).marks
    assert logits is not None
    assert mark_loss(logits, targets, one, known, 1.0) == mark_loss(logits, turned, one, known, 1.0)
