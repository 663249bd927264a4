"""What a classifier reads of a slice, where masks have taught what to look at, and the box of the second look."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from radapt.backbones.multimodal_vit.inputs import Encoded
from radapt.mmdino.lesion_attention import LesionAttention, LesionMaps, boxes_around, lesion_loss, lesion_targets

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


def taught(labels: int, *, bias: float, seed: int = 1) -> LesionAttention:
    reader = LesionAttention(WIDTH, [0.1] * labels)
    assert reader.weight is not None
    assert reader.bias is not None
    reader.weight.data = torch.randn(labels, WIDTH, generator=torch.Generator().manual_seed(seed))
    reader.bias.data.fill_(bias)
    return reader


def dense(found: Encoded) -> np.ndarray:
    """(B, M, h, w, D) with NaN where there is no token."""
    batch, modalities, rows, columns = found.shape
    out = np.full((batch * modalities * rows * columns, WIDTH), np.nan)
    out[found.index.numpy()] = found.tokens.numpy()
    return out.reshape(batch, modalities, rows, columns, WIDTH)


def test_without_lesion_labels_it_is_the_cls_token_and_slices_weigh_alike() -> None:
    found = encoded(np.ones((3, 2), bool))
    read = LesionAttention(WIDTH)(found)
    assert torch.equal(read.vectors, found.cls)
    assert torch.equal(read.weights, torch.ones(3))
    assert read.lesions is None


def test_an_untaught_reader_expects_what_is_usual() -> None:
    read = LesionAttention(WIDTH, [0.2, 0.01])(encoded(np.asarray([[True, True], [True, False]])))
    assert read.lesions is not None
    np.testing.assert_allclose(read.lesions.shares.numpy(), [[0.2, 0.01]] * 2, rtol=1e-5)
    np.testing.assert_allclose(read.lesions.any_lesion.numpy(), 1 - 0.8 * 0.99, rtol=1e-5)


def test_sequences_tell_together_what_is_marked_at_a_place() -> None:
    found = encoded(np.asarray([[True, True], [True, False]]))
    reader = taught(2, bias=-1.0)
    read = reader(found)
    assert read.lesions is not None
    weight = reader.weight.detach().numpy()  # type: ignore[union-attr]
    x = dense(found)
    evidence = np.nansum(x, axis=1) @ weight.T / np.sqrt([2, 1])[:, None, None, None] - 1.0  # (B, h, w, L)
    np.testing.assert_allclose(
        read.lesions.logits.detach().numpy(), evidence.transpose(0, 3, 1, 2), rtol=1e-4, atol=1e-5
    )
    assert read.lesions.visible.all()
    each = 1 / (1 + np.exp(-evidence))
    chance = 1 - np.prod(1 - each, axis=-1)  # (B, h, w)
    for one, there in enumerate(([0, 1], [0])):
        weights = np.broadcast_to(chance[one], (len(there), 2, 3))
        expected = (weights[..., None] * x[one, there]).sum((0, 1, 2)) / weights.sum()
        np.testing.assert_allclose(read.vectors[one, WIDTH : 2 * WIDTH].numpy(), expected, rtol=1e-4, atol=1e-5)
        shares = np.log(each[one].mean((0, 1)))
        np.testing.assert_allclose(read.vectors[one, 2 * WIDTH :].numpy(), shares, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(float(read.weights[one]), chance[one].mean(), rtol=1e-4)
    assert torch.equal(read.vectors[:, :WIDTH], found.cls)


def test_only_masks_teach_what_to_look_at() -> None:
    found = encoded(np.ones((2, 1), bool))
    read = taught(1, bias=0.0)(found)
    assert not read.vectors.requires_grad
    assert not read.weights.requires_grad
    assert read.lesions is not None
    assert read.lesions.logits.requires_grad


def test_targets_are_shares_of_patches() -> None:
    """A mask that fills the upper left patch and half of the one beside it."""
    maps = torch.zeros(1, 1, 4, 6)
    maps[:, :, :2, :3] = 1
    assert torch.equal(lesion_targets(maps, (2, 3)), torch.tensor([[[[1.0, 0.5, 0.0], [0.0, 0.0, 0.0]]]]))


def test_the_loss_is_the_cross_entropy_of_cases_with_a_mask() -> None:
    rng = np.random.default_rng(3)
    z, t = rng.normal(size=(3, 2, 2, 3)), rng.random((3, 2, 2, 3))
    seen = rng.random((3, 2, 3)) < 0.7
    rates, known = np.asarray([0.2, 0.01]), np.asarray([True, False, True])
    units = -(rates * np.log(rates) + (1 - rates) * np.log(1 - rates))
    each = ((np.log1p(np.exp(z)) - t * z) / units[:, None, None]).mean(1)
    expected = np.mean([each[0][seen[0]].mean(), 0.0, each[2][seen[2]].mean()]) / 0.5
    lesions = LesionMaps(torch.from_numpy(z), torch.from_numpy(seen))
    given = torch.from_numpy(t), torch.from_numpy(known), torch.from_numpy(rates), 0.5
    np.testing.assert_allclose(float(lesion_loss(lesions, *given)), expected, rtol=1e-5)
    assert float(lesion_loss(lesions, given[0], torch.zeros(3, dtype=torch.bool), *given[2:])) == 0.0


def test_who_knows_only_how_much_is_marked_has_a_loss_of_one() -> None:
    """Whatever the rates, and at least near it where a mark hardly ever occurs."""
    rates = torch.tensor([0.3, 0.02])
    targets = torch.zeros(1, 2, 10, 10)
    targets[0, 0, :3], targets[0, 1, 0, :2] = 1, 1
    logits = torch.logit(rates)[None, :, None, None].expand(1, 2, 10, 10)
    lesions, known = LesionMaps(logits, torch.ones(1, 10, 10, dtype=torch.bool)), torch.ones(1, dtype=torch.bool)
    np.testing.assert_allclose(float(lesion_loss(lesions, targets, known, rates, 1.0)), 1.0, rtol=1e-5)
    assert np.isfinite(float(lesion_loss(lesions, targets, known, torch.zeros(2), 1.0)))
    assert LesionAttention(WIDTH, [0.0]).bias.isfinite().all()  # type: ignore[union-attr]


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
    """Other values of hidden tokens change nothing; a place is asked for as long as any sequence shows it."""
    found = encoded(np.ones((2, 2), bool))
    hidden = torch.zeros(2, 2, 2, 3, dtype=torch.bool)
    hidden[:, 0, 0, 1] = True  # of one sequence
    hidden[:, :, 1, 2] = True  # of both
    one = replace(found, hidden=hidden.flatten())
    other = replace(one, tokens=torch.where(one.hidden[:, None], found.tokens + 1.0, found.tokens))
    reader = taught(2, bias=-1.0)
    before, after = reader(one), reader(other)
    torch.testing.assert_close(before.vectors, after.vectors)
    torch.testing.assert_close(before.weights, after.weights)
    seen = torch.tensor([[True, True, True], [True, True, False]])
    assert torch.equal(before.lesions.visible, seen.expand(2, 2, 3))
    targets = torch.rand(2, 2, 2, 3, generator=torch.Generator().manual_seed(4))
    turned = torch.where(seen, targets, 1 - targets)
    given = torch.ones(2, dtype=torch.bool), torch.tensor([0.1, 0.1]), 1.0
    assert lesion_loss(before.lesions, targets, *given) == lesion_loss(after.lesions, turned, *given)
